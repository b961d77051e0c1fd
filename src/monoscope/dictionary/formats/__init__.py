"""Formats on disk, one a file: ``recognises(path)``, ``load(path)`` and, where it can be written, ``save``."""
