"""Ways to search a catalogue, a file each.

``NAME.py`` holds ``search(query, catalogue, kept)``: the best ``query.limit`` features with their scores, best first,
ties by number, among those on which ``kept`` is True (among all where it is None). It raises ``MonoscopeError``, before
any long work, where it cannot take the query. ``catalogue.searching`` says what a query is.
"""

from __future__ import annotations

from monoscope import plugins

PACKAGE = "monoscope.catalogue.searches"


def ways() -> list[str]:
    """The names of all ways; none of them is imported."""
    return plugins.names(PACKAGE)
