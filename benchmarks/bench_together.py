"""Training eight dictionaries in one pass over a running model, beside eight passes.

    python benchmarks/bench_together.py [--model reference-c --site resid_post.2 --tokens 65536 --features 1024]

One pass runs the model once for all of them; eight passes run it eight times. Both are wall seconds of the same
process, taken in turns, rows from the model each time.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

from cyclopts import App

from monoscope.harvest.stream import Stream
from monoscope.models import load_model
from monoscope.text import store
from monoscope.text.corpus import open_corpus
from monoscope.train import rows
from monoscope.train.fit import Recipe
from monoscope.train.loop import train

KS = (4, 8, 12, 16, 24, 32, 48, 64)
app = App(help=__doc__)


@app.default
def main(
    *,
    model: str = "reference-c",
    site: str = "resid_post.2",
    text: str = "held_out:python",
    tokens: int = 65_536,
    features: int = 1024,
    batch: int = 4096,
    rounds: int = 3,
) -> None:
    """Print seconds of both ways, the median of several rounds."""
    lm = load_model(model)
    recipes = {f"k={k}": Recipe.of("topk", features, k=k) for k in KS}
    with tempfile.TemporaryDirectory() as folder:
        held = store.build((("all", d) for d in open_corpus(text)), lm.tokeniser, Path(folder) / "text")

        def one_pass(chosen: dict[str, Recipe]) -> float:
            began = time.perf_counter()
            source = Stream(lm, held, held.documents("all"), [site], seed=0)
            data = rows.from_source(source, site, None, batch, tokens, hold_back=False)
            train(data, {name: recipe.trainee(data) for name, recipe in chosen.items()})
            return time.perf_counter() - began

        one_pass(dict(list(recipes.items())[:1]))  # compiles
        together, apart = [], []
        for _ in range(rounds):
            together.append(one_pass(recipes))
            apart.append(sum(one_pass({name: recipe}) for name, recipe in recipes.items()))
    print(f"{lm.name} {site}, {tokens:,} tokens, {features:,} features, batches of {batch:,}, {rounds} rounds")
    print(f"{len(recipes)} in one pass   {median(together):8.1f} s")
    print(f"{len(recipes)} passes        {median(apart):8.1f} s, {median(apart) / median(together):.2f} times as long")


if __name__ == "__main__":
    app()
