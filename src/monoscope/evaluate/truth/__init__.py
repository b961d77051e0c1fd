"""Measures of a dictionary against the true features of a world, one a file.

A file holds ``measure(case) -> {name: Estimate}``; ``MATCHED`` says whether it looks at the one-to-one matching of
learned with true features. ``monoscope.evaluate.known_truth`` runs them all.
"""
