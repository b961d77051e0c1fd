"""Putting rows back into the model: the site's text rows are replaced, separators and padding stay as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float
from torch import Tensor

from monoscope.evaluate.reconstructor import Reconstructor
from monoscope.types import Site, TokenBlock

if TYPE_CHECKING:
    from monoscope.models import LanguageModel

Write = Callable[[Tensor], Tensor]


def replace_rows(is_text: Bool[Tensor, "blocks context"], rows: Float[Tensor, "n d"] | Float[Tensor, " d"]) -> Write:
    """A write that puts ``rows`` (one per text token, or one for all of them) in the place of the text tokens' rows."""

    def write(site: Tensor) -> Tensor:
        changed = site.clone()
        changed[is_text] = rows.to(changed)
        return changed

    return write


def splice_with_error(
    lm: LanguageModel, site: Site, reconstructor: Reconstructor, block: TokenBlock
) -> tuple[Float[Tensor, "blocks context vocabulary"], Float[Tensor, "blocks context vocabulary"]]:
    """The logits of a block untouched, and with the site replaced by explained + error.

    The error is ``x − x̂``, so the two agree to the tolerance of the dtype: law 2, which every splice rests on.
    """
    name = str(site)
    seen = lm.run(block, read=[name, "logits"])
    is_text = block.is_text.to(seen[name].device)
    x = seen[name][is_text]
    x_hat = reconstructor.decode(reconstructor.encode(x), x)
    spliced = lm.run(block, read=["logits"], write={name: replace_rows(is_text, x_hat + (x - x_hat))})
    return seen["logits"], spliced["logits"]
