"""The verbs of the command line, one a file: ``verbs/NAME.py`` holds the function ``NAME``."""
