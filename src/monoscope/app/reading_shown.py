"""What ``ms.read`` gives: a plain dictionary that shows itself in a notebook."""

from __future__ import annotations

from typing import Any

from monoscope.notebook import QUIET, ROW, SMALL, card, label, lines, section, styled, tokens

LISTED = 12
TOKENS = 1_000  # of a long text, so that a notebook stays small


class Reading(dict[str, Any]):
    """``{"tokens": [{"text", "start", "end", "features": […]}]}``; JSON takes it as it stands."""

    def _repr_html_(self) -> str:
        """The text, each token coloured by its strongest feature, and the features that are strongest in all of it."""
        read = self["tokens"]
        strongest = [t["features"][0]["value"] if t["features"] else 0.0 for t in read]
        low, top = min(strongest, default=0.0), max(strongest, default=0.0)
        spread = (top - low) or 1.0  # every token has a strong feature: what tells tokens apart lies between the two
        pairs = zip(read[:TOKENS], strongest, strict=False)
        shown = [(t["text"] or "▏", v, (v - low) / spread) for t, v in pairs]
        facts = ["coloured by each token’s strongest feature; hover for its value"] if read else []
        if len(read) > TOKENS:
            facts.append(f"the first {TOKENS:,} are shown")
        text = section("Text", tokens(shown, show=lines)) if read else None
        return card(f"{len(read):,} tokens", facts, text, self._features())

    def _features(self) -> Any:
        total: dict[int, float] = {}
        about: dict[int, dict[str, Any]] = {}
        for found in (f for token in self["tokens"] for f in token["features"]):
            total[found["id"]] = total.get(found["id"], 0.0) + found["value"]
            about[found["id"]] = found
        order = sorted(total, key=lambda i: (-total[i], i))[:LISTED]
        rows = [_row(about[i], total[i]) for i in order]
        return section("Strongest in the whole text, by the sum of activations", rows) if rows else None


def _row(found: dict[str, Any], total: float) -> Any:
    f1 = found["label_f1"]
    return styled(
        ROW,
        styled(f"{QUIET};{SMALL};min-width:4em", f"#{found['id']}", tag="span"),
        styled("flex:1;overflow-wrap:anywhere", label(found["label"], f1), tag="span"),
        styled(f"{QUIET};{SMALL};white-space:nowrap", "" if f1 is None else f"F1 {f1:.2f}", tag="span"),
        styled(f"{SMALL};min-width:4em;text-align:right", f"{total:.1f}", tag="span"),
    )
