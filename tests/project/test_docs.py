"""The plug-ins that the documentation shows do what it says, and its pages are all listed and linked."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from monoscope import plugins

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'^```python title="(?P<name>\w+)\.py"\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL)
EXAMPLES = {m["name"]: m["code"] for m in BLOCK.finditer((ROOT / "docs" / "plugins.md").read_text(encoding="utf-8"))}


@pytest.fixture
def shown(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example of the name that the test asks for, as a third party's module."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / f"{request.param}.py").write_text(EXAMPLES[request.param], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield plugins.load("monoscope.text.corpora", f"theirs.{request.param}")
    for name in [n for n in sys.modules if n.partition(".")[0] == "theirs"]:
        del sys.modules[name]


def example(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("shown", [name], indirect=True)


@example("corpus")
def test_the_corpus(shown: ModuleType) -> None:
    from monoscope.text.corpus import open_corpus

    assert [d.name for d in open_corpus("theirs.corpus:3")] == ["counting/0", "counting/1", "counting/2"]


@example("architecture")
def test_the_architecture(shown: ModuleType) -> None:
    from monoscope.train.fit import fit

    torch.manual_seed(0)
    x = torch.randn(512, 8)
    learned = fit(x, 16, "theirs.architecture", k=4, batch_size=64, show_progress=False)
    code = learned.encode(x)
    assert torch.equal(code[10:20].to_dense(), learned.encode(x[10:20]).to_dense())
    assert int(code.counts().max()) == 4
    assert (x - learned(x)).square().sum() < (x - x.mean(0)).square().sum()


@example("objective")
def test_the_objective(shown: ModuleType) -> None:
    from monoscope.dictionary.base import architecture

    made = architecture("l1_2023")(4, 6)
    goal = shown.Objective(made, 1000, 0, penalty=0.5)
    x = torch.randn(5, 4)
    goal.initialise(made, x, x)
    terms = goal.losses(made, x, x, 0.0)
    sum(terms.values()).backward()
    active = torch.relu(x @ made.w_enc.T)
    assert torch.allclose(terms["l1"], 0.5 * active.sum() / 20)
    assert torch.allclose(terms["mse"], (x - active @ made.w_dec).square().mean())
    assert made.w_dec.grad is not None and made.w_dec.grad.abs().sum() > 0


@example("way")
def test_the_way_to_search(shown: ModuleType) -> None:
    import numpy as np

    from monoscope.catalogue.searching import Query

    class Catalogue:
        def __len__(self) -> int:
            return 3

        def select(self, sql: str) -> list[tuple[int, str]]:
            return [(0, "[[7, 0.2]]"), (1, "[]"), (2, "[[4, 0.9], [7, 0.5]]")]

    assert shown.search(Query("7"), Catalogue(), None).ids.tolist() == [2, 0]
    assert shown.search(Query(7), Catalogue(), np.array([True, True, False])).ids.tolist() == [0]


@example("aggregation")
def test_the_aggregation(shown: ModuleType) -> None:
    from monoscope.watch.rules import Condition

    made = Condition("x", 1.0, aggregation="theirs.aggregation", options={"scale": 2}).aggregated()
    assert [made.step(value) for value in (1.0, 3.0, 2.0)] == [2.0, 4.0, -2.0]


@example("action")
def test_the_action(shown: ModuleType) -> None:
    from monoscope.signals.direction import Direction
    from monoscope.watch.acting import Acting
    from monoscope.watch.following import Followed
    from monoscope.watch.monitor import Monitor
    from monoscope.watch.rules import Act, Condition, Rule, Rules, Signal

    rule = Rule("high", Condition("x", 1.0), actions=(Act("theirs.action"),))
    rules, told = Rules((Signal("x", Direction("d", 0)),), (rule,)), []
    monitor = Monitor(rules)
    acting = Acting(rules, {"theirs.action": {"into": told}})
    acting.on(Followed(0, monitor, 0), monitor.step([[2.0], [0.0]]))
    assert told == ["high raised", "high cleared"]


@example("preset")
def test_the_preset(shown: ModuleType) -> None:
    from monoscope.train import presets

    assert presets.preset("theirs.preset") is shown.PRESET
    made = presets.recipe("theirs.preset", 16, k=3)
    assert (made.settings, made.options, made.schedule.decay) == ({"k": 3}, {"auxk": 0.0}, 0.5)


@example("format")
def test_the_format(shown: ModuleType, tmp_path: Path) -> None:
    from monoscope.dictionary.base import architecture
    from monoscope.errors import MonoscopeError

    made = architecture("topk")(4, 6, k=2)
    nn.init.normal_(made.w_enc)
    shown.save(made, tmp_path / "out")
    assert shown.recognises(tmp_path / "out")
    again, x = shown.load(tmp_path / "out"), torch.randn(7, 4)
    assert torch.equal(again(x), made(x))
    with pytest.raises(MonoscopeError, match="topk dictionaries only"):
        shown.save(architecture("batch_topk")(4, 6, k=2), tmp_path / "other")
    with pytest.raises(MonoscopeError, match="topk dictionaries only"):
        shown.save(architecture("topk")(4, 6, k=2, skip=True), tmp_path / "other")


@example("concepts")
def test_the_concepts(shown: ModuleType) -> None:
    import numpy as np

    from monoscope.types import TokenisedDocument

    text = "on 2024-05-21 at 12:30"
    ends = np.array([2, 7, 13, 16, 22])
    document = TokenisedDocument("d", text, np.arange(5), np.concatenate([[0], ends[:-1]]), ends)
    masks = {c.name: c.mask(document).tolist() for c in shown.concepts()}
    assert masks["in_iso_date"] == [False, True, True, False, False]
    assert masks["in_clock_time"] == [False, False, False, False, True]


@example("measure")
def test_the_measure(shown: ModuleType) -> None:
    from monoscope.evaluate.batches import Reconstructed
    from monoscope.evaluate.measure import Facts, SumsByDocument
    from monoscope.types import Code

    tally = shown.start(Facts(2, 3, 0, SumsByDocument(2)))
    x = torch.zeros(4, 2)
    code = Code.from_dense(torch.tensor([[0.0, 1, 0], [0, 0, 0], [0, 0, 0], [2, 0, 0]]))
    tally.add(Reconstructed(x, x, code, torch.tensor([0, 0, 1, 1]), torch.arange(4)))
    assert tally.estimates()["silent_fraction"].value == 0.5


@example("family")
def test_the_family(shown: ModuleType) -> None:
    block = nn.ModuleDict({"norm_a": nn.Identity(), "attention": nn.Identity(), "norm_b": nn.Identity()})
    block["mlp"] = nn.ModuleDict({"down": nn.Linear(4, 2)})
    layout = shown.resolve(nn.ModuleDict({"layers": nn.ModuleList([block, block]), "final_norm": nn.Identity()}))
    assert layout is not None and len(layout.layers) == 2 and layout.final_norm is not None
    assert layout.layers[1].places["mlp_act"].path == "layers.1.mlp.down"
    assert shown.resolve(nn.Linear(2, 2)) is None


@example("explainer")
def test_the_explainer(shown: ModuleType) -> None:
    from types import SimpleNamespace

    import numpy as np

    from monoscope.interpret import explaining
    from monoscope.interpret.explainers import Task

    written = []
    store = SimpleNamespace(
        text=lambda d: b"red fox", starts=np.array([0, 3]), ends=np.array([3, 7]), token_offsets=np.array([0, 2]),
        tokens=np.array([5, 6]),
    )  # fmt: skip
    rows = SimpleNamespace(
        store=store, documents=np.array([0]), offsets=np.array([0, 2]), tokens=lambda: np.array([5, 6]),
        in_split=lambda split: np.full(2, split == "fit"),
    )  # fmt: skip
    index = SimpleNamespace(
        of=lambda f: (np.arange(1, 2 - f), np.full(1 - f, 2.0)),  # feature 0 fires on the second row
        dense=lambda f, a, b: np.array([0.0, 2.0])[a:b], between=lambda f, a, b: (np.array([1]), np.array([2.0])),
    )  # fmt: skip
    catalogue = SimpleNamespace(
        store=store, rows=rows, index=index, run="run", facts={"key": "k"}, explanations=list,
        write_explanations=lambda explanations, scores: written.extend(explanations),
    )  # fmt: skip
    outcome = explaining.explain("theirs.explainer", Task(catalogue, [0, 1]))
    assert [(e.feature, e.fires_on, e.explainer) for e in written] == [(0, " fox", "theirs.explainer")]
    assert outcome.failures == {1: "it never fires"} and outcome.left == 0


@example("sender")
def test_the_sender(shown: ModuleType) -> None:
    from monoscope.interpret.asking.account import Account, Budget
    from monoscope.interpret.asking.asker import Asker
    from monoscope.interpret.chat import Message, Prompt

    asker = Asker(shown.reach("parrot"), account=Account(Budget(tokens=60)))
    answers = asker.answer([Prompt((Message("user", f"who is {i}?"),), max_tokens=4) for i in range(20)])
    assert [not a.failure for a in answers] == [True] * 8 + [False] * 12
    assert (asker.account.prompt_tokens, asker.account.answer_tokens, asker.account.requests) == (24, 24, 1)


def test_every_example_is_tested() -> None:
    source = Path(__file__).read_text()
    assert EXAMPLES and all(f'@example("{name}")' in source for name in EXAMPLES)


def test_every_page_is_in_the_navigation() -> None:
    listed = (ROOT / "mkdocs.yml").read_text()
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert all(page in listed for page in pages)


@pytest.mark.parametrize("folder", ["adr", "log"])
def test_every_decision_and_experiment_is_in_its_index(folder: str) -> None:
    pages = [p for p in (ROOT / "docs" / folder).glob("*.md") if p.name != "index.md"]
    index = (ROOT / "docs" / folder / "index.md").read_text()
    assert pages and all(f"]({page.name})" in index for page in pages)


@example("wanted")
def test_what_a_text_is_wanted_to_be(shown: ModuleType) -> None:
    from monoscope.studies.objectives import objective

    assert objective("theirs.wanted")("x = 1\n", "short\n" + "long " * 10) == 0.5


@example("proposer")
def test_the_proposer(shown: ModuleType) -> None:
    from monoscope.models.huggingface import load_model
    from monoscope.studies import proposers

    lm = load_model("reference-a")
    directions = torch.eye(3, 128)
    directions[2] = directions[:2].sum(0) / 2**0.5
    task = proposers.Task(lm, "resid_post.0", directions, proposers.Samples([], [], np.zeros(0)), {})
    found = plugins.load(proposers.PACKAGE, "theirs.proposer").scores(task)
    np.testing.assert_allclose(found, np.full(3, 1 - 0.5**0.5), rtol=1e-6)


@example("removal")
def test_the_removal(shown: ModuleType) -> None:
    from monoscope.dictionary.base import architecture
    from monoscope.intervene import removals
    from monoscope.intervene.affine import Moments
    from monoscope.models.huggingface import load_model
    from monoscope.types import TokenBlock

    torch.manual_seed(0)
    lm, dictionary = load_model("reference-a"), architecture("topk")(512, 64, k=4).requires_grad_(False)
    dictionary.w_dec.copy_(torch.randn(64, 512))
    task = removals.Task(lm, "mlp_act.0", "mlp_act.0", dictionary, (3, 5), Moments(512, 2))
    made = plugins.load(removals.PACKAGE, "theirs.removal").removed(task)
    tokens = torch.arange(24).view(2, 12)
    block = TokenBlock(tokens, torch.zeros_like(tokens), torch.arange(12).expand_as(tokens))
    along, _ = torch.linalg.qr(dictionary.directions[[3, 5]].T)
    written = lm.run(block, read=["logits"], write={"mlp_act.0": lambda h: h - (h @ along) @ along.T / 2})["logits"]
    torch.testing.assert_close(made.run(block, read=["logits"])["logits"], written, rtol=1e-4, atol=1e-4)
    assert made.fingerprint != lm.fingerprint
