"""What measures see of a block: rows with their reconstruction, predictions with and without the splice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope.evaluate import chance
from monoscope.types import Code


@dataclass(frozen=True)
class Reconstructed:
    """Rows of a site beside their reconstruction.

    ``slots`` numbers the evaluated documents from 0, ``keys`` the rows among all tokens of the text. ``encoded``
    are the rows that a transcoder read; None where it is ``x`` that was encoded.
    """

    x: Float[Tensor, "n d"]
    x_hat: Float[Tensor, "n d"]
    code: Code
    slots: Int[Tensor, " n"]
    keys: Int[Tensor, " n"]
    encoded: Float[Tensor, "n d_in"] | None = None

    @property
    def read(self) -> Float[Tensor, "n d_in"]:
        """The rows that were encoded."""
        return self.x if self.encoded is None else self.encoded


@dataclass(frozen=True)
class Predictions:
    """What the untouched model says of a block's next tokens, in nats.

    ``counted`` marks the predictions of a text token from a text token of the same document; separators, padding and
    a window's last token predict nothing that counts. ``losses`` holds the cross-entropy of each counted prediction
    under a name: ``"ce"``, and ``"ce_mean"`` and ``"ce_zero"`` with the site ablated; ``divergences`` the KL from the
    untouched model, as ``"kl_mean"`` and ``"kl_zero"``. ``keys`` numbers the site's text rows, of ``width``.
    """

    log_p: Float[Tensor, "blocks context vocabulary"]
    targets: Int[Tensor, "blocks context"]
    counted: Bool[Tensor, "blocks context"]
    slots: Int[Tensor, " n"]
    losses: dict[str, Float[Tensor, " n"]]
    divergences: dict[str, Float[Tensor, " n"]]
    keys: Int[Tensor, " n_rows"]
    width: int
    seed: int

    @cached_property
    def directions(self) -> Float[Tensor, "n_rows width"]:
        """A random unit vector for each text row of the site: drawn once for all reconstructors."""
        return chance.unit_directions(self.keys, self.width, self.seed)

    @cached_property
    def p(self) -> Float[Tensor, "blocks context vocabulary"]:
        """The probabilities: needed once for every splice."""
        return self.log_p.exp()

    def cross_entropy(self, log_q: Float[Tensor, "blocks context vocabulary"]) -> Float[Tensor, " n"]:
        """The loss of each counted prediction under other log-probabilities."""
        return -log_q.gather(-1, self.targets[..., None])[..., 0][self.counted]

    def divergence(self, log_q: Float[Tensor, "blocks context vocabulary"]) -> Float[Tensor, " n"]:
        """KL from the untouched model's distribution to another, at each counted prediction."""
        return (self.log_p - log_q).mul_(self.p).sum(-1)[self.counted]


@dataclass(frozen=True)
class Spliced:
    """The same block's predictions with the site's text rows ``x`` replaced by their reconstruction ``x_hat``.

    ``again`` gives the log-probabilities with other rows in their place.
    """

    original: Predictions
    log_q: Float[Tensor, "blocks context vocabulary"]
    x: Float[Tensor, "n_rows d"]
    x_hat: Float[Tensor, "n_rows d"]
    again: Callable[[Float[Tensor, "n_rows d"]], Float[Tensor, "blocks context vocabulary"]]

    @cached_property
    def kl(self) -> Float[Tensor, " n"]:
        """KL from the untouched to the spliced model, at each counted prediction."""
        return self.original.divergence(self.log_q)

    @property
    def slots(self) -> Int[Tensor, " n"]:
        """The document slot of each counted prediction."""
        return self.original.slots
