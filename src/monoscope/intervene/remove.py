"""Removing for good: an affine map of a site, multiplied into the matrices around it, saved as an ordinary model.

At ``mlp_act`` the one matrix that reads the neurons is changed. In the residual stream every matrix that writes to it
at or before the site is changed, embeddings included (a head that was tied to them is untied and stays as it was), so
the map holds at every place of the stream up to the site. Both equal, to rounding, what ``equivalent`` holds in every
forward pass; a removal that does not is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monoscope import folder
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.intervene.affine import Affine
from monoscope.models.huggingface import quiet
from monoscope.models.language_model import LanguageModel
from monoscope.models.layout import Layout
from monoscope.models.sites import sites_of
from monoscope.models.taps import Write
from monoscope.models.writers import Writer, map_input, map_output, writers
from monoscope.types import Site, TokenBlock

KIND, FACTS = "model without features", "removal.json"
TOLERANCE = 1e-3  # of the logits' spread: a thousand roundings of float32; a wrong fold differs by far more


def removed(lm: LanguageModel, site: Site | str, change: Affine, only: Sequence[str] = ()) -> LanguageModel:
    """A copy of a model with the map in its weights.

    Args:
        lm: the model; it is not changed.
        site: where the map applies: ``mlp_act.L`` or a place of the residual stream.
        change: the map.
        only: names of writers (``embed``, ``attn.0``, ``mlp.0``) that are changed alone; all at or before the site by
            default.

    Raises:
        MonoscopeError: the map is of another width, no matrices write or read the site, the weights are in half
            precision, or what comes out is not what the map does.
    """
    site, dtype = _named(lm, site), next(lm.model.parameters()).dtype
    if dtype.itemsize < 4:
        raise MonoscopeError(f"weights in {dtype} round a removal away", fix="load the model in float32")
    if len(change.c) != lm.width(site):
        raise MonoscopeError(
            f"a map of {len(change.c)} numbers; {site} has {lm.width(site)}", fix="give one of as many"
        )
    model = copy.deepcopy(lm.model)
    made = LanguageModel(model, lm.tokeniser, name=f"{lm.name} (features removed)")
    if site.kind == "mlp_act":
        map_input(_reader(layout_of(made), site), change.a, change.c)
    else:
        _untie(model)
        for writer in chosen(made, site, only).values():
            for i, matrix in enumerate(writer.matrices):
                map_output(matrix, change.a, change.c if writer.site == "embed" and i == 0 else None)
    check(lm, made, equivalent(lm, site, change, only))
    return made


def equivalent(
    lm: LanguageModel, site: Site | str, change: Affine, only: Sequence[str] = ()
) -> dict[Site | str, Write]:
    """What ``removed`` puts into the weights, as writes for ``LanguageModel.run``: site by site, on the fly."""
    site = _named(lm, site)
    if site.kind == "mlp_act":
        return {str(site): change}
    linear = Affine(change.a, torch.zeros_like(change.c))
    return {w.site: change if w.site == "embed" else linear for w in chosen(lm, site, only).values()}


def takes_constant(lm: LanguageModel, site: Site | str, only: Sequence[str] = ()) -> bool:
    """Whether a constant can be added at the site: what reads neurons has a bias, what is written has an embedding.

    Raises:
        MonoscopeError: no matrices write or read the site, or there is no writer of a name.
    """
    site = _named(lm, site)
    if site.kind == "mlp_act":
        if only:
            raise MonoscopeError(f"{site} is changed where it is read, not where it is written", fix="name no writers")
        return getattr(_reader(layout_of(lm), site), "bias", None) is not None
    return "embed" in chosen(lm, site, only)


def chosen(lm: LanguageModel, site: Site, only: Sequence[str]) -> Mapping[str, Writer]:
    """The writers that are changed.

    Raises:
        MonoscopeError: there is none of a name.
    """
    found = writers(lm.model, layout_of(lm), site)
    wrong = next((name for name in only if name not in found), None)
    if wrong is not None:
        raise unknown_name(f"writer to {site}", wrong, found)
    return {name: found[name] for name in only or found}


def save(made: LanguageModel, out: str | Path, facts: Mapping[str, Any]) -> None:
    """Write an ordinary model folder, with its tokenizer and what was removed; whole or not at all.

    ``AutoModelForCausalLM.from_pretrained`` opens it, without Monoscope.

    Raises:
        MonoscopeError: the folder holds something else, or cannot be written.
    """
    out = Path(out)
    with folder.renewing(out, KIND, {"source": facts.get("model"), "fingerprint": made.fingerprint}) as partial:
        with quiet():
            made.model.save_pretrained(partial)
            made.tokeniser.fast.save_pretrained(partial)
        folder.write_json(partial / FACTS, facts)


def _named(lm: LanguageModel, site: Site | str) -> Site:
    return sites_of(lm.model, lm.name).named(Site.parse(site))


def layout_of(lm: LanguageModel) -> Layout:
    """How the model is built.

    Raises:
        MonoscopeError: like no known family.
    """
    layout = sites_of(lm.model, lm.name).layout
    if layout is None:
        raise MonoscopeError(
            f"{lm.name} is built like no known family, so what writes to its sites is not known",
            fix="hold the removal in every forward pass instead: ms.steer with project_out or ablate",
        )
    return layout


def _reader(layout: Layout, site: Site) -> nn.Module:
    down = layout.layers[site.layer or 0].down
    if down is None:
        raise MonoscopeError(f"no plain matrix reads {site}", fix="use a dictionary of another site")
    return down


def _untie(model: Any) -> None:
    """Give the head its own weights, so that changing the embedding leaves it as it was."""
    head = model.get_output_embeddings()
    if head is not None and head.weight is model.get_input_embeddings().weight:
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)
        model.config.tie_word_embeddings = False


@torch.no_grad()
def check(lm: LanguageModel, made: LanguageModel, writes: Mapping[Site | str, Write]) -> None:
    """Compare changed weights with what is held in a forward pass, on arbitrary tokens.

    Raises:
        MonoscopeError: they give other logits.
    """
    if not lm.has_head:
        return
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(lm.tokeniser.vocabulary_size, (2, min(32, lm.context)), generator=generator)
    block = TokenBlock(tokens, torch.zeros_like(tokens), torch.arange(tokens.shape[1]).expand_as(tokens))
    wanted = lm.run(block, read=["logits"], write=writes)["logits"].float()
    found = made.run(block, read=["logits"])["logits"].float()
    apart, spread = float((wanted - found).abs().max()), float(wanted.std())
    if not apart <= TOLERANCE * spread:
        raise MonoscopeError(
            f"the changed weights do not do what was asked of them: logits differ by {apart:.2g} of {spread:.2g}",
            fix="something beside the known matrices writes to this site; use another",
        )
