"""What features promote: in the vocabulary, and in text whose next tokens are planted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from explained_world import DEAD, catalogue, dictionary, head, language_model, tokeniser

from monoscope.app.at_hand import head_of
from monoscope.catalogue.searching import AtHand
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError
from monoscope.interpret import explaining, scoring
from monoscope.interpret.explainers import Task, promoted
from monoscope.interpret.judges.concept import Concepts
from monoscope.interpret.next_tokens import NextTokens

FEATURES = [4, 8, 9]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return catalogue(tmp_path_factory.mktemp("promoted") / "run")


def test_without_a_model_it_is_refused(made: Catalogue) -> None:
    made.at_hand = AtHand()
    with pytest.raises(MonoscopeError, match="none is at hand"):
        list(promoted.explanations(Task(made, FEATURES)))
    made.at_hand = AtHand(head=lambda: None)
    with pytest.raises(MonoscopeError, match=r"nothing linear leads from mlp_act\.0"):
        list(promoted.explanations(Task(made, FEATURES)))


def test_the_way_to_the_logits_is_that_of_the_catalogue(made: Catalogue) -> None:
    lm = language_model(1)
    found = head_of(lm, "mlp_act.0")
    assert found is not None and head_of(lm, "resid_post.0") is not None
    effects = dictionary().directions.numpy() @ found.pull
    for feature in FEATURES:
        (best, *_) = made[feature].promoted
        assert effects[feature].argmax() == best.token_id
        assert effects[feature].max() == pytest.approx(best.weight, rel=1e-4)
    assert found.spellings[tokeniser().text("t").tokens[0]] == b"t" and None in found.spellings


def test_tokens_that_stand_out_are_named_and_only_text_judges_them(made: Catalogue) -> None:
    raised = {4: "te", 8: "9", 9: ""}
    made.at_hand = AtHand(head=lambda: head(made, raised))
    outcome = explaining.explain("promoted", Task(made, [DEAD, *FEATURES]))
    said = {e.feature: (e.fires_on, e.promotes, e.detail["promotes_concept"]) for e in outcome.written}
    assert said[8] == ("", "`9`", "token('9')") and set(said[4][2].split(" | ")) == {"token('t')", "token('e')"}
    assert outcome.failures == {DEAD: promoted.SILENT, 9: promoted.NO_CLASS}
    scores = {(s.feature, s.scorer): s for s in made.scores()}
    assert scores[8, "logit_class"].value is None and scores[8, "logit_class"].detail["why"] == promoted.A_SET
    assert set(scores) == {(f, s) for f in (4, 8) for s in ("logit_class", "next_token")}
    claim = scoring.claim_of(outcome.written[-1], "promotes")
    assert claim.concept == "token('9')" and Concepts(made.store).fits(claim)
    assert not Concepts(made.store).fits(scoring.claim_of(outcome.written[-1], "fires_on"))


# --- the next token


A, B, X, Y = range(4)
N, LENGTH = 40, 200


class Rows(SimpleNamespace):
    def __len__(self) -> int:
        return N * LENGTH


def planted(chance: float) -> Any:
    """Documents of A and B, each before an X or a Y; the feature fires strongly on half of the As, weakly on some Bs.

    After an A on which it fires comes an X with a chance of ``chance``; after any other token, of 0.25.
    """
    rng = np.random.default_rng(0)
    tokens = np.empty((N, LENGTH), dtype=np.int64)
    tokens[:, ::2] = rng.integers(0, 2, (N, LENGTH // 2))
    fires = (tokens == A) & (rng.random((N, LENGTH)) < 0.5)
    fires[:, 1::2] = False
    weak = (tokens == B) & (rng.random((N, LENGTH)) < 0.2)
    weak[:, 1::2] = False
    likely = np.where(fires[:, ::2], chance, 0.25)
    tokens[:, 1::2] = np.where(rng.random(likely.shape) < likely, X, Y)
    rows = np.flatnonzero((fires | weak).ravel()).astype(np.uint32)
    values = np.where(fires.ravel()[rows], 1.0, 0.2).astype(np.float32)
    in_test = np.repeat(np.arange(N) % 2 == 1, LENGTH)
    world = Rows(
        tokens=lambda: tokens.ravel(), offsets=np.arange(N + 1) * LENGTH, documents=np.arange(N),
        slots=lambda: np.repeat(np.arange(N), LENGTH),
        in_split=lambda name: in_test if name == "test" else ~in_test,
    )  # fmt: skip
    return world, SimpleNamespace(of=lambda feature: (rows, values)), fires.ravel(), in_test


def text(chance: float) -> tuple[NextTokens, np.ndarray, np.ndarray]:
    rows, index, fires, in_test = planted(chance)
    found = SimpleNamespace(rows=rows, index=index)
    return NextTokens(found, 0), fires, in_test  # type: ignore[arg-type]


def test_places_are_strong_ones_of_the_split_test_each_beside_its_token_without_the_feature() -> None:
    found, fires, in_test = text(0.75)
    pairs = found.pairs(0)
    assert len(pairs.rows) == min(1000, int((fires & in_test).sum())) > 400 and pairs.unpaired == 0
    assert fires[pairs.rows].all() and in_test[pairs.rows].all()
    assert in_test[pairs.others].all() and not fires[pairs.others].any()
    tokens = found._tokens
    assert (tokens[pairs.rows] == A).all() and (tokens[pairs.others] == A).all()


def test_a_planted_next_token_is_found_with_its_size() -> None:
    found, _, _ = text(0.75)
    told = found.compare(found.pairs(0), np.arange(4) == X)
    assert told is not None and told["difference"].low < 0.5 < told["difference"].high
    assert told["difference"].low > 0.4 and abs(told["share"] - 0.75) < 0.06 and abs(told["matched"] - 0.25) < 0.06
    assert told["ratio"] == pytest.approx(told["share"] / told["matched"])
    opposite = found.compare(found.pairs(0), np.arange(4) == Y)
    assert opposite is not None and opposite["difference"].value == pytest.approx(-told["difference"].value)


def test_what_the_token_alone_says_is_no_evidence() -> None:
    found, _, _ = text(0.25)
    told = found.compare(found.pairs(0), np.arange(4) == X)
    assert told is not None and told["difference"].low < 0 < told["difference"].high
    nothing = found.compare(found.pairs(0), np.arange(4) == A)
    assert nothing is not None and nothing["difference"].value == 0 and nothing["ratio"] is None


def test_a_feature_that_fires_wherever_its_token_stands_has_no_pairs() -> None:
    found, _, _ = text(0.5)
    every = np.flatnonzero(found._tokens == A).astype(np.uint32)
    found._catalogue.index.of = lambda feature: (every, np.ones(len(every), np.float32))  # type: ignore[method-assign]
    pairs = found.pairs(0)
    assert len(pairs.rows) == 0 and pairs.unpaired > 500 and found.compare(pairs, np.arange(4) == X) is None
    found._catalogue.index.of = lambda feature: (every[:0], np.zeros(0, np.float32))  # type: ignore[method-assign]
    assert found.pairs(0).unpaired == 0
