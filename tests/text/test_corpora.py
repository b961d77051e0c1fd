"""Corpora: every plug-in gives the same documents every time, and every bad source a clear error."""

from __future__ import annotations

import sysconfig
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope import hub, plugins
from monoscope.errors import MonoscopeError
from monoscope.text.corpora import files, huggingface, python_source, synthetic_strings
from monoscope.text.corpus import PLUGINS, Corpus, open_corpus
from monoscope.types import Document


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("notes")
    (root / "b").mkdir()
    (root / ".hidden").mkdir()
    (root / "b" / "two.md").write_text("# Two\n\nwith é\n", encoding="utf-8")
    (root / "one.txt").write_bytes(b"\xef\xbb\xbfone\r\nline\r\n")
    (root / "z.py").write_text("x = 1\n")
    (root / "empty.txt").write_text(" \n")
    (root / "picture.png").write_bytes(b"\x89PNG\0\0")
    (root / ".hidden" / "no.txt").write_text("hidden")
    (root / "rows.jsonl").write_text('{"text": "first", "body": "other"}\n\n{"text": "third \\ud800", "body": ""}\n')
    return root


def texts(source: str | Path) -> dict[str, str]:
    found = list(open_corpus(source))
    assert len({d.name for d in found}) == len(found), "names are unique"
    return {d.name: d.text for d in found}


# --- every plug-in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", plugins.names(PLUGINS))
def test_every_corpus_is_the_same_twice(name: str, notes: Path, tmp_path: Path) -> None:
    sources = {"files": str(notes), "synthetic_strings": "hex:5", "python_source": "stdlib/json", "huggingface": None}
    source = sources.get(name, "")
    if source is None:
        source = saved_data_set(tmp_path)
    corpus = open_corpus(f"{name}:{source}")
    first, again = list(islice(corpus, 20)), list(islice(corpus, 20))
    assert first == again and first
    assert len({d.name for d in first}) == len(first)
    assert all(isinstance(d, Document) and d.text.encode() for d in first)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_folder(notes: Path) -> None:
    assert texts(notes) == {
        "b/two.md": "# Two\n\nwith é\n",
        "one.txt": "one\nline\n",
        "rows.jsonl/1": "first",
        "rows.jsonl/3": "third \ufffd",
        "z.py": "x = 1\n",
    }


def test_a_file_a_glob_and_a_field(notes: Path) -> None:
    assert texts(f"files:{notes}/one.txt") == {"one.txt": "one\nline\n"}
    assert texts(f"{notes}/**/*.md") == {"b/two.md": "# Two\n\nwith é\n"}
    assert list(texts(f"{notes}/*.[pt][yx]*")) == ["one.txt", "z.py"]
    assert texts(f"files:{notes}/rows.jsonl#body") == {"rows.jsonl/1": "other"}


def test_a_file_whose_name_holds_a_hash(tmp_path: Path) -> None:
    (tmp_path / "c#notes.txt").write_text("sharp")
    assert texts(tmp_path / "c#notes.txt") == {"c#notes.txt": "sharp"}


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"text": ["first", None, "third"], "n": [1, 2, 3]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    assert texts(tmp_path / "rows.parquet") == {"rows.parquet/1": "first", "rows.parquet/3": "third"}
    with pytest.raises(MonoscopeError, match=r"'txt'[\s\S]*did you mean 'text'"):
        texts(f"files:{tmp_path}/rows.parquet#txt")
    with pytest.raises(MonoscopeError, match="holds a int, not text"):
        texts(f"files:{tmp_path}/rows.parquet#n")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(MonoscopeError, match=r"bad\.parquet is no readable Parquet"):
        texts(tmp_path / "bad.parquet")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(MonoscopeError, match=r"need pyarrow[\s\S]*pip install"):
        texts(tmp_path / "rows.parquet")


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(
        st.sampled_from(["word " * 30, "", "= Title =", " = = Section = = ", "# Part", "é" * 50, "x" * 9000]),
        max_size=60,
    ),
    part=st.integers(1000, 50_000),
)
def test_pieces_joined_are_the_text(lines: list[str], part: int) -> None:
    text = "\n".join(lines * 3)
    found = list(files.pieces(iter([text[i : i + part] for i in range(0, len(text), part)])))
    assert "".join(found) == text
    assert all(files.SMALLEST <= len(p) <= files.LARGEST + 1 for p in found[:-1])


