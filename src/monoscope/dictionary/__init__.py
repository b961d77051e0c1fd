"""Dictionaries: an encoder and a decoder, one architecture a file; foreign formats a file each in ``formats``."""

from __future__ import annotations

from monoscope import plugins

PACKAGE = "monoscope.dictionary"
NOT_ARCHITECTURES = ("base", "formats", "identity", "io")


def architectures() -> list[str]:
    """The names of all architectures; none of them is imported."""
    return [n for n in plugins.names(PACKAGE) if n not in NOT_ARCHITECTURES]
