"""Dictionaries: an encoder and a decoder, one architecture a file; foreign formats a file each in ``formats``."""