def test_a_long_file_is_cut_before_its_titles(tmp_path: Path) -> None:
    articles = [f" = Article {i} = \n\n" + f"Sentence of article {i}. " * 550 + "\n\n" for i in range(9)]
    (tmp_path / "wiki.txt").write_text("".join(articles))
    found = texts(tmp_path / "wiki.txt")
    assert list(found) == [f"wiki.txt/{i}" for i in range(1, 10)]
    assert list(found.values()) == articles


@pytest.mark.parametrize(
    ("unit", "boundary"),
    [
        ("a paragraph. " * 40 + "\n\n", "\n\n"),
        ("a line of text\n", "\n"),
        ("a word and ", " "),
    ],
)
def test_without_titles_the_best_boundary_is_taken(tmp_path: Path, unit: str, boundary: str) -> None:
    (tmp_path / "long.txt").write_text(unit * (200_000 // len(unit)))
    found = list(texts(tmp_path / "long.txt").values())
    assert len(found) > 5
    assert all(piece.endswith(boundary) for piece in found[:-1])


def test_source_and_shorter_files_stay_whole(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("x = 1\n\n" * 20_000)
    (tmp_path / "short.txt").write_text("word " * 13_000)
    assert list(texts(tmp_path)) == ["long.py", "short.txt"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("latin.txt", "café".encode("latin-1"), r"latin\.txt is not UTF-8"),
        ("late.txt", b"fine\n" * 300_000 + b"\xff", r"late\.txt is not UTF-8"),
        ("image.dat", b"ab\0\1", r"image\.dat is binary"),
        ("bad.jsonl", b'{"text": "a"}\n{"text": ', r"line 2 of bad\.jsonl is not JSON"),
        ("list.jsonl", b"[1]\n", r"line 1 of list\.jsonl is no JSON object"),
        ("field.jsonl", b'{"body": "a"}\n', r"field\.jsonl, line 1[\s\S]*valid: body"),
        ("number.jsonl", b'{"text": 3}\n', "holds a int, not text"),
        ("empty.txt", b"", "the text is empty"),
        ("blank.jsonl", b'{"text": " "}\n\n', "the text is empty"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MonoscopeError, match=message):
        texts(tmp_path / name)


def test_what_is_not_there(notes: Path, tmp_path: Path) -> None:
    with pytest.raises(MonoscopeError, match=r"did you mean '.*one\.txt'"):
        texts(f"{notes}/onne.txt")
    with pytest.raises(MonoscopeError, match=r"did you mean '.*notes.*'"):
        texts(f"{notes.parent}/{notes.name}x/one.txt")
    with pytest.raises(MonoscopeError, match="no text files"):
        texts(tmp_path)
    for name, holds in (("runs", "plan.json"), ("acts", "harvest.json"), (".venv", "note.txt"), ("pic.png", None)):
        (tmp_path / name).write_bytes(b"") if holds is None else (tmp_path / name).mkdir()
        (tmp_path / name / holds).write_text("{}") if holds else None
        with pytest.raises(MonoscopeError, match="check the path"):  # none of them is a text to suggest
            texts(f"{tmp_path}/{name}x")
    with pytest.raises(MonoscopeError, match="there are no files"):
        texts(f"{tmp_path}/*.txt")


# --- opening ---------------------------------------------------------------------------------------------------------


def test_opening_by_name() -> None:
    assert open_corpus("python_source") == Corpus("python_source", "")
    assert str(open_corpus("synthetic_strings:dna:3")) == "synthetic_strings:dna:3"
    for text in ("pyton_source", "fils:notes", "", "nonsense"):
        with pytest.raises(MonoscopeError, match=", ".join(plugins.names(PLUGINS))):
            open_corpus(text)


def test_a_third_partys_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_corpus.py").write_text(
        "from monoscope.types import Document\ndef documents(source):\n    yield Document('one', source)\n"
    )
    (tmp_path / "third_party").mkdir()
    (tmp_path / "their_corpus.py").rename(tmp_path / "third_party" / "corpus.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(open_corpus("third_party.corpus:hello")) == [Document("one", "hello")]
    with pytest.raises(MonoscopeError, match="cannot be imported"):
        open_corpus("third_party.missing:hello")


# --- huggingface -----------------------------------------------------------------------------------------------------


def saved_data_set(folder: Path) -> str:
    datasets = pytest.importorskip("datasets")
    rows = {"text": ["first", "", "third é"], "body": ["other", "one", ""], "n": [1, 2, 3]}
    test = datasets.Dataset.from_dict(rows)
    train = datasets.Dataset.from_dict({**rows, "text": ["training", "text", "here"]})
    datasets.DatasetDict(train=train, test=test).save_to_disk(str(folder / "both"))
    test.save_to_disk(str(folder / "one"))
    return str(folder / "both")


def test_a_saved_data_set(tmp_path: Path) -> None:
    both = saved_data_set(tmp_path)
    assert texts(f"huggingface:{both}@test") == {"both/test/0": "first", "both/test/2": "third é"}
    assert texts(f"huggingface:{both}#body@test") == {"both/test/0": "other", "both/test/1": "one"}
    assert list(texts(f"huggingface:{both}").values()) == ["training", "text", "here"]
    assert list(texts(f"huggingface:{tmp_path}/one").values()) == ["first", "third é"]
    for source, message in {
        f"{both}@tset": "did you mean 'test'",
        f"{both}#txt": "did you mean 'text'",
        f"{both}#n@test": "holds a int",
        str(tmp_path): "holds no saved data set",
        "": "names no data set",
    }.items():
        with pytest.raises(MonoscopeError, match=message):
            texts(f"huggingface:{source}")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "find_spec", lambda name: None)
    with pytest.raises(MonoscopeError, match=r"pip install .monoscope\[data\]"):
        texts("huggingface:any")


def test_a_data_set_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(hub, "answers", lambda name, kind: True)
    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(MonoscopeError, match=r"cannot be opened: no route[\s\S]*offline"):
        texts("huggingface:some/data:config@test")


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []
    monkeypatch.setattr(hub, "answers", lambda *a: asked.append(a))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: pytest.fail("it was asked again"))
    with pytest.raises(MonoscopeError, match=r"'nosuch' is no folder here[\s\S]*cannot be reached\n→ .*HF_HUB_OFFLINE"):
        texts("huggingface:nosuch:config@test")
    assert asked == [("nosuch", "dataset")]


def test_the_parts_of_an_id_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    calls = []

    def load(*arguments: object, **named: object) -> list[dict[str, str]]:
        calls.append((arguments, named))
        return [{"body": "text"}]

    monkeypatch.setattr(hub, "answers", lambda name, kind: True)
    monkeypatch.setattr(datasets, "load_dataset", load)
    assert texts("huggingface:some/data:config#body@test[:10]") == {"some/data:config/test[:10]/0": "text"}
    assert calls == [(("some/data", "config"), {"split": "test[:10]", "streaming": True})]


# --- Python source and generated strings -----------------------------------------------------------------------------


def test_python_source_is_sorted_readable_and_free_of_machine_paths() -> None:
    found = list(python_source.documents("stdlib/email"))
    names = [d.name for d in found]
    assert names == sorted(names) and len(names) > 10
    assert all(name.startswith("stdlib/email") and name.endswith(".py") for name in names)
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    by_name = dict(zip(names, found))
    assert by_name["stdlib/email/charset.py"].text == (stdlib / "email/charset.py").read_text(encoding="utf-8")


def test_python_source_passes_over_what_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filler = b"# " + b"a comment that fills the file\n" * 20
    for name, data in {"b.py": filler, "a.py": filler, "bad.py": filler + b"\xff", "small.py": b"x=1"}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "huge.py").write_bytes(filler * 1000)
    monkeypatch.setattr(python_source, "roots", lambda: [("", tmp_path)])
    assert [d.name for d in python_source.documents()] == ["a.py", "b.py"]
    with pytest.raises(MonoscopeError, match="no Python source whose name begins with 'zzz'"):
        list(python_source.documents("zzz"))


@pytest.mark.parametrize("kind", synthetic_strings.KINDS)
def test_generated_strings_repeat_for_a_seed_and_differ_between_seeds(kind: str) -> None:
    one, again, other = (list(synthetic_strings.documents(f"{kind}:8:{seed}")) for seed in ("a", "a", "b"))
    assert one == again and len(one) == 8
    longer = list(synthetic_strings.documents(f"{kind}:9:a"))
    assert longer[:8] == one, "asking for more changes none"
    words = [{w for d in documents for w in d.text.split() if len(w) > 30} for documents in (one, other)]
    assert words[0] and not words[0] & words[1]


def test_generated_strings_are_of_their_alphabet() -> None:
    dna = "".join(d.text for d in synthetic_strings.documents("dna:20"))
    runs = [run for run in dna.replace('"', "\n").split("\n") if len(run) >= 60]
    assert runs and all(set(run) <= set("ACGT") for run in runs)


@pytest.mark.parametrize("source", ["dna", "dna:x", ""])
def test_generated_strings_need_a_number(source: str) -> None:
    with pytest.raises(MonoscopeError, match="which strings and how many"):
        list(synthetic_strings.documents(source))
    with pytest.raises(MonoscopeError, match=r"unknown kind of string 'rna'[\s\S]*dna"):
        list(synthetic_strings.documents("rna:3"))
