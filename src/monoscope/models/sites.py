"""Sites resolved: from ``resid_post.3`` to a place in one particular model, by structure, checked by arithmetic.

A family recognises a model by the modules of its blocks. One short forward pass then shows whether the sites it names
add up as they must (``resid_post == resid_mid + mlp_out`` and so on); only a layout that does is used.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from monoscope import plugins
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.models import layout as layouts
from monoscope.models.layout import Layer, Layout
from monoscope.models.taps import Place, forward
from monoscope.types import LAYERED_KINDS, Site

FAMILIES = "monoscope.models.families"
LOGITS = Place("", "out")

_KNOWN: weakref.WeakKeyDictionary[nn.Module, Sites] = weakref.WeakKeyDictionary()

Probe = Callable[[Mapping[str, Place]], dict[str, Tensor]]


class Sites:
    """The sites of one model: their places and widths."""

    def __init__(self, model: nn.Module, name: str, has_head: bool, probe: Probe) -> None:
        """``probe`` reads places off one short forward pass; it is called once, when a site is first asked for."""
        self.model, self.name, self.has_head, self._probe = model, name, has_head, probe
        self._widths: dict[Place, int] = {}

    @cached_property
    def layout(self) -> Layout | None:
        """The layout of the family whose structure and sums this model has, or None."""
        for family in plugins.names(FAMILIES):
            layout: Layout | None = plugins.load(FAMILIES, family).resolve(self.model)
            if layout is not None and self._adds_up(layout):
                return layout
        return None

    def _adds_up(self, layout: Layout) -> bool:
        """Whether the sums of every layer hold on a forward pass; notes the widths it sees."""
        places = {f"{kind}.{i}": p for i, layer in enumerate(layout.layers) for kind, p in layer.places.items()}
        try:
            values = self._probe(places)
        except MonoscopeError:  # a place that is never reached, or holds something else: not this family
            return False
        self._widths.update({places[name]: value.shape[-1] for name, value in values.items()})
        return all(layer_adds_up(layer, i, values) for i, layer in enumerate(layout.layers))

    def all(self) -> list[Site]:
        """Every named site, in the order of the forward pass; module paths come on top of these."""
        head = [Site("logits")] if self.has_head else []
        if self.layout is None:
            return head
        layered = [
            Site(kind, i)
            for i, layer in enumerate(self.layout.layers)
            for kind in ("resid_pre", "attn_out", "resid_mid", "mlp_in", "mlp_act", "mlp_out", "resid_post")
            if kind in layer.places
        ]
        return [Site("embed"), *layered, *head]

    def place(self, site: Site) -> Place:
        """Where a site is.

        Raises:
            MonoscopeError: the model has no such site; the message lists what it has.
        """
        if site.kind == "module":
            return self._module(site)
        if site.kind == "logits":
            if not self.has_head:
                raise MonoscopeError(f"{self.name} has no language head, so no logits", fix=self._valid())
            return LOGITS
        if self.layout is None:
            raise MonoscopeError(
                f"{site} cannot be found in {self.name}: {type(self.model).__name__} is built like no known family "
                f"({', '.join(plugins.names(FAMILIES))})",
                fix=f"name a module path with :in or :out instead. Module paths: {self._paths()}",
            )
        if site.kind == "embed":
            return self.layout.layers[0].places["resid_pre"]
        return self._layered(site, self.layout)

    def _layered(self, site: Site, layout: Layout) -> Place:
        if site.kind not in LAYERED_KINDS or site.layer is None:
            raise unknown_name("site", str(site), [str(s) for s in self.all()])
        if not 0 <= site.layer < len(layout.layers):
            last = len(layout.layers) - 1
            raise MonoscopeError(
                f"{self.name} has no layer {site.layer}, so no {site}",
                fix=f"its layers are 0 to {last}: {site.kind}.0 … {site.kind}.{last}"
                if last
                else "its only layer is 0",
            )
        layer = layout.layers[site.layer]
        if site.kind not in layer.places:
            raise MonoscopeError(f"{self.name} has no {site}: {layer.absent[site.kind]}", fix=self._valid())
        return layer.places[site.kind]

    def _module(self, site: Site) -> Place:
        path = str(site.path)
        if not layouts.has(self.model, path):
            names = [name for name, _ in self.model.named_modules() if name]
            near = unknown_name("module path", path, names).fix or ""
            hint = near.split("valid:")[0]
            raise MonoscopeError(f"{self.name} has no module {path!r}", fix=f"{hint}Module paths: {self._paths()}")
        return Place(path, "in" if site.side == "in" else "out")

    def width(self, site: Site) -> int:
        """The number of entries of the vectors at a site."""
        place = self.place(site)
        if place not in self._widths:
            self._widths[place] = self._probe({str(site): place})[str(site)].shape[-1]
        return self._widths[place]

    def named(self, site: Site) -> Site:
        """The named site at the place of ``site``, where there is one: ``transformer.h.0:out`` is ``resid_post.0``."""
        place = self.place(site)
        same = (s for s in self.all() if self.place(s) == place)
        return site if site.kind != "module" else next(same, site)

    def _valid(self) -> str:
        kinds = dict.fromkeys(s.kind if s.layer is None else f"{s.kind}.LAYER" for s in self.all())
        return f"valid: {', '.join([*kinds, 'MODULE.PATH:in', 'MODULE.PATH:out'])}"

    def _paths(self) -> str:
        return ", ".join(layouts.module_paths(self.model))


def probe(model: nn.Module, places: Mapping[str, Place], context: int = 8) -> dict[str, Tensor]:
    """Read places off a short forward pass of ``model`` over arbitrary tokens, at most ``context`` of them."""
    embeddings: Callable[[], nn.Embedding] = getattr(model, "get_input_embeddings")  # noqa: B009
    weight = embeddings().weight
    generator = torch.Generator().manual_seed(0)
    shape = (1, min(8, context))
    tokens = torch.randint(weight.shape[0], shape, generator=generator).to(weight.device)
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), **uncached(model)}
    with torch.no_grad():
        return forward(model, inputs, shape, places, {})


def uncached(model: nn.Module) -> dict[str, bool]:
    """The argument that keeps a model from filling a cache, where it has one."""
    return {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}


def sites_of(model: nn.Module, name: str) -> Sites:
    """The sites of a ``transformers`` model that no ``LanguageModel`` wraps.

    They are kept while the model lives: once its activations are written to, sums no longer show how it is built.

    Raises:
        MonoscopeError: it is no model.
    """
    if not isinstance(model, nn.Module):
        raise MonoscopeError(
            f"a {type(model).__name__} is no model", fix="pass a transformers model, or what load_model gives"
        )
    if model not in _KNOWN:
        head = getattr(model, "get_output_embeddings", None)
        has_head = head is not None and head() is not None
        alone: Any = weakref.proxy(model)  # what is kept must not keep the model
        _KNOWN[model] = Sites(alone, name, has_head, lambda places: probe(alone, places))
    return _KNOWN[model]


def layer_adds_up(layer: Layer, index: int, values: Mapping[str, Tensor]) -> bool:
    """Whether one layer's sites obey its sums, to the rounding of their dtype."""
    at = {kind: values[f"{kind}.{index}"] for kind in layer.places}
    both = at["attn_out"] + at["mlp_out"]
    if "resid_mid" not in at:
        return _close(at["resid_pre"] + both, at["resid_post"])
    middle, end = at["resid_pre"] + at["attn_out"], at["resid_mid"] + at["mlp_out"]
    middle = middle if layer.attn_join is None else layer.attn_join(middle)
    end = end if layer.mlp_join is None else layer.mlp_join(end)
    return _close(middle, at["resid_mid"]) and _close(end, at["resid_post"])


def _close(a: Tensor, b: Tensor) -> bool:
    tolerance = 16 * torch.finfo(b.dtype).eps * float(b.abs().max().clamp(min=1e-6))
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance)
