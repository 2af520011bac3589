"""Scores for anomaly maps that somebody already has, against the masks of a folder in MVTec-AD's layout."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from harness.anomaly_maps import find_maps, load_category
from harness.console import columns as aligned
from harness.data.mvtec import Item, list_tree
from harness.metrics import anomaly
from harness.metrics.anomaly_regions import Connectivity
from harness.score_output import deliver
from harness.tables.text import csv_bytes, fixed, number
from harness.types import ConfigError, DataError

LIMITS = (0.3, 0.05)
COLUMNS = (
    *("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max"),
    *(f"aupro[limit={limit:g}]" for limit in LIMITS),
    "mean7",
)
POOLED = ("pooled_image_auroc", "pooled_pixel_auroc")
RULES = ("max", "pooled_max", "mean", "topk", "std")
WHERE = "score anomaly"
POOLED_PIXELS = 200_000_000  # more are not kept in memory together


@dataclass(frozen=True)
class Settings:
    """How maps are scored: ``size`` of evaluation in pixels (None: each mask's own), ``smoothing`` as the standard
    deviation of a Gaussian in pixels of that size, pixel neighbours that join a region, rule of the image score."""

    size: int | None = None
    smoothing: float = 0.0
    connectivity: Connectivity = 8
    score: str = "max"


@dataclass(frozen=True)
class CategoryScores:
    """One category: numbers of good and defective test images, values by column, and why some are NaN."""

    good: int
    defective: int
    columns: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True)
class AnomalyScores:
    """Scores by category, unweighted means over those that have a value, pooled values, notes for the reader."""

    categories: Mapping[str, CategoryScores]
    means: Mapping[str, anomaly.CategoryMean]
    pooled: Mapping[str, float]
    facts: Mapping[str, str | int | float]
    notes: tuple[str, ...] = ()


@dataclass
class _Pool:
    """Scores and labels of all categories: of images, and of pixels while they fit into memory."""

    scores: list[NDArray[np.floating]] = field(default_factory=list)
    labels: list[NDArray[np.bool_]] = field(default_factory=list)
    size: int = 0

    def add(self, scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> None:
        self.size += scores.size
        if self.size > POOLED_PIXELS:
            self.scores, self.labels = [], []
            return
        self.scores.append(scores.ravel())
        self.labels.append(labels.ravel())

    def auroc(self) -> float:
        if not self.scores:
            return math.nan
        return anomaly.roc_auc_score(np.concatenate(self.scores), np.concatenate(self.labels))


def run(
    maps: Path,
    root: Path,
    *,
    size: str | int | None = None,
    smoothing: str | float = 0.0,
    connectivity: str | int = 8,
    score: str = "max",
    only: str = "all",
    out: str | None = None,
) -> int:
    """Score the maps below ``maps`` against the masks below ``root``, print a table and return exit code 0.

    ``only`` keeps categories, joined by ``+``; ``out`` is a folder for scores.csv and scores.json; the rest is what
    ``Settings`` says. Raises ConfigError for a wrong word, DataError for maps, masks or folders that cannot be used.
    """
    scores = score_maps(maps, root, settings(size, smoothing, connectivity, score), only=only)
    return deliver(table(scores), to_csv(scores), to_json(scores), out)


def settings(
    size: str | int | None = None, smoothing: str | float = 0.0, connectivity: str | int = 8, score: str = "max"
) -> Settings:
    """The settings of the words of a command line; raises ConfigError for one that cannot be used."""
    try:
        side = None if size is None else int(size)
        sigma, joins = float(smoothing), int(connectivity)
    except ValueError as error:
        raise ConfigError(f"size, smoothing and connectivity must be numbers ({error})", where=WHERE) from None
    if side is not None and side < 1:
        raise ConfigError(f"size={size} must be a positive whole number", where=WHERE)
    if not 0 <= sigma < math.inf:
        raise ConfigError(f"smoothing={smoothing} must be 0 or a positive number of pixels", where=WHERE)
    neighbours: Connectivity | None = next((n for n in get_args(Connectivity) if n == joins), None)
    if neighbours is None:
        raise ConfigError(f"connectivity={connectivity} is not 4 or 8", where=WHERE)
    if score not in RULES:
        raise ConfigError(f"unknown score={score}", where=WHERE, remedy=f"Known: {', '.join(RULES)}.")
    return Settings(side, sigma, neighbours, score)


def score_maps(maps: Path, root: Path, how: Settings, *, only: str = "all") -> AnomalyScores:
    """Score the map of every test image below ``root``; see ``run``.

    A category without good (or without defective) test images keeps NaN where a metric needs both; it is left out of
    that column's mean with a warning.
    """
    tree = list_tree(root, only)
    files, notes = find_maps(maps, tree)
    images, pixels = _Pool(), _Pool()
    categories: dict[str, CategoryScores] = {}
    for place, name in enumerate(tree.categories):
        items = [item for item in tree.test if item.category == place]
        categories[name] = _category(items, files, how, (images, pixels), notes)
    if not images.size:
        raise DataError("no test images", where=str(root), remedy="Expected <category>/test/good/NNN.png.")
    means = anomaly.category_means({name: entry.columns for name, entry in categories.items()})
    if pixels.size > POOLED_PIXELS:
        notes.append(f"pooled_pixel_auroc: {pixels.size:,} pixels are too many to pool; give a smaller size=")
    _warn_of_gaps(categories, means)
    facts: dict[str, str | int | float] = {
        "maps": len(files),
        "size": "that of the mask" if how.size is None else how.size,
        "map_resize": "bilinear",
        "mask_resize": "none" if how.size is None else "nearest",
        "smoothing": how.smoothing,
        "connectivity": how.connectivity,
        "score": {"pooled_max": "pooled_max (16x16)", "topk": "topk (1 %)"}.get(how.score, how.score),
    }
    pooled = dict(zip(POOLED, (images.auroc(), pixels.auroc()), strict=True))
    return AnomalyScores(categories, means, pooled, facts, (*tree.notes, *notes))


def _category(
    items: list[Item], files: Mapping[Path, Path], how: Settings, pools: tuple[_Pool, _Pool], notes: list[str]
) -> CategoryScores:
    labels = np.array([item.defect > 0 for item in items], bool)
    good, defective = int((~labels).sum()), int(labels.sum())
    if not items:
        return CategoryScores(0, 0, dict.fromkeys(COLUMNS, math.nan), "no test images")
    stack, masks, remarks = load_category(items, files, how.size, how.smoothing)
    notes += remarks
    scores = np.concatenate([anomaly.image_score(one[None], rule=how.score) for one in stack])  # type: ignore[arg-type]
    values = {
        **anomaly.image_columns(scores, labels),
        **anomaly.pixel_scores(stack, masks, fpr_limits=LIMITS, connectivity=how.connectivity),
    }
    values["mean7"] = anomaly.mean_of_seven(values)
    for pool, (found, truth) in zip(pools, ((scores, labels), (stack, masks)), strict=True):
        pool.add(found, truth)
    reasons = {
        "no good test images: image metrics are undefined, pixels of defective images alone are counted": not good,
        "no defective test images": not defective,
        "no defect is left at this size": defective and not masks.any(),
        "no normal pixel": masks.all(),
    }
    note = "; ".join(reason for reason, holds in reasons.items() if holds)
    return CategoryScores(good, defective, {name: values[name] for name in COLUMNS}, note)


def _warn_of_gaps(categories: Mapping[str, CategoryScores], means: Mapping[str, anomaly.CategoryMean]) -> None:
    gaps: dict[tuple[str, ...], list[str]] = {}
    for column, mean in means.items():
        if mean.missing:
            gaps.setdefault(mean.missing, []).append(column)
    for missing, names in gaps.items():
        why = "; ".join(f"{name} ({categories[name].note})" for name in missing)
        warnings.warn(f"the mean of {', '.join(names)} leaves out {why}", stacklevel=3)


# ------------------------------------------------------------------------------------------------------- output
def table(scores: AnomalyScores) -> str:
    """The scores as aligned text with what fixes them beneath."""
    heads = [name.replace("_", "\n", 1).replace("[limit=", "\n").replace("]", "") for name in COLUMNS]
    rows = [
        [name, str(entry.good), str(entry.defective), *(fixed(entry.columns[column], 4) for column in COLUMNS)]
        for name, entry in scores.categories.items()
    ]
    rows.append(["mean", "", "", *(fixed(scores.means[column].value, 4) for column in COLUMNS)])
    pooled = {name.removeprefix("pooled_"): value for name, value in scores.pooled.items()}
    rows.append(["pooled", "", "", *(fixed(pooled[name], 4) if name in pooled else "" for name in COLUMNS)])
    facts, how = scores.facts, scores.facts["mask_resize"]
    lines = [
        aligned(["category", "good", "defective", *heads], rows),
        "",
        f"{facts['maps']} maps; size of evaluation: {facts['size']}; maps resized {facts['map_resize']}, masks "
        f"{'as they are' if how == 'none' else how}; smoothing {facts['smoothing']} px; "
        f"connectivity {facts['connectivity']}; image score {facts['score']}",
    ]
    reasons = [f"{name}: {entry.note}" for name, entry in scores.categories.items() if entry.note]
    return "\n".join([*lines, *(f"note: {text}" for text in (*reasons, *scores.notes))])


def to_csv(scores: AnomalyScores) -> bytes:
    """One line per category, then the mean and the pooled values; empty for NaN."""
    lines = [
        ["category", name, str(entry.good), str(entry.defective)]
        + [number(entry.columns[column]) for column in COLUMNS]
        + ["", "", entry.note]
        for name, entry in scores.categories.items()
    ]
    lines.append(["mean", "", "", "", *(number(scores.means[column].value) for column in COLUMNS), "", "", ""])
    lines.append(["pooled", "", "", "", *[""] * len(COLUMNS), *(number(scores.pooled[name]) for name in POOLED), ""])
    return csv_bytes(["row", "category", "good", "defective", *COLUMNS, *POOLED, "note"], lines)


def to_json(scores: AnomalyScores) -> bytes:
    """The same as JSON, with the settings and notes; NaN is null."""

    def plain(values: Mapping[str, float]) -> dict[str, float | None]:
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    content = {
        "facts": dict(scores.facts),
        "categories": {
            name: {"good": e.good, "defective": e.defective, "metrics": plain(e.columns), "note": e.note}
            for name, e in scores.categories.items()
        },
        "mean": plain({name: mean.value for name, mean in scores.means.items()}),
        "left_out_of_mean": {name: list(mean.missing) for name, mean in scores.means.items() if mean.missing},
        "pooled": plain(scores.pooled),
        "notes": list(scores.notes),
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
