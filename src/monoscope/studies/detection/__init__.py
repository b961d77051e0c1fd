"""Detectors of sequences from labelled examples: a rule over features, dense probes, and baselines without a model.

Examples are split by document, near-duplicates together: detectors are chosen and fitted on the first part, their
thresholds set on the second, and all numbers measured on the third. A text's score is the largest number that a rule's
condition sees in it, read off ``ms.watch`` itself, so a rule raises an alarm on just the texts that score above its
threshold.
"""

from monoscope.studies.detection.fitting import Fitted, Subject, fit

__all__ = ["Fitted", "Subject", "fit"]
