"""Train the reference models that travel with Monoscope: A, B (one layer, as in *Towards Monosemanticity*) and C.

    python recipes/reference_model.py prepare --data DATA --work WORK      text, splits, tokenizer, token store
    python recipes/reference_model.py train A --work WORK --tokens 40M     resumable; Ctrl-C loses nothing
    python recipes/reference_model.py report --work WORK                   held-out loss beside unigram and Kneser-Ney
    python recipes/reference_model.py export A --work WORK                 writes the package's model folder

``DATA`` holds ``wikitext-2.*.txt`` and ``scripts/*.txt``. Python source is whatever this interpreter has installed.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from monoscope import folder
from monoscope.text import near_duplicates, pack, splits, store
from monoscope.text.corpora import python_source, synthetic_strings
from monoscope.text.tokenise import Tokeniser
from monoscope.types import Document

CONTEXT, VOCABULARY, HELD_OUT = 256, 4096, 0.1
SEPARATOR = "<|endoftext|>"
app = App(help=__doc__)


@dataclass(frozen=True)
class Shape:
    """What tells the reference models apart."""

    seed: int
    n_layer: int
    d_model: int
    n_head: int
    activation: str
    tied: bool
    blocks: int  # windows a step
    adam: float  # learning rate of embeddings, gains and biases
    muon: float  # learning rate of the matrices between them


MODELS = {
    "A": Shape(
        seed=1, n_layer=1, d_model=128, n_head=4, activation="relu", tied=False, blocks=32, adam=3e-3, muon=2e-2
    ),
    "B": Shape(
        seed=2, n_layer=1, d_model=128, n_head=4, activation="relu", tied=False, blocks=32, adam=3e-3, muon=2e-2
    ),
    "C": Shape(
        seed=3, n_layer=4, d_model=256, n_head=4, activation="gelu_new", tied=True, blocks=32, adam=2e-3, muon=2e-2
    ),
}
REPEAT = {"english": 3, "scripts": 1, "strings": 1}  # Python is seen once


# --- text ------------------------------------------------------------------------------------------------------------


def pieces(path: Path, lines: int) -> Iterator[Document]:
    """A text file in documents of so many lines."""
    rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for i in range(0, len(rows), lines):
        yield Document(f"{path.stem}/{i // lines}", "".join(rows[i : i + lines]))


def gather(data: Path) -> dict[str, list[Document]]:
    """Every document by source."""
    return {
        "python": list(python_source.documents()),
        "english": [d for p in sorted(data.glob("wikitext-2.*.txt")) for d in pieces(p, 60)],
        **{p.stem: list(pieces(p, 80)) for p in sorted((data / "scripts").glob("*.txt"))},
        **{kind: list(synthetic_strings.documents(f"{kind}:320:model")) for kind in synthetic_strings.KINDS},
    }


def shorten(source: str, documents: list[Document]) -> list[Document]:
    """Keep of a script what makes about one percent of the tokens: its bytes are nearly all tokens of their own."""
    if source in ("python", "english", *synthetic_strings.KINDS):
        return documents
    kept, size = [], 0
    for document in documents:
        kept.append(document)
        size += len(document.text.encode())
        if size > 800_000:
            break
    return kept


@app.command
def prepare(*, data: Path, work: Path) -> None:
    """Collect the text, split it, train the tokenizer, tokenise."""
    rng = np.random.default_rng(0)
    sources = {name: shorten(name, documents) for name, documents in gather(data).items()}
    python = sources["python"]
    signatures = np.stack([near_duplicates.signature(d.text) for d in python])
    clusters = near_duplicates.clusters(signatures)
    shares = {"model": 1 - HELD_OUT, "held_out": HELD_OUT}
    sizes = [len(d.text) for d in python]
    of_python = splits.assign([d.name for d in python], sizes, clusters, shares)
    pairs: list[tuple[str, Document]] = list(zip(of_python, python, strict=True))
    leak = near_duplicates.shared_lines(
        [d.text for s, d in pairs if s == "held_out"], [d.text for s, d in pairs if s == "model"]
    )
    seen = np.array([s == "model" for s in of_python])
    sketch = near_duplicates.Sketch.of([d.name for d, s in zip(python, seen, strict=True) if s], signatures[seen])
    work.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(work / "seen.npz", names=sketch.names, signatures=sketch.signatures)

    for name, documents in sources.items():
        if name != "python":
            n = len(documents)
            assigned = splits.assign([d.name for d in documents], [1] * n, np.arange(n), shares)
            times = REPEAT.get(name, 1)
            pairs += [
                (s, d) for s, d in zip(assigned, documents, strict=True) for _ in range(times if s == "model" else 1)
            ]

    tokeniser = train_tokenizer([d.text for s, d in pairs if s == "model" and is_plain(d)], work / "tokenizer", rng)
    order = rng.permutation(len(pairs))
    built = store.build((pairs[i] for i in order), tokeniser, work / "text")
    sources_of = {name: sum(len(d.text.encode()) for d in documents) for name, documents in sources.items()}
    facts = {"leak": leak, "tokens": built.manifest["tokens"], "python_documents": len(python), "bytes": sources_of}
    folder.write_json(work / "prepared.json", facts)
    print(json.dumps(facts, indent=1))


def is_plain(document: Document) -> bool:
    """Whether the tokenizer may learn from it: Python and English, so that rare scripts stay cut into bytes."""
    return document.name.endswith(".py") or document.name.startswith("wikitext")


def train_tokenizer(texts: list[str], out: Path, rng: np.random.Generator) -> Tokeniser:
    """A byte-level BPE of ``VOCABULARY`` tokens from about 40 MB of text, saved as an ordinary tokenizer folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    chosen, size = [], 0
    for i in rng.permutation(len(texts)):
        chosen.append(texts[i])
        size += len(texts[i])
        if size > 40_000_000:
            break
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    backend.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(chosen, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=SEPARATOR, eos_token=SEPARATOR, model_max_length=CONTEXT
    )
    fast.save_pretrained(out)
    return Tokeniser(fast, str(out))


