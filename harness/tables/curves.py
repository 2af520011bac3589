"""The mean azimuth curve of every seed: a fold, a narrow map and a latent that carries the pose are seen here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from harness.atomic import write_bytes
from harness.store import StoredResult
from harness.tables import figures
from harness.tables.rows import Row, group_of
from harness.types import StoreError

COMMANDED, CURVE = "azimuth_commanded", "azimuth_mean_curve_deg"
NAME = "pose_curves"
COLUMNS = 4


def draw(results: Iterable[StoredResult], rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``folder``/pictures/pose_curves.png with a panel per row that has curves, a line per seed; [] without any.

    Sign and offset of a map are free, as in the scores: a line may fall as well as rise.
    """
    curves: dict[tuple[object, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
    for result in sorted(results, key=lambda r: (r.cell.seed, r.key)):
        if result.status == "done" and result.cell.role != "floor":
            try:
                arrays = result.per_sample
                curve = (np.degrees(arrays[COMMANDED]), arrays[CURVE])
            except (KeyError, StoreError):
                continue
            curves.setdefault(group_of(result.cell), []).append(curve)
    panels = [(row, curves[row.group]) for row in rows if row.group in curves]
    if not panels:
        return []
    path = folder / "pictures" / f"{NAME}.png"
    write_bytes(path, _figure(panels))
    return [path]


def _figure(panels: Sequence[tuple[Row, list[tuple[np.ndarray, np.ndarray]]]]) -> bytes:
    across = min(COLUMNS, len(panels))
    down = -(-len(panels) // across)
    figure = figures.new(2.6 * across, 2.7 * down)
    axes = list(figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat)
    for axis, (row, lines) in zip(axes, panels, strict=False):
        for commanded, curve in lines:
            axis.plot(commanded, curve, marker=".", markersize=3, linewidth=1)
        axis.set_title(f"{row.label}\n{row.budget}".strip(), fontsize=8, parse_math=False)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=7)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.supxlabel("commanded azimuth (degrees)", fontsize=8)
    figure.supylabel("mean judged azimuth (degrees)", fontsize=8)
    return figures.png(figure)
