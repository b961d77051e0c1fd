"""Models: one call that reads and writes any place in a transformer.

``load_model`` gives a ``LanguageModel``; its ``run`` is what harvesting, splicing, steering and attribution call.
"""

from monoscope.models.huggingface import load_model
from monoscope.models.language_model import LanguageModel

__all__ = ["LanguageModel", "load_model"]
