"""A bar chart as a PNG, and as a web page that needs nothing else: the chart as SVG in it, text as text."""

from __future__ import annotations

import io
import warnings
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.watch.bars import Chart, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONTS = (
    "DejaVu Sans",  # comes with matplotlib
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
    "Noto Sans KR",
    "Noto Sans JP",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Hiragino Sans",
    "Yu Gothic",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Emoji",
    "Symbola",
)
"""Tried in this order, sign by sign; those that are not installed are left out."""
INK, FAINT, FIRST, OTHERS = "#1f2933", "#7b8794", "#1d4ed8", "#93b4f5"
WIDEST_LABEL = 22
INCHES, DOTS = (9.6, 5.4), 150


def png(chart: Chart) -> tuple[bytes, set[str]]:
    """The picture (1440 x 810), and the signs that no font of this machine has; in it they are code points."""
    fonts, missing = _fonts_for(chart)
    return _drawn(chart, "png", fonts=fonts, missing=missing, text_as="path"), missing


def html(chart: Chart, *, again_after: float | None = None) -> str:
    """A page; `again_after`: seconds after which a browser loads it again. Its text needs no font of this machine."""
    fonts, _ = _fonts_for(chart)
    # Text stays text: the browser finds a font for every script.
    svg = _drawn(chart, "svg", fonts=fonts, missing=set(), text_as="none").decode()
    svg = svg[svg.index("<svg") :]
    refresh = f'<meta http-equiv="refresh" content="{again_after:g}">\n' if again_after is not None else ""
    words = "; ".join(f"{bar.label} {bar.count:,}" for bar in chart.bars) or "nothing"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>{escape(chart.title)}</title>
<style>
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: #fff }}
figure {{ margin: 0; width: min(100%, 72rem) }}
svg {{ width: 100%; height: auto; font-family: system-ui, sans-serif }}
svg text {{ font-family: system-ui, "Noto Sans", sans-serif !important }}
</style>
</head>
<body>
<figure role="img" aria-label="{escape(f"{chart.title}, {chart.span}: {words}")}">
{svg}
</figure>
</body>
</html>
"""


def write(path: Path, body: bytes) -> None:
    """Replace a file at once: who looks at it while it is written sees the old one. Raises OSError."""
    path = path.expanduser()
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(body)
    beside.replace(path)


def _drawn(chart: Chart, form: str, *, fonts: list[str], missing: set[str], text_as: str) -> bytes:
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "font.family": fonts,
        "text.color": INK,
        "svg.fonttype": text_as,
        "svg.hashsalt": "millrace",
    }
    body = io.BytesIO()
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # told by `missing`, or of no matter
        metadata = {"Date": None, "Creator": None} if form == "svg" else None
        _figure(chart, missing).savefig(body, format=form, dpi=DOTS, metadata=metadata)
    return body.getvalue()


def _figure(chart: Chart, missing: set[str]) -> Figure:
    # Not pyplot: it would look for a screen, and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.30, 0.05, 0.59, 0.78))
    axes.set(xlim=(0, max(chart.largest, 1)), ylim=(chart.places - 0.4, -0.6))
    axes.axis("off")
    figure.text(0.035, 0.925, chart.title, fontsize=19, fontweight="bold", va="center")
    figure.text(0.965, 0.925, chart.span, fontsize=11, color=FAINT, ha="right", va="center")
    for place, bar in enumerate(chart.bars):
        first = place == 0
        axes.barh(place, bar.count, height=0.68, color=FIRST if first else OTHERS)
        label = _label(bar.label, missing)
        weight = "bold" if first else "normal"
        axes.annotate(
            label, (0, place), (-8, 0), textcoords="offset points", ha="right", va="center",
            fontsize=13, fontweight=weight, parse_math=False, annotation_clip=False,
        )  # fmt: skip
        axes.annotate(
            f"{bar.count:,}", (bar.count, place), (7, 0), textcoords="offset points", va="center",
            fontsize=13, fontweight=weight, annotation_clip=False,
        )  # fmt: skip
    if not chart.bars:
        figure.text(0.5, 0.45, "nothing in this window", fontsize=14, color=FAINT, ha="center")
    return figure


def _fonts_for(chart: Chart) -> tuple[list[str], set[str]]:
    """The fonts that are installed, in order, and the signs of the chart that none of them has."""
    from matplotlib import font_manager

    installed = {font.name: font.fname for font in reversed(font_manager.fontManager.ttflist)}
    fonts = [name for name in FONTS if name in installed]
    wanted = {sign for bar in chart.bars for sign in printable(bar.label)}
    for name in fonts:
        if wanted := {sign for sign in wanted if not sign.isascii()}:
            wanted -= {chr(code) for code in font_manager.get_font(installed[name]).get_charmap()}
    return fonts, wanted


def _label(label: str, missing: set[str]) -> str:
    """As much of a label as there is room for, with code points for signs that cannot be drawn."""
    from rich.cells import cell_len, set_cell_size

    told = "".join(f"\\u{ord(sign):04x}" if sign in missing else sign for sign in printable(label))
    return told if cell_len(told) <= WIDEST_LABEL else set_cell_size(told, WIDEST_LABEL - 1).rstrip() + "…"
