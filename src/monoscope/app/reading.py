"""Reading a text: which features the model has active on each token, in words."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from monoscope.app.ui.payloads import number
from monoscope.catalogue.directions import coordinates, logit_effects
from monoscope.catalogue.token_effects import Place, token_effects
from monoscope.errors import MonoscopeError
from monoscope.models.generation import Written, generate
from monoscope.types import PADDING, SEPARATOR, Code, Site, TokenBlock, TokenisedDocument

WINDOWS_AT_ONCE = 16  # bounds memory whatever the text's length


def decode(pieces: Iterable[bytes]) -> list[str]:
    """Text of consecutive tokens, such that the pieces joined are the whole text.

    A character that several tokens share belongs to the token that completes it; those before it have empty text.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return [decoder.decode(piece) for piece in pieces]


def _bytes(text: str) -> bytes:
    """The text in UTF-8.

    Raises:
        MonoscopeError: it is no text, or holds lone surrogates, so that it is none in Unicode.
    """
    if not isinstance(text, str):
        raise MonoscopeError(f"a {type(text).__name__} is no text", fix="give a str")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MonoscopeError(
            f"the text is not valid Unicode at character {error.start}", fix="give text, not binary data"
        ) from error


class Reader:
    """Reads texts with one model, site, dictionary and catalogue; warm after the first call.

    ``reader(text)`` is ``reader.read(text)``.
    """

    def __init__(self, lm: Any, site: Site | str, dictionary: Any, catalogue: Any) -> None:
        """Take the parts; labels are read once.

        Raises:
            MonoscopeError: the dictionary does not fit the model at this site, or the catalogue the dictionary.
        """
        self.lm, self.site, self.dictionary = lm, Site.parse(site), dictionary
        width = lm.width(self.site)
        if dictionary.d_in != width:
            raise MonoscopeError(
                f"the dictionary reads {dictionary.d_in} numbers a token, {lm.name} has {width} at {self.site}",
                fix="name the model and site that the dictionary was trained on",
            )
        if dictionary.n_features != len(catalogue):
            raise MonoscopeError(
                f"the dictionary has {dictionary.n_features} features, the catalogue {len(catalogue)}",
                fix="open the catalogue that was made with this dictionary",
            )
        dictionary.make_ready()
        self.catalogue = catalogue
        self._labels = [str(label) for label in catalogue.features["label"]]
        self._f1 = [number(f1) for f1 in catalogue.features["label_f1"]]

    def __call__(self, text: str) -> dict[str, Any]:
        """The same as ``read``."""
        return self.read(text)

    def read(self, text: str) -> dict[str, Any]:
        """The tokens of a text with their active features, strongest first.

        Returns:
            ``{"tokens": [{"text", "start", "end", "features": [{"id", "value", "label", "label_f1"}]}]}``; ``start``
            and ``end`` are byte offsets into the UTF-8 text; an empty text has no tokens. A feature without a label
            has label ``""`` and F1 null.

        Raises:
            MonoscopeError: the text holds lone surrogates, so it is no Unicode text.
        """
        data, document = _bytes(text), self._document(text)
        spans = list(zip(document.starts.tolist(), document.ends.tolist(), strict=True))
        pieces = decode(data[start:end] for start, end in spans)
        features = (found for code in self._codes(document) for found in self._features(code))
        return {
            "tokens": [
                {"text": piece, "start": start, "end": end, "features": found}
                for piece, (start, end), found in zip(pieces, spans, features, strict=True)
            ]
        }

    def codes(self, text: str) -> Iterator[Code]:
        """The code of a text, a few windows at a time, in order; a row per token.

        Raises:
            MonoscopeError: the text holds lone surrogates, so it is no Unicode text.
        """
        return self._codes(self._document(text))

    def continuation(
        self, text: str, count: int, *, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[dict[str, Any]]:
        """What the model writes after a text, a token at a time, with the features active on each.

        Args:
            text: what to continue.
            count: tokens at most; the model may end earlier.
            temperature: 0 for the likeliest token each time.
            seed: of the drawing.

        Returns:
            An iterator of ``{"text", "features"}``, features as ``read`` gives them. A character that several tokens
            share belongs to the token that completes it. Features are those of the pass that wrote the text.

        Raises:
            MonoscopeError: the model cannot continue a text, or the text is none.
        """
        written = generate(
            self.lm, self._document(text).tokens.tolist(), count, temperature=temperature, seed=seed, read=[self.site]
        )
        return self._told(written)

    def _told(self, written: Iterator[Written]) -> Iterator[dict[str, Any]]:
        tokens: list[int] = []
        spelled = 0
        for step in written:
            tokens.append(step.token)
            whole = self.lm.tokeniser.fast.decode(tokens, clean_up_tokenization_spaces=False).rstrip("\ufffd")
            code = self.dictionary.encode(step.values[str(self.site)][None].float())
            yield {"text": whole[spelled:], "features": next(self._features(code))}
            spelled = len(whole)

    def effects(self, feature: int, places: Sequence[Place]) -> list[list[float | None]]:
        """What a feature does for every token of some catalogued passages; see ``catalogue.token_effects``."""
        found = token_effects(self.lm, self.catalogue, self.dictionary.directions[feature], feature, places)
        return [[number(effect) for effect in effects.tolist()] for effects in found]

    def direction(self, feature: int) -> dict[str, Any]:
        """What a feature writes: its largest coordinates, and what it does to all logits.

        Returns:
            ``{"neurons", "coordinates": [{"index", "weight", "share"}], "logits"}``. ``neurons`` says whether the
            coordinates are neurons; ``logits`` is a histogram ``{"edges", "counts"}`` over the vocabulary, in logits
            per unit of activation, null where there is no linear path to the logits.
        """
        target = Site.parse(self.catalogue.facts["target"])
        direction = self.dictionary.directions[feature]
        parts = zip(*(part.tolist() for part in coordinates(direction)), strict=True)
        return {
            "neurons": target.kind == "mlp_act",
            "coordinates": [{"index": i, "weight": number(w), "share": number(share)} for i, w, share in parts],
            "logits": self._logits(direction, target),
        }

    def _logits(self, direction: Float[torch.Tensor, " d"], target: Site) -> dict[str, list[Any]] | None:
        path = self._to_logits(target)
        if path is None:
            return None
        counts, edges = np.histogram(logit_effects(direction, *path).numpy(), 60)
        return {"edges": [number(e) for e in edges.tolist()], "counts": counts.tolist()}

    @cache  # noqa: B019  # one reader, one target, as long as the program serves it
    def _to_logits(self, target: Site) -> tuple[torch.Tensor, torch.Tensor] | None:
        into, unembedding = self.lm.to_residual(target), self.lm.unembedding()
        return None if into is None or unembedding is None else (into, unembedding)

    def _document(self, text: str) -> TokenisedDocument:
        _bytes(text)
        return self.lm.tokeniser.text(text)

    def _codes(self, document: TokenisedDocument) -> Iterator[Code]:
        """The document's code, a few windows at a time, in order."""
        tokeniser = self.lm.tokeniser
        room = self.lm.window - len(tokeniser.prefix) - len(tokeniser.suffix)
        for first in range(0, len(document), room * WINDOWS_AT_ONCE):
            block = self._block(document.tokens[first : first + room * WINDOWS_AT_ONCE], room)
            with torch.inference_mode():
                found = self.lm.run(block, read=[self.site])[str(self.site)]
                yield self.dictionary.encode(found[block.is_text.to(found.device)].float())

    def _block(self, tokens: Int[np.ndarray, " n"], room: int) -> TokenBlock:
        """Windows as the harvest cuts them: framed, padded on the right, none overlapping another."""
        tokeniser = self.lm.tokeniser
        before, after = len(tokeniser.prefix), len(tokeniser.suffix)
        n_windows, width = -(-len(tokens) // room), min(room, len(tokens)) + before + after
        ids = np.full((n_windows, width), tokeniser.padding, np.int64)
        documents = np.full((n_windows, width), PADDING, np.int64)
        positions = np.zeros((n_windows, width), np.int64)
        ids[:, :before] = tokeniser.prefix
        documents[:, :before] = SEPARATOR
        for i in range(n_windows):
            window = tokens[i * room : (i + 1) * room]
            stop = before + len(window)
            ids[i, before:stop] = window
            documents[i, before:stop] = 0
            positions[i, before:stop] = np.arange(i * room, i * room + len(window))
            ids[i, stop : stop + after] = tokeniser.suffix
            documents[i, stop : stop + after] = SEPARATOR
        return TokenBlock(torch.from_numpy(ids), torch.from_numpy(documents), torch.from_numpy(positions))

    def _features(self, code: Code) -> Iterator[list[dict[str, Any]]]:
        """Each row's features, strongest first."""
        offsets = code.offsets.tolist()
        indices: Int[np.ndarray, " n"] = code.indices.cpu().numpy()
        values: Float[np.ndarray, " n"] = code.values.float().cpu().numpy()
        for start, stop in pairwise(offsets):
            order = np.argsort(-values[start:stop], kind="stable") + start
            yield [
                {"id": i, "value": round(value, 5), "label": self._labels[i], "label_f1": self._f1[i]}
                for i, value in zip(indices[order].tolist(), values[order].tolist(), strict=True)
            ]
