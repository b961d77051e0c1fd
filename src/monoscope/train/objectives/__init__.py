"""Objectives, one a file: each holds a ``class Objective(monoscope.train.objective.Objective)``."""
