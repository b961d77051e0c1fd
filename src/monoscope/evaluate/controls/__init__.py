"""Controls: what a dictionary has to beat at the same number of active features per token.

The control dictionaries (``random_model``, ``frozen_decoder``) are trained like the one that is judged; the controls
here need no training. All of them are reconstructors, so that every measure treats them alike.
"""

from monoscope.evaluate.controls.linear_map import LinearMap, fit_linear_map
from monoscope.evaluate.controls.neurons import Neurons
from monoscope.evaluate.controls.pca import PCA, fit_pca

__all__ = ["PCA", "LinearMap", "Neurons", "fit_linear_map", "fit_pca"]
