from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from app_demo import DemoCatalogue
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from monoscope.app.ui.table import FeatureTable, Query
from monoscope.catalogue.searching import EVERYTHING, Filters
from monoscope.errors import MonoscopeError

COLUMN = {"label_f1": "label_f1", "density": "density", "loss_effect": "loss_effect", "max": "max", "id": "id"}


def brute_force(catalogue: DemoCatalogue, query: Query) -> list[int]:
    columns = catalogue.features
    chosen = []
    for i in range(len(catalogue)):
        f1 = columns["label_f1"][i]
        kind = columns["label_kind"][i] or "none"
        if query.filters.kind and kind != query.filters.kind:
            continue
        if query.filters.f1[0] > 0 and not f1 >= query.filters.f1[0]:
            continue
        if query.filters.density[0] <= columns["density"][i] <= query.filters.density[1]:
            chosen.append(i)

    def key(i: int) -> tuple[bool, float, int]:
        value = float(columns[COLUMN[query.sort]][i])
        return math.isnan(value), -value if query.descending else value, i

    return sorted(chosen, key=key)


@given(
    st.builds(
        Query,
        sort=st.sampled_from(sorted(COLUMN)),
        descending=st.booleans(),
        filters=st.builds(
            Filters,
            kind=st.sampled_from(["", "token", "context", "none"]),
            f1=st.sampled_from([EVERYTHING, (0.5, 1.0), (0.8, 1.0)]),
            density=st.sampled_from([EVERYTHING, (0.001, 1.0), (0.0, 0.01), (0.001, 0.01)]),
        ),
    )
)
def test_filters_and_orders_as_brute_force_does(few: DemoCatalogue, query: Query) -> None:
    assert FeatureTable(few).ids(query).tolist() == brute_force(few, query)


@pytest.fixture(scope="module")
def few() -> DemoCatalogue:
    return DemoCatalogue(120)


def test_a_search_keeps_its_own_order_unless_sorted(catalogue: DemoCatalogue) -> None:
    table = FeatureTable(catalogue)
    found = [hit.id for hit in catalogue.search("docstring", limit=1000)]
    assert table.ids(Query("docstring")).tolist() == found and len(found) > 10
    by_id = table.ids(Query("docstring", sort="id", descending=False)).tolist()
    assert by_id == sorted(found)


def test_a_search_is_filtered_before_it_is_cut(catalogue: DemoCatalogue) -> None:
    table, filters = FeatureTable(catalogue), Filters(f1=(0.5, 1.0))
    found = table.ids(Query("docstring", filters=filters)).tolist()
    f1 = catalogue.features["label_f1"]
    assert found == [i for i in table.ids(Query("docstring")).tolist() if f1[i] >= 0.5] and found
    assert table.ids(Query("5", filters=Filters(f1=(2.0, 3.0)))).tolist() == []


def test_pages_search_in_every_way_but_by_files(client: TestClient, catalogue: DemoCatalogue) -> None:
    ways = client.get("/api/ways").json()["ways"]
    assert {"words", "text", "meaning", "feature", "promoted", "concept"} <= set(ways) and "vector" not in ways
    found = client.get("/api/features", params={"q": "5", "by": "feature"}).json()
    assert [row["id"] for row in found["rows"]] == [i for i, _ in catalogue[5].neighbours]
    assert client.get("/api/features", params={"q": "/etc/passwd", "by": "vector"}).status_code == 400
    assert client.get("/api/features", params={"q": "x", "loss_effect": "a..b"}).status_code == 400
    low = client.get("/api/features", params={"loss_effect": "0.1.."}).json()
    assert low["total"] == (catalogue.features["loss_effect"] >= 0.1).sum() > 0


def test_a_number_finds_the_feature(catalogue: DemoCatalogue) -> None:
    table = FeatureTable(catalogue)
    assert table.ids(Query("123"))[0] == table.ids(Query("#123"))[0] == 123
    assert 300 not in table.ids(Query("300"))


@pytest.mark.parametrize("q", ['"', "'; DROP TABLE x", "a OR", "NEAR(", "*", "\x00", "--", "(", "<b>", "²", "٣"])
def test_hostile_queries_are_words_like_others(client: TestClient, q: str) -> None:
    response = client.get("/api/features", params={"q": q})
    assert response.status_code == 200 and response.json()["total"] >= 0


def test_windows_join_to_the_whole(client: TestClient) -> None:
    whole = client.get("/api/features", params={"sort": "density", "limit": 300}).json()
    parts = [
        client.get("/api/features", params={"sort": "density", "offset": o, "limit": 90}).json()
        for o in range(0, 300, 90)
    ]
    assert [r for p in parts for r in p["rows"]] == whole["rows"] and whole["total"] == 300
    numbers = {"label_f1", "label_f1_low", "label_f1_high", "density", "loss_effect", "max"}
    assert set(whole["rows"][0]) == {"id", "label", "label_kind", "top_tokens", "annotation"} | numbers
    assert client.get("/api/features", params={"offset": 10**9}).json()["rows"] == []


def test_new_labels_are_seen_without_a_restart(few: DemoCatalogue) -> None:
    class Changing:
        def __init__(self) -> None:
            self.features = dict(few.features)

        def __len__(self) -> int:
            return len(few)

    catalogue: Any = Changing()
    table = FeatureTable(catalogue)
    query = Query(sort="label_f1")
    before = table.ids(query).tolist()
    catalogue.features = {**few.features, "label_f1": few.features["label_f1"][::-1].copy()}
    assert table.ids(query).tolist() != before


def test_a_hundred_thousand_features_answer_at_once() -> None:
    n = 100_000
    rng = np.random.default_rng(0)
    features = {name: rng.random(n) for name in ("label_f1", "label_f1_low", "density", "loss_effect", "max")}
    features |= {"id": np.arange(n), "label_kind": np.where(rng.random(n) < 0.5, "token", "")}
    table = FeatureTable(SimpleNamespace(features=features))
    table.ids(Query(sort="density"))
    started = time.perf_counter()
    for offset in range(0, n, 1000):
        table.ids(Query(sort="density"))[offset : offset + 100]
    assert time.perf_counter() - started < 0.1
    started = time.perf_counter()
    assert len(table.ids(Query(sort="density", filters=Filters(kind="token", f1=(0.5, 1.0))))) > 10_000
    assert time.perf_counter() - started < 0.5


def test_unknown_orders_name_the_valid_ones() -> None:
    with pytest.raises(MonoscopeError, match="did you mean 'density'"):
        Query(sort="densty")
