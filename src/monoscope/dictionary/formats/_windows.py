"""Which windows of text a foreign dictionary saw in training, in SAELens' words; what is usual is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

USUAL: dict[str, Any] = {
    "context_size": None,
    "prepend_bos": None,
    "seqpos_slice": [None],
    "disable_concat_sequences": False,
    "exclude_special_tokens": False,
    "model_class_name": "HookedTransformer",
}
_KINDS: dict[str, tuple[type, ...]] = {
    "context_size": (int,),
    "prepend_bos": (bool,),
    "seqpos_slice": (list,),
    "disable_concat_sequences": (bool,),
    "exclude_special_tokens": (bool, list),
    "model_class_name": (str,),
}


def provenance(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"windows": …}`` with what a configuration says of them; empty where it says nothing, or nothing of sense."""
    told = {
        name: values[name]
        for name, usual in USUAL.items()
        if values.get(name) not in (None, usual) and type(values[name]) in _KINDS[name]
    }
    if told.get("context_size", 1) < 1:
        del told["context_size"]
    return {"windows": told} if told else {}
