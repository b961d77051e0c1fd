"""Taking knowledge out of a model, for good."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from monoscope.app.verbs._listed import REMOVAL


def remove(
    run: Path,
    *,
    out: Path,
    features: str = "",
    concept: str = "",
    method: Annotated[str, REMOVAL] = "regress",
    tolerance: float = 0.01,
    writers: str = "",
    tokens: int = 200_000,
    relearn: str = "2048,8192,32768",
    seed: int = 0,
    json: bool = False,
) -> None:
    """Take features out of the model's weights, save it as an ordinary model folder, and say what it forgot.

    Example: `monoscope remove monoscope-run --concept script_cyrillic --out without-cyrillic`

    Example: `monoscope remove monoscope-run --features 12,431 --out without`

    Parameters
    ----------
    run
        The run's folder, with a catalogue.
    out
        The folder of the changed model and its tokenizer.
    features
        Features to remove, with commas between. By default those that are active mostly on the concept, as many as
        the tolerance allows.
    concept
        What is to be forgotten: an expression over concepts. By default what the features' labels say.
    tolerance
        While the number of features is searched for: by how much the loss on everything else may rise, as a share of
        it, for certain.
    writers
        Change only these writers to the residual stream, with commas between: embed, attn.0, mlp.0 …
    tokens
        Held-out tokens that models are judged on.
    relearn
        Fine-tune on so many tokens of the concept to see what comes back, with commas between; "" for none.
    seed
        Of controls, fine-tuning and intervals.
    json
        Print JSON for programs.
    """
    import json as js

    from rich.console import Console

    from monoscope import folder
    from monoscope.app import removing, removing_table
    from monoscope.app.ranges import whole_numbers
    from monoscope.app.run import Run
    from monoscope.errors import MonoscopeError
    from monoscope.intervene import remove as removal

    opened, named = Run(run), whole_numbers("features", features)
    if not (named or concept):
        raise MonoscopeError("what is to be removed?", fix="give --concept EXPRESSION, or --features NUMBERS")
    folder.check_ours(out, removal.KIND)
    amounts = tuple(whole_numbers("amounts of tokens", relearn))
    about = concept or removing.concept_of(opened, named)
    only = tuple(name.strip() for name in writers.split(",") if name.strip())
    wanted = removing.Wanted(about, method, tolerance, only, tokens, seed, amounts)
    opened.dictionary.check_features(named)
    task = removing.Removing(opened, wanted)
    chosen, searched = (named, []) if named else task.search(task.ranked())
    made, found = removing.study(task, chosen, searched)
    removal.save(made, out, found.to_json())
    if json:
        sys.stdout.write(js.dumps(found.to_json(), ensure_ascii=False) + "\n")
    else:
        removing_table.show(found, Console())
        Console().print(f"The model is in {out}", highlight=False, markup=False)
