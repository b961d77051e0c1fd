"""Data whose true features are known: what a dictionary finds can be held against what is there."""

from monoscope.worlds.presets import preset
from monoscope.worlds.synthetic import Settings, build
from monoscope.worlds.world import World

__all__ = ["Settings", "World", "build", "preset"]