def tokeniser_of(work: Path) -> Tokeniser:
    """The prepared tokenizer."""
    from monoscope.text import tokenise

    return tokenise.load(work / "tokenizer")


# --- training --------------------------------------------------------------------------------------------------------


class LinearCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``hidden @ weightᵀ`` in chunks: the logits of a whole batch never exist.

    ``keep`` is 1 where a position counts. Positions that do not are computed all the same: shapes that never change
    keep the matrix library's cache of kernels small.
    """

    CHUNK = 1024

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, keep: Tensor) -> Tensor:
        """Loss and, since the logits are at hand, gradients."""
        n = keep.sum()
        w = weight.to(torch.bfloat16)
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight)
        total = torch.zeros(())
        for i in range(0, len(targets), LinearCrossEntropy.CHUNK):
            rows = slice(i, i + LinearCrossEntropy.CHUNK)
            h, t = hidden[rows].to(torch.bfloat16), targets[rows, None]
            p = torch.log_softmax((h @ w.T).float(), 1)
            total -= (p.gather(1, t) * keep[rows, None]).sum()
            p.exp_().scatter_add_(1, t, torch.full_like(t, -1.0, dtype=p.dtype))
            g = p.mul_(keep[rows, None]).to(torch.bfloat16)
            d_hidden[rows] = (g @ w).to(hidden.dtype)
            d_weight += (g.T @ h).float()
        ctx.save_for_backward(d_hidden / n, d_weight / n)
        return total / n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The gradients of ``forward``, scaled."""
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * grads[0], d_weight * grads[0], None, None


def new_model(shape: Shape) -> Any:
    """An untrained model of an ordinary GPT-2 configuration."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(shape.seed)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=shape.d_model,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_inner=4 * shape.d_model,
        activation_function=shape.activation,
        tie_word_embeddings=shape.tied,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def optimisers(model: Any, shape: Shape) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, Adam for everything else."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and ".h." in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and ".h." in n)]
    return [
        torch.optim.Muon(inner, lr=shape.muon, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(rest, lr=shape.adam, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01, fused=True),
    ]


def rate(progress: float) -> float:
    """Learning-rate factor: 2 % warm-up, then constant, then linear to zero over the last 40 %."""
    return min(1.0, progress / 0.02, (1 - progress) / 0.4)


def batch_loss(model: Any, tokens: Tensor, is_text: Tensor) -> Tensor:
    """Mean loss of predicting each document token from those before it in its window."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.transformer(tokens[:, :-1]).last_hidden_state
    flat = hidden.float().reshape(-1, hidden.shape[-1])
    keep = is_text[:, 1:].reshape(-1).float()
    return LinearCrossEntropy.apply(flat, model.lm_head.weight, tokens[:, 1:].reshape(-1), keep)  # type: ignore[no-any-return]


