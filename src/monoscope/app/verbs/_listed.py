"""Help texts that list a folder of plug-ins, so that a new file is offered unasked. Nothing listed is imported."""

from __future__ import annotations

from cyclopts import Parameter

from monoscope import plugins
from monoscope.catalogue.searches import ways
from monoscope.dictionary import architectures
from monoscope.interpret import explainers
from monoscope.train import logs, presets


def either(names: list[str]) -> str:
    """``a, b or c``."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


ARCHITECTURE = Parameter(help=f"{either(architectures())}; or a module of your own, by its dotted name.")
PRESET = Parameter(help=f"A published training: {either(presets.names())}. Other flags change single things of it.")
EXPLAINER = Parameter(
    help=f"Who explains: {either(plugins.names(explainers.PACKAGE))}; or a module of your own, by its dotted name."
)
LOG = Parameter(
    help=f"Where the log goes besides log.jsonl: {either(logs.names())}.", negative_iterable=(), show_default=False
)
SCORER = Parameter(
    help=f"Separated by commas: {either(plugins.names('monoscope.interpret.scorers'))}; or all, which is those "
    "that the judge can answer."
)
OBJECTIVE = Parameter(
    help=f"What is wanted: {either(plugins.names('monoscope.studies.objectives'))}; "
    "MODULE:FUNCTION or FILE.py:FUNCTION "
    "of your own, which takes (prompt, said) and gives a number, more is better; several joined by + are averaged."
)
REMOVAL = Parameter(help=f"How: {either(plugins.names('monoscope.intervene.removals'))}.")
WAY = Parameter(help=f"How to search: by {either(ways())}; or a module of your own, by its dotted name.")
