"""Published findings, a file each: what the paper saw, what is expected of a small training, and whether it came out.

A file holds ``TITLE``, ``SOURCE``, ``measure(lab)``, which trains and gives plain numbers, and ``judge(measured)``,
which holds them against an expectation. Expectations are constants of the file, set with their reasons before any
training was looked at.
"""
