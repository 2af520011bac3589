"""Which pictures of a cell may be kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.types import Cell


def ours(shown: dict[str, NDArray[np.uint8]], cell: Cell) -> dict[str, NDArray[np.uint8]]:
    """Without the pictures that show images of a published folder, which are not copied into results."""
    if cell.data.family != "folder":
        return shown
    return {name: picture for name, picture in shown.items() if cell.role == "method" and name != "neighbours"}