def count(text: str) -> int:
    """``40M`` → 40,000,000."""
    scale = {"K": 10**3, "M": 10**6, "B": 10**9}.get(text[-1].upper(), 1)
    return int(float(text.rstrip("KMBkmb")) * scale)


@app.command
def train(name: str, *, work: Path, tokens: str = "40M", threads: int = 2, minutes: float | None = None) -> None:
    """Train one model, going on from its checkpoint when there is one."""
    torch.set_num_threads(threads)
    shape, total = MODELS[name], count(tokens)
    tokeniser, text = tokeniser_of(work), store.TokenStore(work / "text")
    found = pack.windows(text, text.documents("model"), tokeniser, CONTEXT)
    model = new_model(shape)
    steppers = optimisers(model, shape)
    rates = [s.param_groups[0]["lr"] for s in steppers]
    checkpoint = work / f"{name}.checkpoint.pt"
    step, seen = 0, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for s, saved in zip(steppers, state["optimisers"], strict=True):
            s.load_state_dict(saved)
        step, seen = state["step"], state["seen"]

    def save() -> None:
        partial = checkpoint.with_suffix(".partial")
        torch.save(
            {"model": model.state_dict(), "optimisers": [s.state_dict() for s in steppers], "step": step, "seen": seen},
            partial,
        )
        partial.replace(checkpoint)

    stop = False

    def ask_to_stop(*_: Any) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    began, saved_at, begun_with = time.time(), time.time(), seen
    per_epoch = len(found) // shape.blocks
    log = (work / f"{name}.log.jsonl").open("a")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(name, total=total, completed=seen)
        while seen < total and not stop and (minutes is None or time.time() - began < 60 * minutes):
            epoch, i = divmod(step, per_epoch)
            order = np.random.default_rng((shape.seed, epoch)).permutation(len(found))
            chosen = found[order[i * shape.blocks : (i + 1) * shape.blocks]]
            block = pack.block(text, chosen, tokeniser, CONTEXT)
            for s, base in zip(steppers, rates, strict=True):
                s.param_groups[0]["lr"] = base * rate(min(1.0, (seen + 1) / total))
            loss = batch_loss(model, block.tokens, block.is_text)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for s in steppers:
                s.step()
                s.zero_grad(set_to_none=True)
            if not math.isfinite(float(loss.detach())):
                raise SystemExit(f"loss is {float(loss)} at step {step}; the checkpoint of an earlier step is kept")
            step, seen = step + 1, seen + int(block.is_text.sum())
            if step % 20 == 0:
                speed = (seen - begun_with) / (time.time() - began)
                row = {
                    "step": step,
                    "tokens": seen,
                    "loss": round(float(loss.detach()), 4),
                    "tokens_per_second": round(speed),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                bar.update(task, completed=seen, description=f"{name} loss {row['loss']:.3f} {speed:,.0f} tok/s")
            if time.time() - saved_at > 120:
                save()
                saved_at = time.time()
        save()
    print(json.dumps({"name": name, "step": step, "tokens": seen, "complete": seen >= total}))


CARD = """---
license: apache-2.0
---
# reference-{name}

A {n_layer}-layer GPT-2 of width {d_model} ({activation}), trained from scratch for {tokens:,} tokens with seed {seed}
by `recipes/reference_model.py` of Monoscope, as an instrument for interpretability: small enough to study on a laptop,
not meant for use as a language model.

Data: Python source of the standard library and installed packages (each package's own licence), English from
WikiText-2 (CC BY-SA 3.0), verses in Cherokee, Gujarati, Syriac and Ukrainian (bible-corpus, CC0), generated base64,
hexadecimal and DNA strings. A tenth of the documents, near-duplicates kept together, was held out.

`docs/reference-models.md` has the split, the held-out loss beside n-gram baselines, and how to train it again.
"""

# --- export ----------------------------------------------------------------------------------------------------------


def trained(name: str, work: Path) -> tuple[Any, dict[str, Any]]:
    """The model of the newest checkpoint, and how far it had come."""
    state = torch.load(work / f"{name}.checkpoint.pt", weights_only=True)
    model = new_model(MODELS[name])
    model.load_state_dict(state["model"])
    return model.eval(), {"tokens": state["seen"], "steps": state["step"]}


@app.command
def export(name: str, *, work: Path, out: Path | None = None) -> None:
    """Write a model folder that ``transformers`` loads unaided, in bf16, with its tokenizer."""
    out = out or Path(__file__).parent.parent / "src/monoscope/models" / f"reference_{name.lower()}"
    model, progress = trained(name, work)
    model.to(torch.bfloat16).save_pretrained(out)
    tokeniser_of(work).fast.save_pretrained(out)
    shape = asdict(MODELS[name])
    folder.write_json(out / "training.json", {"name": name, **progress, "shape": shape})
    (out / "README.md").write_text(CARD.format(name=name.lower(), **progress, **shape), encoding="utf-8")
    print(f"{out}: {sum(f.stat().st_size for f in out.iterdir()) / 1e6:.1f} MB, {progress['tokens']:,} tokens seen")


# --- report ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def model_nats(model: Any, text: store.TokenStore, windows: np.ndarray, tokeniser: Tokeniser) -> np.ndarray:
    """The loss of every document token of these windows, in order."""
    found = []
    for i in range(0, len(windows), 32):
        block = pack.block(text, windows[i : i + 32], tokeniser, CONTEXT)
        log_p = torch.log_softmax(model(block.tokens[:, :-1]).logits.float(), -1)
        nats = -log_p.gather(2, block.tokens[:, 1:, None])[..., 0]
        found.append(nats[block.is_text[:, 1:]].numpy())
    return np.concatenate(found)


@app.command
def report(*, work: Path, windows: int = 2000, names: str = "A,B,C", out: Path | None = None) -> None:
    """Held-out loss of each trained model beside unigrams and Kneser-Ney trigrams, on the same tokens."""
    from kneser_ney import KneserNey

    tokeniser, text = tokeniser_of(work), store.TokenStore(work / "text")
    held_out, trained_on = text.documents("held_out"), text.documents("model")
    found = pack.windows(text, held_out, tokeniser, CONTEXT)
    chosen = found[np.random.default_rng(0).permutation(len(found))[:windows]]
    documents = [np.asarray(text.tokens[text.token_offsets[d] : text.token_offsets[d + 1]]) for d in trained_on]
    baseline = KneserNey(documents, VOCABULARY)
    per_token: dict[str, list[np.ndarray]] = {"unigram": [], "kneser_ney": []}
    for d, first, n in chosen.tolist():
        whole = np.asarray(text.tokens[text.token_offsets[d] : text.token_offsets[d] + first + n])
        per_token["kneser_ney"].append(baseline.nats(whole)[first:])
        per_token["unigram"].append(baseline.unigram_nats(whole[first:]))
    losses = {name: np.concatenate(parts) for name, parts in per_token.items()}
    seen = {}
    for name in names.split(","):
        if (work / f"{name}.checkpoint.pt").exists():
            model, progress = trained(name, work)
            losses[name], seen[name] = model_nats(model, text, chosen, tokeniser), progress["tokens"]
    facts = {
        "held_out_tokens": len(losses["unigram"]),
        "kneser_ney_trained_on": int(sum(map(len, documents))),
        "tokens_seen": seen,
        "nats": {name: round(float(values.mean()), 4) for name, values in losses.items()},
    }
    print(json.dumps(facts, indent=1))
    if out is not None:
        folder.write_json(out, facts)


@app.command
def export_text(*, data: Path, work: Path) -> None:
    """Write what tells held-out text apart into the package: the training sketch, and held-out verses."""
    out = Path(__file__).parent.parent / "src/monoscope/text/held_out"
    out.mkdir(parents=True, exist_ok=True)
    (out / "seen.npz").write_bytes((work / "seen.npz").read_bytes())
    built = store.TokenStore(work / "text")
    held = {built.names[i] for i in built.documents("held_out")}
    for path in sorted((data / "scripts").glob("*.txt")):
        documents = [d.text for d in shorten(path.stem, list(pieces(path, 80))) if d.name in held]
        (out / path.name).write_text("".join(documents), encoding="utf-8")
        print(f"{path.name}: {len(documents)} documents, {len(''.join(documents).encode()):,} bytes")


if __name__ == "__main__":
    app()
