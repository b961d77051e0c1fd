"""Formats on disk, one a file: ``recognises(folder)``, ``load(folder)``, ``save(dictionary, folder)``."""
