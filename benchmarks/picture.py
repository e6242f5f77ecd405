"""Draws the picture of growth: panels of lines over sizes, as SVG written by hand.

Used by benchmarks/questions/growth.py. The same figures give the same bytes, so that a picture only changes with them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 300
LEFT, TOP, GAP = 56, 56, 40  # left of and above the first panel, and between two
PANEL_WIDTH, PANEL_HEIGHT = 310, 180
TOP_PERCENT = 125.0
TICKS = (0, 25, 50, 75, 100, 125)
COLOURS = ("#2563eb", "#d97706")
INK, FAINT, PAPER = "#1f2937", "#d1d5db", "#ffffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a panel: a percentage for each of the panel's sizes."""

    name: str
    percents: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines over the same sizes, which stand at equal distances, and the bound they should stay above."""

    title: str
    sizes: tuple[int, ...]
    lines: tuple[Line, ...]
    bound_percent: float


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Return the picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
        _text(LEFT, 24, title, size=15),
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, left=LEFT + number * (PANEL_WIDTH + GAP))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, *, left: float) -> Iterator[str]:
    right = left + PANEL_WIDTH
    for percent in TICKS:
        yield f'<path d="M{left} {_y(percent):g}H{right}" stroke="{FAINT}"/>'
        yield _text(left - 6, _y(percent) + 4, f"{percent}", anchor="end")
    bound = _y(panel.bound_percent)
    yield f'<path d="M{left} {bound:g}H{right}" stroke="{INK}" stroke-dasharray="4 4"/>'
    xs = [left + 20 + index * (PANEL_WIDTH - 40) / (len(panel.sizes) - 1) for index in range(len(panel.sizes))]
    for x, size in zip(xs, panel.sizes, strict=True):
        yield _text(x, TOP + PANEL_HEIGHT + 18, f"{size:,}", anchor="middle")
    yield _text(left + PANEL_WIDTH / 2, TOP + PANEL_HEIGHT + 38, panel.title, anchor="middle")
    for index, line in enumerate(panel.lines):
        yield from _line(line, xs, colour=COLOURS[index % len(COLOURS)])
        yield _text(left + index * 120, TOP - 12, line.name, colour=COLOURS[index % len(COLOURS)])


def _line(line: Line, xs: Sequence[float], *, colour: str) -> Iterator[str]:
    points = [(x, _y(percent)) for x, percent in zip(xs, line.percents, strict=True)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _y(percent: float) -> float:
    shown = min(max(percent, 0.0), TOP_PERCENT)
    return TOP + PANEL_HEIGHT * (1 - shown / TOP_PERCENT)


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = INK) -> str:
    return (
        f'<text x="{x:g}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )
