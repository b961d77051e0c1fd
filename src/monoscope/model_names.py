"""Which model of the Hugging Face Hub a name means, where it is not the Hub's own: ``gpt2-small`` is ``gpt2``.

Dictionaries of SAELens name models as TransformerLens does. Here are names that can be meant in one way only; one that
is not here stays as it is.
"""

from __future__ import annotations

import re

from monoscope import hub

PYTHIA = ("70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
# whose name there is the last part of the Hub's, whatever the case
_OF: dict[str, tuple[str, ...]] = {
    "EleutherAI": (
        "pythia-14m", "pythia-31m",
        *(f"pythia-{size}{data}{version}" for size in PYTHIA for data in ("", "-deduped") for version in ("", "-v0")),
        "gpt-neo-125M", "gpt-neo-1.3B", "gpt-neo-2.7B", "gpt-j-6B", "gpt-neox-20b",
    ),
    "google": tuple(
        f"gemma-{size}"
        for size in (
            *(f"{size}{tuned}" for size in ("2b", "7b", "2-2b", "2-9b", "2-27b", "3-270m") for tuned in ("", "-it")),
            *(f"3-{size}-{tuned}" for size in ("1b", "4b", "12b", "27b") for tuned in ("pt", "it")),
        )
    ),
    "facebook": tuple(f"opt-{size}" for size in ("125m", "1.3b", "2.7b", "6.7b", "13b", "30b", "66b")),
    "microsoft": ("phi-1", "phi-1_5", "phi-2", "phi-4"),
    "meta-llama": tuple(
        f"{size}{tuned}"
        for size in (
            "Meta-Llama-3-8B", "Meta-Llama-3-70B", "Llama-3.1-8B", "Llama-3.1-70B", "Llama-3.2-1B", "Llama-3.2-3B",
        )
        for tuned in ("", "-Instruct")
    ),
    "mistralai": ("Mistral-7B-v0.1", "Mistral-7B-Instruct-v0.1"),
    "Qwen": (
        *(f"Qwen2-{size}{tuned}" for size in ("0.5B", "1.5B", "7B") for tuned in ("", "-Instruct")),
        *(
            f"Qwen2.5-{size}{tuned}"
            for size in ("0.5B", "1.5B", "3B", "7B", "14B", "32B", "72B")
            for tuned in ("", "-Instruct")
        ),
        *(f"Qwen3-{size}" for size in ("0.6B", "1.7B", "4B", "8B", "14B", "0.6B-Base", "1.7B-Base", "8B-Base")),
    ),
    "openai": ("gpt-oss-20b",),
}  # fmt: skip
_BARE = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2")  # ids without an organisation
_TINY_STORIES = ("1M", "3M", "8M", "28M", "33M")
_OTHERWISE = {
    "gpt2-small": "gpt2",
    "gpt-neox": "EleutherAI/gpt-neox-20b",
    "gpt-j": "EleutherAI/gpt-j-6B",
    "mistral-7b": "mistralai/Mistral-7B-v0.1",
    "mistral-7b-instruct": "mistralai/Mistral-7B-Instruct-v0.1",
    "phi-3": "microsoft/Phi-3-mini-4k-instruct",
    **{f"Llama-2-{size}": f"meta-llama/Llama-2-{size}-hf" for size in ("7b", "13b", "7b-chat", "13b-chat")},
    **{f"tiny-stories-{size}": f"roneneldan/TinyStories-{size}" for size in _TINY_STORIES},
    **{f"tiny-stories-instruct-{size}": f"roneneldan/TinyStories-Instruct-{size}" for size in _TINY_STORIES},
    "tiny-stories-1L-21M": "roneneldan/TinyStories-1Layer-21M",
    "tiny-stories-2L-33M": "roneneldan/TinyStories-2Layers-33M",
}
NAMES: dict[str, str] = {
    **{name: name for name in _BARE},
    **{name: f"{organisation}/{name}" for organisation, names in _OF.items() for name in names},
    **_OTHERWISE,
}
_BY_NAME = {name.lower(): model for name, model in NAMES.items()}
_MOVED = {  # the same repository by another id
    **{f"openai-community/{name}": name for name in _BARE if name.startswith("gpt2")},
    "distilbert/distilgpt2": "distilgpt2",
    **{f"meta-llama/meta-llama-3.1-{size}": f"meta-llama/llama-3.1-{size}" for size in ("8b", "8b-instruct")},
}
_KNOWN = {model.lower() for model in NAMES.values()} | set(_MOVED)
_PACKAGED = re.compile(r"reference-\w+")
_TUNED = re.compile(r"-(?:it|pt|instruct|chat|base)(?=-|$)|-hf$")  # by what names of one pre-training differ
_APART = "roneneldan/"  # TinyStories-Instruct are trainings of their own


def on_hub(name: str) -> str | None:
    """The Hub's id of the model that is called ``name``; None of a name that is not known here."""
    return _BY_NAME.get(name.lower())


def same(one: str, other: str) -> bool | None:
    """Whether two names mean one model; None where that is not known, as of a folder, of somebody's copy or further
    training, or of two revisions of one, and where one is ``tuned`` from the other.
    """
    (a, at), (b, at_other) = (_meant(name) for name in (one, other))
    if a is None or b is None or (a == b and at != at_other) or tuned(one, other):
        return None
    return a == b


def tuned(one: str, other: str) -> bool:
    """Whether two names mean models of one pre-training of which one was trained further, as ``-it`` and ``-Instruct``
    say. Dictionaries of the one are in use on the other.
    """
    a, b = (_meant(name)[0] for name in (one, other))
    if a is None or b is None or a == b or a.startswith(_APART):
        return False
    return _TUNED.sub("", a) == _TUNED.sub("", b)


def _meant(name: str) -> tuple[str | None, str | None]:
    """The one spelling of a known model's id, and its revision; no id of what may be anything."""
    name, revision = hub.split(name)
    found = on_hub(name) or (name if name.lower() in _KNOWN or _PACKAGED.fullmatch(name) else None)
    if found is None:
        return None, None
    return _MOVED.get(found.lower(), found.lower()), revision
