"""What all figures share: colours, marks and PNG bytes that depend on the drawn numbers alone."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Distinct for colour-blind readers too (Okabe and Ito, 2008); black is left for what others are compared with."""
MARKS = ("o", "s", "^", "D", "v", "P", "X")
REFERENCE = "#000000"
DPI = 100


@dataclass(frozen=True)
class Drawing:
    """One finished figure: file name without ending, what it shows, PNG bytes, its numbers as a Markdown table."""

    name: str
    caption: str
    png: bytes
    table: str = ""


def new(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout=layout)


def png(figure: Figure) -> bytes:
    """The figure as PNG; equal figures give equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def read_picture(path: Path | None) -> NDArray[np.uint8] | None:
    """Pixels uint8 [H,W,3] of a stored picture; None where there is none or it cannot be read."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path or "") as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, UnidentifiedImageError):  # a name that no file can have is a ValueError
        return None


def tidy(axis: Axes, title: str = "", *, grid: str = "both") -> None:
    """A panel's title, a faint grid, small numbers, no box."""
    axis.set_title(title, fontsize=9, parse_math=False)
    axis.grid(visible=True, axis=grid, alpha=0.3, linewidth=0.6)  # type: ignore[arg-type]
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def logarithmic(axis: Axes) -> None:
    """A logarithmic vertical axis with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 4.0, 5.0, 7.0)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
