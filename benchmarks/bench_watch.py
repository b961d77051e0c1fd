"""What watching costs while a model writes: plain, some features watched, a whole dictionary encoded and recorded.

python benchmarks/bench_watch.py [--model gpt2-small] [--batch 1,8] [--rounds 15] [--tokens 24] [--threads 1]
                                 [--architecture batch_topk]

The model ``gpt2-small`` has that shape (12 layers of 768) and random weights; another is a packaged model's name or a
folder. The dictionary has random directions of the middle site and thresholds at which 32 features are active on a
token; ``matching_pursuit`` takes 32 steps. Everyone takes turns in one process, in an order that changes from round to
round; a round's cost is its time over the plain one's of the same round, less 1, by the process's CPU time and by the
wall's. Printed are the quartiles over rounds, the median in the middle. A turn reads the prompts and writes the tokens;
a step is a token of each prompt.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numba
import torch
import transformers as hf

import monoscope as ms
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.models import taps
from monoscope.models.sites import sites_of
from monoscope.signals.direction import Direction
from monoscope.types import Site
from monoscope.watch.recorder import Recorder
from monoscope.watch.rules import Condition, Rule, Rules, Signal

WATCHED, ACTIVE, PROMPT = 64, 32, 32


def a_model(name: str) -> Any:
    """The model, ready to write."""
    if name != "gpt2-small":
        return ms.load_model(name).model
    torch.manual_seed(0)
    made = hf.AutoModelForCausalLM.from_config(hf.GPT2Config())
    return made.eval().requires_grad_(False)


def middle(model: Any) -> str:
    """The residual stream after half the layers."""
    n_layers = len(sites_of(model, "model").layout.layers)
    return f"resid_post.{(n_layers - 1) // 2}"


def a_pursuit(model: Any, site: str, n_features: int) -> Dictionary:
    """Random unit directions, by which a token is explained in 32 steps."""
    width = sites_of(model, "model").width(Site.parse(site))
    made = architecture("matching_pursuit")(width, n_features, k=ACTIVE).requires_grad_(False)
    made.w_dec.copy_(torch.nn.functional.normalize(torch.randn(made.w_dec.shape), dim=1))
    made.provenance = {"site": site}
    return made


def a_dictionary(model: Any, site: str, n_features: int) -> Dictionary:
    """Random unit directions, and the threshold that 32 features of a token exceed on average."""
    found: list[torch.Tensor] = []
    ear = (site, sites_of(model, "model").place(Site.parse(site)), found.append, False)
    with taps.listen(model, [ear], lambda shape, inputs: None, lambda: None), torch.no_grad():
        model(input_ids=prompt(model, 8))
    x = found[0].reshape(-1, found[0].shape[-1]).float()
    made = architecture("batch_topk")(x.shape[1], n_features, k=ACTIVE).requires_grad_(False)
    made.w_enc.copy_(torch.nn.functional.normalize(torch.randn(made.w_enc.shape), dim=1))
    made.w_dec.copy_(made.w_enc)
    made.b_enc.copy_(-(x @ made.w_enc.T).mean(0))
    scores = (x @ made.w_enc.T + made.b_enc).flatten()
    made.threshold.fill_(float(scores.kthvalue(int(len(scores) * (1 - ACTIVE / n_features))).values))
    made.provenance = {"site": site}
    return made


DICTIONARIES = {"batch_topk": a_dictionary, "matching_pursuit": a_pursuit}


def prompt(model: Any, batch: int) -> torch.Tensor:
    """Random tokens."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, model.config.vocab_size, (batch, PROMPT), generator=generator)


def some_rules(path: str, n_features: int) -> Rules:
    """A rule for each of the watched features."""
    step = n_features // WATCHED
    signals = tuple(Signal(f"f{i}", Direction(path, i * step)) for i in range(WATCHED))
    ema = {"aggregation": "ema", "options": {"half_life": 4}}
    return Rules(signals, tuple(Rule(s.name, Condition(s.name, 1.0, 0.5, **ema)) for s in signals))


def write(model: Any, given: torch.Tensor, tokens: int) -> None:
    """Go on with the prompts."""
    model.generate(
        given, attention_mask=torch.ones_like(given), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False,
        pad_token_id=0,
    )  # fmt: skip


@contextmanager
def recorded(model: Any, rules: Rules, path: Path) -> Iterator[None]:
    """Watched with every code of the dictionary written down."""
    shutil.rmtree(path, ignore_errors=True)
    recorder = Recorder(path)
    with ms.watch(model, rules, record=recorder):
        yield
    sizes.append(recorder.n_bytes / recorder.n_tokens)


sizes: list[float] = []


def measure(model: Any, rules: Rules, folder: Path, batch: int, tokens: int, rounds: int) -> dict[str, Any]:
    """Seconds a turn of each, and what each adds to the plain one."""
    arms: dict[str, Any] = {
        "plain": nullcontext,
        "watched": lambda: ms.watch(model, rules),
        "recorded": lambda: recorded(model, rules, folder / "recording"),
    }
    given, took = prompt(model, batch), {name: list[tuple[float, float]]() for name in arms}
    for turn in range(rounds + 1):
        names = list(arms)[turn % 3 :] + list(arms)[: turn % 3]
        for name in names:
            with arms[name]():
                began = time.process_time(), time.perf_counter()
                write(model, given, tokens)
                took[name].append((time.process_time() - began[0], time.perf_counter() - began[1]))
    result: dict[str, Any] = {"batch": batch}
    for i, clock in enumerate(("cpu", "wall")):
        plain = [turn[i] for turn in took["plain"][1:]]
        result[f"plain {clock} ms/step"] = round(1000 * statistics.median(plain) / tokens, 2)
        for name in ("watched", "recorded"):
            cost = [100 * (turn[i] / p - 1) for turn, p in zip(took[name][1:], plain, strict=True)]
            result[f"{name} {clock} %"] = [round(q, 2) for q in statistics.quantiles(cost, n=4)]
    return {**result, "bytes/token": round(statistics.median(sizes), 1)}


def main() -> None:
    """Print a line for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gpt2-small")
    parser.add_argument("--features", type=int, default=16_384)
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--architecture", choices=DICTIONARIES, default="batch_topk")
    given = parser.parse_args()
    numba.set_num_threads(given.threads)  # first: as its threads start, torch gets as many
    torch.set_num_threads(given.threads)
    model = a_model(given.model)
    site = middle(model)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "dictionary")
        io.save(DICTIONARIES[given.architecture](model, site, given.features), path)
        rules = some_rules(path, given.features)
        for batch in map(int, given.batch.split(",")):
            found = measure(model, rules, Path(folder), batch, given.tokens, given.rounds)
            about = {name: getattr(given, name) for name in ("model", "architecture", "features", "threads")}
            print(json.dumps({**about, "site": site, **found}), flush=True)


if __name__ == "__main__":
    main()
