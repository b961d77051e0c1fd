"""What searching a run needs beside its catalogue: the model, loaded when a search asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.catalogue.directions import Head
from monoscope.catalogue.searching import AtHand
from monoscope.catalogue.vocabulary import Vocabulary
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel
from monoscope.types import Code

if TYPE_CHECKING:
    from monoscope.app.run import Run


def at_hand(run: Run) -> AtHand:
    """A run's model and dictionary, as searches want them."""

    def read(text: str) -> Iterator[Code]:
        return run.reader.codes(text)

    def pull(token: str) -> Float[np.ndarray, " d_out"] | None:
        return pull_of(run.lm, run.plan.target or run.plan.site, token)

    return AtHand(read, pull, head=lambda: head_of(run.lm, run.plan.target or run.plan.site))


def head_of(lm: LanguageModel, site: str) -> Head | None:
    """The direct way from a site to all logits; None where ``pull_of`` gives None."""
    way = _way(lm, site)
    if way is None:
        return None
    out, into = way
    with torch.no_grad():
        pull = into.float() @ (out.float() - out.float().mean(1, keepdim=True))
    vocabulary = Vocabulary(lm.tokeniser)
    return Head(pull.cpu().numpy(), [vocabulary.spelling(token) for token in range(pull.shape[1])])


def pull_of(lm: LanguageModel, site: str, token: str) -> Float[np.ndarray, " d_site"] | None:
    """The vector whose product with what a feature writes at ``site`` is what that adds to a token's logit.

    The path is the direct one of ``catalogue.directions.logit_weights``, relative to the mean over the vocabulary. None
    where the model has no head or the site no linear map to the residual stream.

    Raises:
        MonoscopeError: the text is not one token of the model's.
    """
    way = _way(lm, site)
    if way is None:
        return None
    out, into = way
    column = one_token(lm, token)
    with torch.no_grad():
        centred = out[:, column].float() - out.float().mean(1)
        return (into.float() @ centred).cpu().numpy()


def _way(lm: LanguageModel, site: str) -> tuple[Float[Tensor, "d_model vocabulary"], Float[Tensor, "d d_model"]] | None:
    """The unembedding, and the way from the site to where it begins."""
    out = lm.unembedding()
    into = None if out is None else lm.to_residual(site)
    return None if out is None or into is None else (out, into)


def one_token(lm: LanguageModel, text: str) -> int:
    """The number of the token that is spelled so.

    Raises:
        MonoscopeError: there is none; the message says how the text is cut.
    """
    tokens = lm.tokeniser.text(text).tokens.tolist()
    if len(tokens) == 1:
        return tokens[0]
    pieces = [lm.tokeniser.backend.decode([token], skip_special_tokens=False) for token in tokens]
    raise MonoscopeError(
        f"{text!r} is not one token of {lm.name}, but {len(tokens)}: {', '.join(map(repr, pieces[:8]))}",
        fix="search for one of them; a space before a word belongs to its token",
    )
