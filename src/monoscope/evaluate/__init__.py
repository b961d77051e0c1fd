"""Evaluation on held-out text: one measure a file, controls, intervals over documents."""

from monoscope.evaluate.evaluation import Evaluation, from_json
from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.reconstructor import Reconstructor
from monoscope.evaluate.run import evaluate

__all__ = ["Estimate", "Evaluation", "Reconstructor", "evaluate", "from_json"]
