"""What the formats share: a dictionary as linear scores, a rule that selects among them, and directions that are added.

Every format translates its tensors to and from a ``Form``; which architecture that makes is decided here, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary, architecture
from monoscope.errors import MonoscopeError

USUAL_K = 32  # of a dictionary with thresholds that does not say how many features it was trained to use


@dataclass(frozen=True)
class Form:
    """``x̂ = select((x − b_dec if centred else x) @ w_encᵀ + b_enc) @ w_dec + b_dec``, plus ``x @ w_skipᵀ`` with a skip
    map, which sees ``x`` as it is, centred or not.

    What is selected: the scores above ``threshold`` (≥ 0; NaN throughout: never calibrated); or the ``k`` largest
    positive ones; or, with neither, all positive ones. Beside a threshold, ``k`` is the average it was set for.
    Tensors are fp32 and in the model's units; with ``row_norm`` ``x`` and ``x̂`` are each row normalised by itself, with
    ``row_mean`` less its own mean.
    """

    w_enc: Float[Tensor, "n_features d_in"]
    b_enc: Float[Tensor, " n_features"]
    w_dec: Float[Tensor, "n_features d_out"]
    b_dec: Float[Tensor, " d_out"]
    centred: bool = False
    k: int | None = None
    threshold: Float[Tensor, " n_features"] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    w_skip: Float[Tensor, "d_out d_in"] | None = None
    row_norm: bool = False
    row_mean: bool = False

    @property
    def transcodes(self) -> bool:
        """Whether what is decoded is something else than what is encoded; with a skip map it always is."""
        widens = self.w_enc.shape[1] != self.w_dec.shape[1]
        return widens or self.w_skip is not None or bool(self.provenance.get("target"))

    @property
    def calibrated(self) -> bool:
        """Whether thresholds, if there are any, are known."""
        return self.threshold is None or not bool(self.threshold.isnan().any())

    def centre(self, centred: bool) -> Form:
        """The same function, with ``b_dec`` subtracted from the input, or with that folded into ``b_enc``.

        Computed in fp64, so that folding a file's bias and unfolding it again gives the file's numbers.
        """
        if centred == self.centred:
            return self
        b_dec = self.b_dec.double()
        moved = torch.cat([rows.double() @ b_dec for rows in self.w_enc.split(4096)])
        b_enc = self.b_enc.double() + (moved if centred else -moved)
        return replace(self, b_enc=b_enc.float(), centred=centred)

    def by_decoder_norm(self) -> Form:
        """The same reconstruction with directions of unit length, scores scaled to match: selection by ‖w_dec‖.

        A feature that writes nothing comes to nothing: its score is then 0 everywhere.
        """
        norm = self.w_dec.norm(dim=1)
        inverse = torch.where(norm > 0, 1 / norm, 0)
        return replace(
            self, w_enc=self.w_enc * norm[:, None], b_enc=self.b_enc * norm, w_dec=self.w_dec * inverse[:, None]
        )

    def above(self, threshold: Float[Tensor, " n_features"] | float) -> Form:
        """Selecting by a threshold: one for each feature, or one for all. What is not positive is never selected."""
        each = torch.as_tensor(threshold, dtype=torch.float32).expand(len(self.w_enc))
        return replace(self, threshold=each.clamp_min(0).clone())  # NaN stays NaN

    def gated(
        self,
        r_mag: Float[Tensor, " n_features"],
        b_gate: Float[Tensor, " n_features"],
        b_mag: Float[Tensor, " n_features"],
    ) -> Form:
        """A gated encoder (Rajamanoharan et al. 2024) with tied weights, as thresholds on its magnitudes.

        With π the scores without a bias, ``π + b_gate > 0`` just where ``exp(r)π + b_mag > b_mag − exp(r)b_gate``.
        """
        rate = r_mag.double().exp()
        threshold = (b_mag.double() - rate * b_gate.double()).float()
        w_enc = self.w_enc * rate.float()[:, None]
        return replace(self, w_enc=w_enc, b_enc=b_mag).above(threshold)

    def dictionary(self) -> Dictionary:
        """The dictionary that computes this.

        Raises:
            MonoscopeError: k is out of bounds, or numbers left fp32's range in folding.
        """
        form = self if self.threshold is None and self.k is None else self.centre(False)
        tensors = {"w_enc": form.w_enc, "b_enc": form.b_enc, "w_dec": form.w_dec, "b_dec": form.b_dec}
        provenance = dict(self.provenance)
        (n_features, d_in), d_out = form.w_enc.shape, form.w_dec.shape[1]
        options: dict[str, Any]
        if form.threshold is not None:
            if form.k is None:
                provenance["k"] = "not stated"
            name, options = "batch_topk", {"k": min(USUAL_K, n_features) if form.k is None else form.k}
            tensors["threshold"] = form.threshold
        elif form.k is not None:
            name, options = "topk", {"k": form.k}
        else:
            name, options = "l1_2023", {}
            tensors["b_enc"] = form.centre(not form.transcodes).b_enc
        if form.w_skip is not None:
            tensors["w_skip"] = form.w_skip
        for label, tensor in tensors.items():
            if not bool((tensor.isfinite() | (tensor.isnan() if label == "threshold" else False)).all()):
                raise MonoscopeError(f"{label} is not finite once folded", fix="the file holds numbers beyond fp32")
        with torch.device("meta"):
            always = {"skip": form.w_skip is not None, "row_norm": form.row_norm, "row_mean": form.row_mean}
            made = architecture(name)(d_in, n_features, d_out, **always, **options)
        made.load_state_dict({key: tensor.contiguous() for key, tensor in tensors.items()}, assign=True)
        made.provenance = provenance
        return made.requires_grad_(False)


def of(dictionary: Dictionary, format: str, skip: bool = False, by_row: bool = False) -> Form:
    """What ``dictionary`` computes, for ``format`` to write.

    Args:
        dictionary: what is written.
        format: the format's name.
        skip: whether it has room for a skip map.
        by_row: whether it can say that rows are normalised, or centred, each by itself.

    Raises:
        MonoscopeError: its architecture has no such form, or what it holds or does to rows has no place in the format.
    """
    if dictionary.architecture not in _FORMS:
        raise _refused(dictionary, format, f"a {dictionary.architecture} dictionary")
    expected, more = _FORMS[dictionary.architecture]
    state = {name: tensor.detach().cpu().float() for name, tensor in dictionary.state_dict().items()}
    other = set(state) - {"w_enc", "b_enc", "w_dec", "b_dec", *(["w_skip"] if skip else [])} - expected
    if other:
        raise _refused(dictionary, format, f"a dictionary with {sorted(other)[0]}")
    if dictionary.row_norm and not by_row:
        raise _refused(dictionary, format, "a dictionary that normalises each row by itself")
    if dictionary.row_mean and not by_row:
        raise _refused(dictionary, format, "a dictionary of rows less their own means")
    form = Form(state["w_enc"], state["b_enc"], state["w_dec"], state["b_dec"], w_skip=state.get("w_skip"))
    form = replace(form, row_norm=dictionary.row_norm, row_mean=dictionary.row_mean)
    form = replace(form, provenance=dict(dictionary.provenance))
    return replace(form, **more(dictionary, state))


def _refused(dictionary: Dictionary, format: str, what: str) -> MonoscopeError:
    return MonoscopeError(f"the format {format} cannot hold {what}", fix='save with format="monoscope"')


_Facts = Callable[[Any, dict[str, Tensor]], dict[str, Any]]
# architecture: the tensors it has beyond weights and biases, and what its form has beyond them
_FORMS: dict[str, tuple[set[str], _Facts]] = {
    "topk": (set(), lambda made, state: {"k": made.k}),
    "batch_topk": ({"threshold"}, lambda made, state: {"threshold": state["threshold"], "k": _known_k(made)}),
    "l1_2023": (set(), lambda made, state: {"centred": made.centres}),
    "l1": (set(), lambda made, state: {}),
    "p_anneal": (set(), lambda made, state: {}),
    "hierarchical_topk": (set(), lambda made, state: {"k": made.k}),
    "gated": ({"r_mag", "b_mag"}, lambda made, state: _magnitudes(state)),
    "jumprelu": ({"log_threshold"}, lambda made, state: {"threshold": state["log_threshold"].exp()}),
}
_FORMS["matryoshka"] = _FORMS["batch_topk"]


def _magnitudes(state: dict[str, Tensor]) -> dict[str, Any]:
    form = Form(state["w_enc"], state["b_enc"], state["w_dec"], state["b_dec"])
    form = form.gated(state["r_mag"], state["b_enc"], state["b_mag"])
    return {"w_enc": form.w_enc, "b_enc": form.b_enc, "threshold": form.threshold}


def _known_k(made: Any) -> int | None:
    return None if made.provenance.get("k") == "not stated" else made.k
