"""MinHash: estimates against true Jaccard similarities, clusters, and the sketch of what a model has seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.text import near_duplicates as nd


def unrelated(n: int, seed: int = 0) -> list[str]:
    """Texts of 60 lines that share no line."""
    rng = np.random.default_rng(seed)
    return ["\n".join(f"value_{x} = compute({y})" for x, y in rng.integers(0, 2**40, (60, 2))) for _ in range(n)]


def lines(names: range) -> str:
    return "\n".join(f"a line of some length, number {i}" for i in names)


@settings(deadline=None)
@given(text=st.text(max_size=200), indent=st.integers(0, 8))
def test_a_signature_depends_on_the_text_alone(text: str, indent: int) -> None:
    one = nd.signature(text)
    assert one.shape == (nd.N_HASHES,) and one.dtype == np.uint32
    assert np.array_equal(one, nd.signature(text))


def test_signatures_are_the_same_on_every_machine() -> None:
    assert nd.signature(lines(range(50)))[:4].tolist() == [2777202, 16789018, 3961339, 140876510]


def test_order_indentation_and_short_lines_do_not_count() -> None:
    forwards = lines(range(40))
    backwards = "\n".join("    " + line for line in reversed(forwards.split("\n"))) + "\nelse:\n}\n"
    assert np.array_equal(nd.signature(forwards), nd.signature(backwards))


@pytest.mark.parametrize("shared", [0, 60, 150, 240, 285, 300])
def test_the_estimate_is_close_to_the_true_similarity(shared: int) -> None:
    truth = shared / (600 - shared)
    estimates = []
    for k in range(20):
        first = range(10_000 * k, 10_000 * k + 300)
        second = range(first.stop - shared, first.stop - shared + 300)
        estimates.append((nd.signature(lines(first)) == nd.signature(lines(second))).mean())
    error = np.sqrt(truth * (1 - truth) / (20 * nd.N_HASHES))
    assert abs(np.mean(estimates) - truth) <= 4 * error


def test_clusters_join_copies_and_nothing_else() -> None:
    texts = unrelated(120)
    changed = texts[7].split("\n")
    changed[3:6] = ["this line was edited", "and this one too, see"]
    texts += [texts[7], "# a licence header, added\n" + "\n".join(changed), texts[100]]
    found = nd.clusters(np.stack([nd.signature(t) for t in texts]))
    expected = [*range(120), 7, 7, 100]
    assert found.tolist() == expected


def test_a_chain_of_copies_is_one_cluster() -> None:
    chain = [lines(range(10 * i, 10 * i + 100)) for i in range(12)]  # neighbours share 82 %, the ends nothing
    assert nd.clusters(np.stack([nd.signature(t) for t in chain])).tolist() == [0] * 12


def test_few_lines_are_compared_by_words() -> None:
    words = " ".join(f"word{i}" for i in range(200))
    same, other = nd.signature(words + " end"), nd.signature(" ".join(f"term{i}" for i in range(200)))
    assert (nd.signature(words) == same).mean() > 0.8
    assert (nd.signature(words) == other).mean() == 0


def test_the_sketch_knows_copies_and_only_copies() -> None:
    seen, strangers = unrelated(80), unrelated(80, seed=1)
    sketch = nd.Sketch.of([f"d{i}" for i in range(80)], np.stack([nd.signature(t) for t in seen]))
    restored = nd.Sketch(sketch.names, sketch.signatures)
    for known in (sketch, restored):
        assert all(known.knows_text("# edited: one new line here\n" + t) for t in seen)
        assert not any(known.knows_text(t) for t in strangers)
        assert known.knows_name("d79") and not known.knows_name("d80")
    assert sketch.names.nbytes + sketch.signatures.nbytes <= 100 * 80


def test_shared_lines() -> None:
    assert nd.shared_lines([lines(range(100))], [lines(range(75, 300))]) == 0.25
    assert nd.shared_lines([lines(range(100))], []) == 0
    assert nd.shared_lines([], [lines(range(10))]) == 0
