"""Run by the peers' Python, without Monoscope: makes a peer's dictionary, or loads one, and says what it computes.

peer.py make  PEER KIND FOLDER    a random dictionary, saved as the peer saves it; rows.npy and out.npy beside it
peer.py run   PEER KIND FOLDER    what the peer's own loader and class make of rows.npy, into out.npy
peer.py names FILE                the models that TransformerLens knows, by each of their names, as JSON
"""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

D, F, K = 12, 40, 4


def randomise(module: torch.nn.Module) -> None:
    """Every floating-point number random; thresholds positive, directions of different lengths."""
    torch.manual_seed(3)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor) / 3)
            if "threshold" in name and "log" not in name:
                tensor.abs_()


def saelens_make(kind: str, folder: Path) -> Any:
    import sae_lens

    if "batchtopk" in kind:
        return saelens_checkpoint(kind, folder)
    classes = {
        "standard": sae_lens.StandardSAE, "topk": sae_lens.TopKSAE, "jumprelu": sae_lens.JumpReLUSAE,
        "gated": sae_lens.GatedSAE, "topk_by_norm": sae_lens.TopKSAE,
        "transcoder": sae_lens.Transcoder, "jumprelu_transcoder": sae_lens.JumpReLUTranscoder,
        "skip_transcoder": sae_lens.SkipTranscoder, "jumprelu_skip_transcoder": sae_lens.JumpReLUSkipTranscoder,
        "matching_pursuit": sae_lens.MatchingPursuitSAE,
    }  # fmt: skip
    kind, _, norm = kind.partition(" ")
    made = classes[kind]
    more: dict[str, Any] = {"d_out": 7, "apply_b_dec_to_input": False} if "transcoder" in kind else {}
    more |= {"k": K} if "topk" in kind else {}
    more |= {"residual_threshold": 0.8, "max_iterations": 9} if kind == "matching_pursuit" else {}
    more |= {"rescale_acts_by_decoder_norm": True} if kind == "topk_by_norm" else {}
    more |= {"normalize_activations": norm} if norm else {}
    config_class = getattr(sae_lens, made.__name__ + "Config", None) or sae_lens.registry.get_sae_class(kind)[1]
    sae = made(config_class(d_in=D, d_sae=F, **more))
    randomise(sae)
    if kind == "matching_pursuit":  # which ends where directions have about unit length
        sae.W_dec.data.div_(sae.W_dec.data.norm(dim=1, keepdim=True))
    sae.cfg.metadata.hook_name = "blocks.1.hook_resid_post"
    sae.cfg.metadata.model_name = "gpt2"
    sae.save_model(folder)
    return sae


def saelens_checkpoint(kind: str, folder: Path) -> Any:
    """A training's checkpoint; what it comes to is what SAELens would save at the training's end."""
    import sae_lens

    made, config_class = sae_lens.registry.get_sae_training_class(kind)
    more = {"matryoshka_widths": [10, F]} if "matryoshka" in kind else {}
    sae = made(config_class(d_in=D, d_sae=F, k=K, **more))
    randomise(sae)
    sae.save_model(folder)
    with tempfile.TemporaryDirectory() as done:
        sae.save_inference_model(done)
        return sae_lens.SAE.load_from_disk(done)


def saelens_run(kind: str, folder: Path) -> Any:
    import sae_lens

    return sae_lens.SAE.load_from_disk(folder)


def dictionary_learning_make(kind: str, folder: Path) -> Any:
    from dictionary_learning import dictionary, utils

    arguments = {"AutoEncoderTopK": (K,), "BatchTopKSAE": (K,), "MatryoshkaBatchTopKSAE": (K, [10, 30])}
    made = (getattr(dictionary, kind, None) or getattr(utils, kind))(D, F, *arguments.get(kind, ()))
    randomise(made)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(made.state_dict(), folder / "ae.pt")
    trainer = {"dict_class": kind, "activation_dim": D, "dict_size": F, "k": K, "lm_name": "m", "layer": 2}
    (folder / "config.json").write_text(json.dumps({"trainer": {**trainer, "submodule_name": "resid_post_layer_2"}}))
    return made


def dictionary_learning_run(kind: str, folder: Path) -> Any:
    from dictionary_learning.utils import load_dictionary

    return load_dictionary(str(folder), device="cpu")[0]


def sparsify_make(kind: str, folder: Path) -> Any:
    from sparsify import SparseCoder, SparseCoderConfig

    transcodes, skips = "transcoder" in kind, "skip" in kind
    made = SparseCoder(D, SparseCoderConfig(num_latents=F, k=K, transcode=transcodes, skip_connection=skips))
    randomise(made)
    made.save_to_disk(folder)
    return lambda x: made(x).sae_out


def sparsify_run(kind: str, folder: Path) -> Any:
    from sparsify import SparseCoder

    made = SparseCoder.load_from_disk(folder)
    return lambda x: made(x).sae_out


def llamascopium_make(kind: str, folder: Path) -> Any:
    from llamascopium.models.sae import SAEConfig, SparseAutoEncoder

    act, _, norm = kind.partition(" ")
    where = ("blocks.1.hook_resid_mid", "blocks.1.hook_mlp_out")
    config = SAEConfig(
        hook_point_in=where[0], hook_point_out=where[1], d_model=D, expansion_factor=3, act_fn=act, top_k=K,
        norm_activation=norm or "dataset-wise",
    )  # fmt: skip
    made = SparseAutoEncoder(config)
    randomise(made)
    made.set_dataset_average_activation_norm({where[0]: 5.0, where[1]: 2.0})
    made.save_pretrained(str(folder))
    made.cfg.save_hyperparameters(folder)

    def run(x: torch.Tensor) -> torch.Tensor:
        normal, scales = made.normalize_activations({where[0]: x, where[1]: x}, return_scale_factor=True)
        return made.denormalize_activations({where[1]: made(normal[where[0]])}, scales)[where[1]]

    return run


def main(action: str, peer: str, jobs: list[str]) -> None:
    for kind, folder in zip(jobs[::2], map(Path, jobs[1::2]), strict=True):
        made = globals()[f"{peer}_{action}"](kind, folder)
        x = torch.randn(300, D) * 2 if action == "make" else torch.from_numpy(np.load(folder / "rows.npy"))
        np.save(folder / "rows.npy", x.numpy())
        with torch.no_grad():
            np.save(folder / "out.npy", made(x).numpy())


def names(file: Path) -> None:
    """Read from its list alone: the library itself is long in importing."""
    found = importlib.util.find_spec("transformer_lens")
    assert found is not None and found.origin is not None
    listed = runpy.run_path(str(Path(found.origin).with_name("supported_models.py")))
    official = {name: name for name in listed["OFFICIAL_MODEL_NAMES"]}
    other = {alias: name for name, aliases in listed["MODEL_ALIASES"].items() for alias in aliases}
    file.write_text(json.dumps(official | other))


if __name__ == "__main__":
    if sys.argv[1] == "names":
        names(Path(sys.argv[2]))
    else:
        main(sys.argv[1], sys.argv[2], sys.argv[3:])
