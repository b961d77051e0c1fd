"""``LanguageModel``: a transformer whose activations are read and written by site."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.models import controls, linear, sites, taps
from monoscope.models import fingerprint as fingerprints
from monoscope.models.sites import Sites
from monoscope.models.taps import Place, Write
from monoscope.text.tokenise import Tokeniser
from monoscope.types import PADDING, Site, TokenBlock

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NO_WRITES: Mapping[Site | str, Write] = MappingProxyType({})
IN_STREAM = ("embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")


class LanguageModel:
    """A ``transformers`` model, its tokeniser and its sites.

    ``model`` is the module itself, ``name`` what ``load_model`` was given, ``context`` its longest window in tokens.
    ``window`` is the length of those that texts are cut into, the longest unless it is set to less.
    """

    def __init__(self, model: PreTrainedModel, tokeniser: Tokeniser, *, name: str) -> None:
        """Wrap a model. It is neither copied nor changed; put it in evaluation mode first."""
        self.model, self.tokeniser, self.name = model, tokeniser, name
        self.context = self.window = _context(model, tokeniser)
        head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
        self._head = head
        self._embedding = model.get_input_embeddings()
        self._uncached = sites.uncached(model)
        self._sites = Sites(model, name, self.has_head, self._probe)
        self._lock = threading.RLock()
        self._hooked = False

    def __repr__(self) -> str:
        return f"LanguageModel({self.name!r}, {type(self.model).__name__})"

    @property
    def has_head(self) -> bool:
        """Whether the model predicts tokens, so that it has logits and an unembedding."""
        return self._head is not None

    @property
    def device(self) -> torch.device:
        """Where tokens go in."""
        return self._embedding.weight.device

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over weights and what else changes the arithmetic; the same in every precision. Computed once."""
        return fingerprints.fingerprint(self.model)

    def sites(self) -> list[Site]:
        """The named sites, in the order of the forward pass. Any module path with ``:in`` or ``:out`` is a site too."""
        return self._sites.all()

    def width(self, site: Site | str) -> int:
        """The number of entries of the vectors at ``site``.

        Raises:
            MonoscopeError: the model has no such site; the message says what it has.
        """
        return self._sites.width(Site.parse(site))

    def run(
        self, block: TokenBlock, *, read: Sequence[Site | str] = (), write: Mapping[Site | str, Write] = NO_WRITES
    ) -> dict[str, Float[Tensor, "n_blocks context d"]]:
        """Run the model over a block, reading and writing activations.

        The pass stops after the deepest site read; with nothing to read it runs whole. Gradients follow the caller's
        grad mode. A write is applied wherever the pass gets to; reads see what was written at their own site and
        before it. Values on padding mean nothing.

        Args:
            block: equally long windows of tokens.
            read: sites, as ``Site`` or text.
            write: for a site, a function from its tensor ``(n_blocks, context, d)`` to the replacement, a new tensor of
                the same shape. A function that returns its input changes nothing, bit for bit.

        Returns:
            The tensors read, by ``str(site)``, on the model's device. They are the model's own: copy before changing.

        Raises:
            MonoscopeError: no block, a site the model lacks, tokens outside its vocabulary, windows longer than its
                context, a write that returns another shape or changes its input.
        """
        if isinstance(read, str | Site):
            raise MonoscopeError(f"{read} alone is no list of sites", fix=f'write read=["{read}"]')
        reads = {str(s): self._sites.place(s) for s in map(Site.parse, read)}
        writes = {str(s): (self._sites.place(s), f) for s, f in ((Site.parse(s), f) for s, f in write.items())}
        shape, inputs = self._check(block), self._inputs(block)
        with self._alone():
            return taps.forward(self.model, inputs, shape, reads, writes)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hooks are the module's, so two passes at once would see each other's: one thread at a time, never nested."""
        with self._lock:
            if self._hooked:
                raise MonoscopeError("a write function ran the model it writes to", fix="run the model before or after")
            self._hooked = True
            try:
                yield
            finally:
                self._hooked = False

    def _inputs(self, block: TokenBlock) -> dict[str, Any]:
        """The model's arguments for a block; a mask only where the result depends on it, because it costs time."""
        tokens = block.tokens.to(self.device)
        inputs: dict[str, Any] = {"input_ids": tokens, **self._uncached}
        layout = self._sites.layout
        padded = block.documents == PADDING
        if layout is not None and layout.causal and not bool((padded[:, :-1] & ~padded[:, 1:]).any()):
            if getattr(self.model.config, "pad_token_id", None) is not None:
                inputs["attention_mask"] = torch.ones_like(tokens)  # no token sees what is right of it
        elif bool(padded.any()):
            inputs["attention_mask"] = block.attention_mask.to(self.device)
        return inputs

    def _check(self, block: TokenBlock) -> tuple[int, int]:
        """The block's shape; refuses tokens and windows that the model was not made for."""
        if not isinstance(block, TokenBlock):
            raise MonoscopeError(
                f"a {type(block).__name__} is no block of tokens",
                fix="make one: monoscope.types.TokenBlock(tokens, documents, positions)",
            )
        shapes = {tuple(part.shape) for part in (block.tokens, block.documents, block.positions)}
        if len(shapes) > 1 or block.tokens.is_floating_point():
            raise MonoscopeError(
                f"a block of {block.tokens.dtype} with parts of shapes {sorted(shapes)}",
                fix="give a document and a position, all whole numbers, for every token",
            )
        if block.tokens.ndim != 2 or not block.tokens.numel():
            raise MonoscopeError(f"a block of shape {tuple(block.tokens.shape)} has no tokens", fix="give it text")
        if block.tokens.shape[1] > self.context:
            raise MonoscopeError(
                f"windows of {block.tokens.shape[1]} tokens are too long for {self.name}, which reads {self.context}",
                fix=f"pack the text into windows of at most {self.context} tokens",
            )
        low, high = (int(t) for t in block.tokens.aminmax())
        vocabulary = self._embedding.weight.shape[0]
        if low < 0 or high >= vocabulary:
            raise MonoscopeError(
                f"token {low if low < 0 else high} is not in the vocabulary of {self.name} (0 to {vocabulary - 1})",
                fix="tokenise the text with the model's own tokeniser",
            )
        n_blocks, context = block.tokens.shape
        return n_blocks, context

    def _probe(self, places: Mapping[str, Place]) -> dict[str, Tensor]:
        """Read places off a short forward pass over arbitrary tokens."""
        with self._alone():
            return sites.probe(self.model, places, self.context)

    def unembedding(self) -> Float[Tensor, "d_model vocabulary"] | None:
        """From the residual stream to the logits, in float32, with the final norm's per-token scale left out.

        The norm's gain is folded in and LayerNorm's centring applied; biases and a soft cap on the logits are not.
        None without a head, or where the final norm is not known.
        """
        layout = self._sites.layout
        if self._head is None or layout is None:
            return None
        return linear.unembedding(layout.final_norm, self._head.weight)

    def to_residual(self, site: Site | str) -> Float[Tensor, "d_site d_model"] | None:
        """How a vector at ``site`` enters the residual stream, in float32: ``vector @ to_residual(site)``.

        The identity for the stream itself and for what is added to it (in post-LayerNorm models: to the sum before the
        norm), the down projection for ``mlp_act`` (where a norm follows it, with the gain but not the per-token scale).
        None where there is no linear map.

        Raises:
            MonoscopeError: the model has no such site.
        """
        site = self._sites.named(Site.parse(site))
        layout = self._sites.layout
        if site.kind in IN_STREAM:
            return torch.eye(self.width(site), device=self.device)
        if site.kind != "mlp_act" or layout is None or site.layer is None:
            return None
        layer = layout.layers[site.layer]
        return None if layer.down is None else linear.from_neurons(layer.down, layer.down_norm)

    def shuffled(self, seed: int) -> LanguageModel:
        """The random-weights control: a copy with the entries of every weight matrix shuffled; see ``controls``."""
        made = LanguageModel(controls.shuffled(self.model, seed), self.tokeniser, name=f"{self.name} (shuffled {seed})")
        made.window = self.window
        return made


def _context(model: PreTrainedModel, tokeniser: Tokeniser) -> int:
    """The longest window: what the positions allow, or less where the tokenizer says so."""
    allowed = int(getattr(model.config, "max_position_embeddings", None) or tokeniser.fast.model_max_length)
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            allowed -= padding + 1  # RoBERTa numbers positions from there
    return max(1, min(allowed, int(tokeniser.fast.model_max_length)))
