"""Loading models: packaged ones, Hugging Face folders and ids, through ``transformers`` and nothing that executes."""

from __future__ import annotations

import json
import logging as standard
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monoscope import hub, model_names
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.models import reference
from monoscope.models.language_model import LanguageModel
from monoscope.ops import devices
from monoscope.text import tokenise

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
MAIN = "main"  # the revision that an id without one means


def load_model(
    name: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> LanguageModel:
    """Load a language model.

    Args:
        name: ``reference-a`` (``-b``, ``-c``), a folder, or a Hugging Face id, with ``id@revision`` at a branch, tag or
            commit.
        device: where it runs.
        dtype: of its weights and activations.

    Returns:
        The model in evaluation mode, its parameters without gradients. A checkpoint without a language head, such as an
        encoder's, has ``has_head`` False.

    Raises:
        MonoscopeError: there is no such model, its architecture is unknown, its tokenizer is missing, its weights are
            missing, incomplete or damaged, or the device is not there.
    """
    name = str(name)
    source, revision, shown = _source(name)
    target = devices.find(device)
    with quiet():
        config = _config(source, revision, name)
        tokeniser = _tokeniser(source, revision, name)
        model = _weights(source, revision, name, config, dtype)
    model.eval().requires_grad_(False)
    return LanguageModel(model.to(target), tokeniser, name=shown)


def _source(name: str) -> tuple[str, str, str]:
    """What to hand to ``transformers``, at which revision, and the name to keep: absolute for folders, so that it is
    found again."""
    if name in reference.NAMES:
        return str(reference.folder(name)), MAIN, name
    if name.startswith("reference-"):
        raise unknown_name("packaged model", name, reference.NAMES)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise MonoscopeError(
                f"{name} is no model folder: it has no config.json", fix="name the folder that has one"
            )
        return str(path.resolve()), MAIN, str(path.resolve())
    repository, revision = hub.split(name)
    if path.exists() or path.is_absolute() or hub.is_path(repository):
        raise MonoscopeError(f"there is no folder {name!r}", fix=f"check the path, or {_choices()}")
    if (known := model_names.on_hub(repository) or repository).lower() != repository.lower():
        raise MonoscopeError(f"on the Hub, {name} is {known}", fix=f"name it {known}")
    cached = _cached(repository, revision)
    if (cached is None or not _whole(cached)) and hub.answers(repository):
        return repository, revision or MAIN, name
    if cached is None:
        error = hub.missing(repository, "folder", revision)
        raise MonoscopeError(error.what, fix=f"{error.fix}; or {_choices()}")
    return str(cached), MAIN, name


def _cached(name: str, revision: str | None) -> Path | None:
    """The folder where an id was downloaded to before, as much of it as was."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError as error:
        raise MonoscopeError(
            f"{name!r} is no model: neither packaged, nor a folder, nor an id", fix=_choices()
        ) from error
    return Path(config).parent if isinstance(config, str) else None


def _whole(folder: Path) -> bool:
    """Whether a model was downloaded with weights and tokenizer: then no network is asked."""
    index = folder / "model.safetensors.index.json"
    weights = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    return all((folder / file).is_file() for file in weights) and _any(folder, TOKENIZERS)


def _choices() -> str:
    return f"name a packaged model ({', '.join(reference.NAMES)}), a Hugging Face id or a folder"


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice from the libraries while they load; errors are raised, not logged."""
    from huggingface_hub.utils import logging as client
    from transformers.utils import logging

    levels, bars = (logging.get_verbosity(), client.get_verbosity()), logging.is_progress_bar_enabled()
    logging.set_verbosity(standard.CRITICAL)
    client.set_verbosity(standard.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(levels[0])
        client.set_verbosity(levels[1])
        if bars:
            logging.enable_progress_bar()


def _config(source: str, revision: str, name: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    except OSError as error:
        raise MonoscopeError(
            f"the model {name!r} cannot be found: {_first_line(error)}",
            fix=f"{_choices()}; without a network, only what is already downloaded can be had",
        ) from error
    except (ValueError, KeyError) as error:
        raise MonoscopeError(
            f"the architecture of {name!r} is unknown to transformers: {_first_line(error)}",
            fix="update transformers; models that bring their own code are never run",
        ) from error


def _tokeniser(source: str, revision: str, name: str) -> tokenise.Tokeniser:
    folder = Path(source)
    if folder.is_dir() and not _any(folder, TOKENIZERS):
        raise MonoscopeError(f"{name} has no tokenizer", fix="save its tokenizer.json beside the weights")
    try:
        return tokenise.load(source, revision)
    except MonoscopeError:
        raise
    except Exception as error:  # the tokenizers library raises whatever it trips over, down to bare Exception
        raise MonoscopeError(
            f"the tokenizer of {name!r} is damaged: {type(error).__name__}: {_first_line(error)}",
            fix="download or copy the model's tokenizer.json again",
        ) from error


def _any(folder: Path, files: Iterable[str]) -> bool:
    return any((folder / file).is_file() for file in files)


def _weights(source: str, revision: str, name: str, config: Any, dtype: torch.dtype) -> nn.Module:
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoModelForCausalLM

    if getattr(config, "is_encoder_decoder", False):
        raise MonoscopeError(f"{name!r} is an encoder-decoder, which reads two texts at once", fix=_choices())
    loader = AutoModelForCausalLM if _predicts_tokens(config) else AutoModel
    try:
        model, info = loader.from_pretrained(
            source,
            revision=revision,
            config=config,
            dtype=dtype,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise _damaged(name, _first_line(error)) from error
    except OSError as error:
        raise MonoscopeError(
            f"the weights of {name!r} cannot be read: {_first_line(error)}", fix="download or copy the model again"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise MonoscopeError(
            f"{name!r} is not a model that can be read token by token: {_first_line(error)}", fix=_choices()
        ) from error
    missing = [key for key in info["missing_keys"] if "pooler" not in key]  # a pooler comes after every site
    if missing:
        raise _damaged(name, f"{len(missing)} tensors are missing, among them {sorted(missing)[0]}")
    broken = [key for key, value in model.named_parameters() if not value.detach().sum(dtype=torch.float32).isfinite()]
    if broken:
        raise _damaged(name, f"{broken[0]} holds numbers that are not finite")
    return model


def _predicts_tokens(config: Any) -> bool:
    """Whether the checkpoint was saved with a head that predicts the next token."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    heads = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
    saved_with_head = any(a.endswith(heads) for a in config.architectures or [])
    return saved_with_head and type(config) in MODEL_FOR_CAUSAL_LM_MAPPING


def _damaged(name: str, why: str) -> MonoscopeError:
    return MonoscopeError(f"the weights of {name!r} are damaged: {why}", fix="download or copy the model again")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
