"""How figures look: one palette, one seller one colour, one way to save."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from PIL import Image

from marl_pricing.presentation import words
from marl_pricing.presentation.files import write_atomically

P = ParamSpec("P")

# Okabe and Ito (2008), told apart with any colour vision; in an order whose neighbours also differ in lightness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
_DASHES = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
NASH = {"color": "#444444", "linestyle": (0, (6, 3)), "linewidth": 1.3}
JOINT = {"color": "#444444", "linestyle": (0, (1, 1.6)), "linewidth": 1.6}
LEARNED, RULE = "#333333", "#8C8C8C"
GREY = "#7A7A7A"  # of what belongs to no seller, read on a light and on a dark page
WIDE, NARROW = 7.2, 4.2  # inches; narrow figures can be read on a phone
_width = ContextVar("width", default=WIDE)
MAP_COLOURS = "cividis"

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.dpi": 110,
    "savefig.dpi": 130,
    "figure.facecolor": "white",
    "svg.hashsalt": "marl_pricing",
    "text.parse_math": False,  # names may have a $
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with this module's settings, whatever the caller's are."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return wrapper


def new_figure(height: float) -> Figure:
    """An empty figure of the width in force; no window is ever opened."""
    figure = Figure(figsize=(_width.get(), height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@contextmanager
def width(inches: float) -> Iterator[None]:
    """Figures drawn inside have this width, `WIDE` or `NARROW`."""
    token = _width.set(inches)
    try:
        yield
    finally:
        _width.reset(token)


def is_narrow() -> bool:
    """Whether figures are now drawn for a phone."""
    return _width.get() < WIDE


def seller_colour(seller: int) -> str:
    """The colour of a seller, in every figure."""
    return PALETTE[seller % len(PALETTE)]


def seller_line(seller: int) -> dict:
    """Colour of a seller's line; from the ninth seller on, where colours come again, another dash."""
    return {"color": seller_colour(seller), "linestyle": _DASHES[seller // len(PALETTE) % len(_DASHES)]}


def dashes(place: int) -> Any:
    """How lines of the place-th of several runs are broken: the first is whole."""
    return _DASHES[place % len(_DASHES)]


def png(figure: Figure) -> bytes:
    """The figure as PNG with 256 colours: nobody sees the difference, and a report holds three times as many."""
    image = Image.open(io.BytesIO(_saved(figure, "png", {"Software": None}))).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, "png")
    return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes for the same data."""
    return _saved(figure, "svg", {"Date": None})


def webp(png_image: bytes) -> bytes:
    """A PNG as WebP of 48 colours, for pages: half of the bytes, edges as sharp, and every browser reads it."""
    buffer = io.BytesIO()
    few = Image.open(io.BytesIO(png_image)).convert("RGB").quantize(48, dither=Image.Dither.NONE)
    few.convert("RGB").save(buffer, "webp", lossless=True, method=4)
    return buffer.getvalue()


def write(folder: Path, name: str, figure: Figure) -> bytes:
    """Write NAME.png and NAME.svg into a folder that is there; the PNG."""
    image = png(figure)
    write_atomically(folder / f"{name}.png", image)
    write_atomically(folder / f"{name}.svg", svg(figure))
    return image


def write_for_page(folder: Path, name: str, draw: Callable[[], Figure]) -> tuple[bytes, bytes]:
    """The same of what `draw` draws, wide; WebP for wide pages and, drawn again, for phones."""
    wide = webp(write(folder, name, draw()))
    with width(NARROW):
        return wide, webp(png(draw()))


def _saved(figure: Figure, kind: str, metadata: dict) -> bytes:
    buffer = io.BytesIO()
    say_figure(figure)
    with mpl.rc_context(_SETTINGS):
        figure.savefig(buffer, format=kind, metadata=metadata)
    figure.set_layout_engine("none")  # it is laid out now; another file of it need not do so again
    return buffer.getvalue()


def say_figure(figure: Figure) -> None:
    """Every text of a figure in the words in force: labels, titles, legends, names of ticks."""
    if not words.there_are():
        return

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_locator(), FixedLocator):  # names of ticks are made anew at every drawing
                names = [label.get_text() for label in axis.get_ticklabels()]
                if (now := [words.say(name) for name in names]) != names:
                    axis.set_ticks(axis.get_ticklocs(), now)
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(words.say(text.get_text()))


def legend_below(figure: Figure, axes: Axes) -> None:
    """The legend of axes below a figure, in as many columns as its width takes; none where nothing has a name."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    widest = float(figure.get_size_inches()[0]) - 0.2
    count = len(labels)
    for columns in range(min(count, 5), 0, -1):
        # Entries go down the columns, of which the first take one more where they do not come out even.
        size, longer = divmod(count, columns)
        starts = np.cumsum([0] + [size + 1] * longer + [size] * (columns - longer))
        # A letter is about 0.07 inches wide, a handle with its gaps 0.6.
        longest = [max(map(len, labels[start:end])) for start, end in pairwise(starts)]
        needed = sum(0.07 * length + 0.6 for length in longest)
        if needed <= widest:
            break
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, columnspacing=1.4)
