"""The features' ablation itself, as further neurons of an MLP that read what the feature reads and write its opposite.

Exact for features ``relu(w x + b)`` (``l1``, ``p_anneal``, ``l1_2023``) of a transcoder from ``mlp_in.L`` to
``mlp_out.L``, in a model whose MLPs are plain and of ReLUs. All layers get as many neurons, because a configuration
knows one width; those of the other layers do nothing.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from monoscope.errors import MonoscopeError
from monoscope.intervene import remove
from monoscope.intervene.removals import Task
from monoscope.models.language_model import LanguageModel
from monoscope.models.taps import Write
from monoscope.signals.features import Watched
from monoscope.types import Site

WORDS = "exactly the features' ablation"
WIDTHS = ("n_inner", "intermediate_size")  # what configurations call the number of neurons


def removed(task: Task) -> LanguageModel:
    """The model with one neuron more for each feature.

    Raises:
        MonoscopeError: the dictionary is not such a transcoder, or the model's MLPs are not plain ones of ReLUs.
    """
    layer = _layer(task)
    model: Any = copy.deepcopy(task.lm.model)
    made = LanguageModel(model, task.lm.tokeniser, name=f"{task.lm.name} (features removed)")
    d, rows = task.dictionary, list(task.features)
    for i, block in enumerate(remove.layout_of(made).layers):
        up, down = _pair(model.get_submodule(block.places["mlp_in"].path), block.down)
        share = 1.0 if i == layer else 0.0
        with torch.no_grad():
            _grow(up, 0, share * d.w_enc[rows])
            _grow(down, 1, -share * d.w_dec[rows].T)
            if up.bias is not None:
                up.bias = nn.Parameter(torch.cat([up.bias, share * d.b_enc[rows]]), up.bias.requires_grad)
    name = next(name for name in WIDTHS if hasattr(model.config, name))
    setattr(model.config, name, len(rows) + (getattr(model.config, name) or 4 * model.config.hidden_size))
    remove.check(task.lm, made, _ablation(task))
    return made


def _layer(task: Task) -> int:
    """The layer, if everything is as it must be."""
    read, site, config = Site.parse(task.read), Site.parse(task.site), task.lm.model.config
    x = torch.randn(64, task.dictionary.d_in, generator=torch.Generator().manual_seed(0))
    rectified = torch.relu(x @ task.dictionary.w_enc.T + task.dictionary.b_enc) if task.dictionary.own_encoder else None
    kinds = (read.kind, site.kind, read.layer) == ("mlp_in", "mlp_out", site.layer)
    if not kinds or rectified is None or not torch.allclose(task.dictionary.encode(x).to_dense(), rectified, atol=1e-4):
        raise MonoscopeError(
            f"only features relu(w x + b) from mlp_in to mlp_out are neurons; these are of a "
            f"{task.dictionary.architecture} dictionary from {read} to {site}",
            fix="use --method regress or project",
        )
    if getattr(config, "activation_function", getattr(config, "hidden_act", None)) != "relu":
        raise MonoscopeError(
            f"the neurons of {task.lm.name} are no ReLUs, so a feature cannot be one of them",
            fix="use --method regress",
        )
    return int(read.layer or 0)


def _pair(mlp: nn.Module, down: nn.Module | None) -> tuple[Any, Any]:
    """The linear maps into the neurons and out of them."""
    ups = [m for m in mlp.modules() if isinstance(m, nn.Linear | Conv1D) and m is not down]
    if len(ups) != 1 or down is None or ups[0].bias is None:
        raise MonoscopeError("this MLP is not one map in, one out, with a bias", fix="use --method regress or project")
    return ups[0], down


def _grow(module: Any, axis: int, more: Tensor) -> None:
    """Append rows (axis 0) or columns (1) of a matrix that is written as (out, in)."""
    flipped = isinstance(module, Conv1D)
    weight = module.weight.T if flipped else module.weight
    grown = torch.cat([weight, more.to(weight)], axis)
    module.weight = nn.Parameter((grown.T if flipped else grown).contiguous(), module.weight.requires_grad)
    if flipped:
        module.nx, module.nf = grown.shape[1], grown.shape[0]
    else:
        module.in_features, module.out_features = grown.shape[1], grown.shape[0]


def _ablation(task: Task) -> dict[Site | str, Write]:
    """The ablation as writes: what is read is kept for when it is written."""
    kept: dict[str, Tensor] = {}
    watched, directions = Watched(task.dictionary, task.features), task.dictionary.directions[list(task.features)]

    def read(h: Tensor) -> Tensor:
        kept["x"] = h
        return h

    def write(h: Tensor) -> Tensor:
        values = watched.values(kept["x"].reshape(-1, kept["x"].shape[-1]).float())
        return h - (values @ directions).view_as(h).to(h.dtype)

    return {task.read: read, task.site: write}
