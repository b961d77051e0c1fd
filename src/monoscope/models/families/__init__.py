"""Families of transformers, one a file: ``resolve(model) -> Layout | None`` says where the sites of a model are.

A family recognises a model by the modules its blocks are made of, never by its name. What it says is then checked
against one forward pass (``monoscope.models.sites``), so that a lookalike which adds up otherwise is not taken for one.
"""
