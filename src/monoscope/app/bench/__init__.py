"""Measuring: training speed, quality and memory, beside other libraries in one run."""
