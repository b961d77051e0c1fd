"""Pieces of HTML that objects show in a notebook: inline styles only, no script, everything escaped.

Colours are the notebook's own, or translucent, so that light and dark themes both hold. Fonts and text sizes follow the
notebook too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from monoscope.markup import Child, Markup, el
from monoscope.visible import label_parts, safe, visible

RULE = "1px solid rgba(128,128,128,.35)"
QUIET = "opacity:.72"
SMALL = "font-size:.86em"
MONO = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:.86em"
CARD = f"border:{RULE};border-radius:8px;padding:10px 14px;margin:4px 0;max-width:860px;line-height:1.45"
LITERAL = f"{MONO};background:rgba(128,128,128,.16);border-radius:3px;padding:0 4px;white-space:pre"
WEAK = 0.5  # a label with a lower F1 is set back
ROW = "display:flex;gap:14px;align-items:baseline;padding:3px 0;border-top:" + RULE


def styled(style: str, *children: Child, tag: str = "div", title: str | None = None) -> Markup:
    """An element with an inline style."""
    return el(tag, {"style": style, "title": title}, *children)


def card(heading: Child, facts: Sequence[str], *body: Child) -> str:
    """The frame around everything: a heading, a line of facts, then what there is to see."""
    return styled(
        CARD,
        styled("font-size:1.12em;font-weight:600;overflow-wrap:anywhere", heading),
        styled(f"{QUIET};{SMALL}", " · ".join(facts)) if facts else None,
        *body,
    )


def section(title: str, *body: Child) -> Markup:
    """A titled part."""
    return styled("margin-top:10px", styled(f"{SMALL};font-weight:600;margin-bottom:2px", title), *body)


def literal(text: str) -> Markup:
    """A token, its spaces and invisible characters as marks."""
    return styled(LITERAL, one_line(text, spaces=True), tag="span")


def label(words: str, f1: float | None = None) -> Markup:
    """A label in words; set back where evidence does not bear it out."""
    if not words:
        return styled(f"{QUIET};font-style:italic", "no label", tag="span")
    weak = f1 is not None and not f1 >= WEAK
    parts = [literal(part) if is_token else part for part, is_token in label_parts(words)]
    return styled(f"{QUIET};font-style:italic" if weak else "", *parts, tag="span")


def tokens(
    shown: Iterable[tuple[str, float, float]], *, target: int | None = None, show: Callable[[str], Child] | None = None
) -> Markup:
    """Tokens as (text, value, strength between 0 and 1), coloured by strength, valued on hover.

    ``target`` is the number of the token that is underlined; ``show`` makes text visible: ``one_line`` by default, or
    ``lines``.
    """
    spans = []
    for i, (text, value, strength) in enumerate(shown):
        style = f"background:rgba(242,155,56,{0.12 + 0.68 * min(1.0, strength):.2f});border-radius:2px" if value else ""
        if i == target:
            style += ";border-bottom:2px solid rgb(196,110,20)"
        spans.append(
            el("span", {"style": style or None, "title": f"{value:.2f}" if value else None}, (show or one_line)(text))
        )
    return styled(f"{MONO};white-space:pre-wrap;overflow-wrap:anywhere", *spans)


def meter(share: float, width: str = "90px") -> Markup:
    """A bar for a number between 0 and 1."""
    filled = 100 * min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    track = f"display:inline-block;width:{width};height:6px;border-radius:3px;background:rgba(128,128,128,.22)"
    inner = f"display:block;width:{filled:.0f}%;height:6px;border-radius:3px;background:rgb(38,138,148)"
    return styled(track, styled(inner, tag="span"), tag="span")


def histogram(counts: Sequence[int], words: str, height: int = 34) -> Markup:
    """Counts as bars whose heights are logarithmic, in the notebook's own colour."""
    top = max((math.log1p(n) for n in counts), default=0.0) or 1.0
    bars = [(i, height * math.log1p(n) / top) for i, n in enumerate(counts) if n]
    path = "".join(f"M{6 * i} {height}v-{tall:.1f}h5v{tall:.1f}z" for i, tall in bars)
    return el(
        "svg",
        {"width": 6 * len(counts), "height": height, "role": "img", "aria-label": words, "style": "max-width:100%"},
        el("path", {"d": path, "fill": "currentColor", "opacity": 0.55}),
    )


def settings(values: Mapping[str, object]) -> Markup:
    """Names with their values, in two columns."""
    cells = [
        [styled(QUIET, name, tag="span"), styled("overflow-wrap:anywhere", str(v), tag="span")]
        for name, v in values.items()
    ]
    return styled(f"display:grid;grid-template-columns:max-content 1fr;gap:1px 14px;margin-top:6px;{SMALL}", cells)


def percent(x: float) -> str:
    """A share as per cent with three digits."""
    return f"{100 * x:.3g} %"


def one_line(text: str, spaces: bool = False) -> Child:
    """Text on one line: line breaks, tabs and runs of spaces as quiet marks."""
    return [_mark(piece) if is_mark else piece for piece, is_mark in visible(text, spaces=spaces)]


def lines(text: str) -> Child:
    """Text with its lines and spaces as they are; a mark stands where a line ends."""
    first, *rest = text.split("\n")
    return [safe(first), *([_mark("↵"), "\n", safe(line)] for line in rest)]


def signed(x: float) -> str:
    """Two decimals, with a minus that is as wide as a plus."""
    return f"{x:z.2f}".replace("-", "−")


def _mark(piece: str) -> Markup:
    return styled("opacity:.45", piece, tag="span")
