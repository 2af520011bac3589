"""Scores for label maps that somebody already has: two folders of PNG files, no training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from harness.console import columns as aligned
from harness.data.label_files import read_numbers
from harness.data.label_ids import CITYSCAPES, IGNORE, TABLES, VOC, to_train_ids
from harness.label_folders import find_pairs
from harness.metrics import segmentation
from harness.metrics.errors import MetricError
from harness.metrics.segmentation_scores import Absent, Missing, nan_mean
from harness.score_output import deliver
from harness.tables.text import csv_bytes, fixed, number
from harness.types import ConfigError, DataError

WHERE = "score segmentation"
SUBSETS = {16: segmentation.SYNTHIA_16, 13: segmentation.SYNTHIA_13}
LISTS: dict[str, tuple[str, ...]] = {"cityscapes": CITYSCAPES, "voc": VOC}
IDS = ("labelTrainIds", "labelIds")
COLUMNS = ("truth", "predicted", "iou", "acc")


@dataclass(frozen=True)
class Settings:
    """How maps are scored: ``names`` of the classes, the ``ignore`` label, the classes of the mean (``subset``, empty:
    all) and what becomes of truth outside it (``missing``) and of classes in neither map (``absent``), and the numbers
    in the truth's files (``ids``: train-ids, or Cityscapes' own, which are mapped)."""

    names: tuple[str, ...]
    ignore: int = IGNORE
    subset: tuple[int, ...] = ()
    missing: Missing = "row"
    absent: Absent = "skip"
    ids: str = IDS[0]


@dataclass(frozen=True)
class SegmentationScores:
    """The confusion matrix int64 [C,C] of the whole set (rows = truth), values by column, notes for the reader."""

    matrix: NDArray[np.int64]
    columns: Mapping[str, float]
    facts: Mapping[str, str | int]
    how: Settings
    notes: tuple[str, ...] = ()


def run(
    preds: Path,
    target: Path,
    *,
    classes: str | int | None = None,
    ignore: str | int = IGNORE,
    subset: str | int | None = None,
    missing: str | None = None,
    absent: str = "skip",
    names: str | None = None,
    ids: str = IDS[0],
    out: str | None = None,
) -> int:
    """Score the label images below ``preds`` against those below ``target``, print a table and return exit code 0.

    ``names`` is cityscapes, voc, or as many names as ``classes``, joined by ``+``; ``out`` is a folder for scores.csv
    and scores.json; the rest is what ``Settings`` says. Raises ConfigError for a wrong word, DataError for files that
    cannot be used.
    """
    scores = score_folders(preds, target, settings(classes, ignore, subset, missing, absent, names, ids))
    return deliver(table(scores), to_csv(scores), to_json(scores), out)


def settings(
    classes: str | int | None,
    ignore: str | int = IGNORE,
    subset: str | int | None = None,
    missing: str | None = None,
    absent: str = "skip",
    names: str | None = None,
    ids: str = IDS[0],
) -> Settings:
    """The settings of the words of a command line; raises ConfigError for one that cannot be used."""
    if classes is None:
        raise ConfigError("classes=... is missing", where=WHERE, remedy="Give the number of classes: classes=19.")
    count, left_out = _whole("classes", classes, 1), _whole("ignore", ignore, 0)
    part = None if subset is None else _whole("subset", subset, 1)
    if left_out < count:
        raise ConfigError(
            f"ignore={left_out} is one of {count} classes",
            where=WHERE,
            remedy=f"Give a number from {count} on; usual is ignore=255.",
        )
    if part is not None and (part not in SUBSETS or count != len(CITYSCAPES)):
        raise ConfigError(
            f"subset={part} of {count} classes", where=WHERE, remedy="Known: 16 and 13 of Cityscapes' 19 classes."
        )
    if missing is not None and part is None:
        raise ConfigError("missing= is about truth outside subset=, which is not given", where=WHERE)
    rule: Missing | None = next((word for word in get_args(Missing) if word == (missing or "row")), None)
    empty: Absent | None = next((word for word in get_args(Absent) if word == absent), None)
    if rule is None or empty is None:
        wrong, known = (f"missing={missing}", Missing) if rule is None else (f"absent={absent}", Absent)
        raise ConfigError(f"unknown {wrong}", where=WHERE, remedy=f"Known: {', '.join(get_args(known))}.")
    if ids not in IDS or (ids != IDS[0] and (count, left_out) != (len(CITYSCAPES), IGNORE)):
        raise ConfigError(
            f"ids={ids} with classes={count} and ignore={left_out}",
            where=WHERE,
            remedy=f"Known: {', '.join(IDS)}; the second needs classes=19 and ignore=255.",
        )
    known_names = _names(names or ("cityscapes" if part is not None or ids != IDS[0] else None), count)
    return Settings(known_names, left_out, () if part is None else SUBSETS[part], rule, empty, ids)


def score_folders(preds: Path, target: Path, how: Settings) -> SegmentationScores:
    """One confusion matrix over all images, read one at a time; see ``run``."""
    pairs, notes = find_pairs(preds, target, how.ids)
    counts = segmentation.ConfusionMatrix(len(how.names), ignore_index=how.ignore)
    blank: list[str] = []
    for name, (found, truth) in pairs.items():
        before = counts.matrix.sum()
        _add(counts, found, truth, how)
        if counts.matrix.sum() == before:
            blank.append(name)
    if len(blank) == len(pairs):
        raise DataError(
            f"no pixel counts: all of {len(pairs)} label images hold only the ignored label {how.ignore}",
            where=str(target),
            remedy="Are these the labels, and is ignore= right?",
        )
    if blank:
        notes.append(f"{len(blank)} label images hold only the ignored label and add nothing, the first is {blank[0]}")
    columns = _columns(counts.matrix, how)
    used = how.subset or range(len(how.names))
    undefined = [how.names[k] for k in used if not (counts.matrix[k].any() or counts.matrix[:, k].any())]
    if undefined:
        done = "left out of the mean" if how.absent == "skip" else "counted as 0 in the mean"
        notes.append(f"in neither truth nor prediction, {done}: {', '.join(undefined)}")
    facts: dict[str, str | int] = {
        "images": len(pairs),
        "pixels": int(counts.matrix.sum()),
        "classes": len(how.names),
        "ignore": how.ignore,
        "subset": len(how.subset) or "all",
        "missing": how.missing if how.subset else "none",
        "absent": how.absent,
        "ids": how.ids,
        "resize": "none",
    }
    return SegmentationScores(counts.matrix, columns, facts, how, tuple(notes))


def _add(counts: segmentation.ConfusionMatrix, found: Path, truth: Path, how: Settings) -> None:
    labels, wanted = read_numbers(found), read_numbers(truth)
    if labels.shape != wanted.shape:
        sizes = [f"{shape[1]}x{shape[0]}" for shape in (labels.shape, wanted.shape)]
        raise DataError(
            f"the prediction is {sizes[0]} px, but its truth {truth.name} is {sizes[1]} px",
            where=str(found),
            remedy="Resize logits, not labels, to the truth's size before taking the best class.",
        )
    if how.ids != IDS[0]:
        wanted = to_train_ids(wanted, TABLES[how.ids], truth)
    try:
        counts.update(labels, wanted)
    except MetricError as error:
        blamed = truth if error.what.startswith("target") else found
        raise DataError(
            error.what, where=str(blamed), remedy=f"Labels are 0..{len(how.names) - 1}, or {how.ignore} in the truth."
        ) from error


def _columns(matrix: NDArray[np.int64], how: Settings) -> dict[str, float]:
    """The mean that was asked for, then the columns that are always there."""
    miou = segmentation.mean_iou(matrix, classes=how.subset or None, missing=how.missing, absent=how.absent)
    keys = [f"classes={len(how.subset)}"] * bool(how.subset) + ["missing=ignore"] * (how.missing == "ignore")
    keys += ["absent=zero"] * (how.absent == "zero")
    head, tail = segmentation.head_and_tail(matrix)
    return {
        f"miou[{'|'.join(keys)}]" if keys else "miou": miou,
        "miou[classes=head]": segmentation.mean_iou(matrix, classes=head),
        "miou[classes=tail]": segmentation.mean_iou(matrix, classes=tail),
        "pixel_acc": segmentation.pixel_accuracy(matrix),
        "class_acc": nan_mean(segmentation.class_accuracy(matrix)),
        "fw_iou": segmentation.frequency_weighted_iou(matrix),
    }


def _whole(key: str, value: str | int, least: int) -> int:
    try:
        number_given = int(value)
    except ValueError:
        number_given = least - 1
    if number_given < least:
        raise ConfigError(f"{key}={value} must be a whole number from {least} on", where=WHERE)
    return number_given


def _names(given: str | None, count: int) -> tuple[str, ...]:
    if given is None:
        return tuple(str(k) for k in range(count))
    names = LISTS.get(given, tuple(given.split("+")))
    if len(set(names)) != count or len(names) != count:
        raise ConfigError(
            f"names={given} are {len(set(names))} different names for {count} classes",
            where=WHERE,
            remedy=f"Give {', '.join(LISTS)} or as many names as classes, joined by +.",
        )
    return names


# ------------------------------------------------------------------------------------------------------- output
def _rows(scores: SegmentationScores) -> list[tuple[str, int, int, float, float]]:
    """Name, pixels of truth, pixels predicted, IoU and accuracy of every class; IoUs are those that the mean is of."""
    matrix, how = scores.matrix, scores.how
    iou, acc = segmentation.iou_per_class(matrix), segmentation.class_accuracy(matrix)
    if how.subset:
        iou[list(how.subset)] = segmentation.iou_per_class(matrix, classes=how.subset, missing=how.missing)
    return [
        (name, int(matrix[k].sum()), int(matrix[:, k].sum()), float(iou[k]), float(acc[k]))
        for k, name in enumerate(scores.how.names)
    ]


def table(scores: SegmentationScores) -> str:
    """The scores as aligned text with what fixes them beneath; a star marks the classes of a subset."""
    total, facts = int(scores.facts["pixels"]), scores.facts
    stars = ["*" if k in scores.how.subset else "" for k in range(len(scores.how.names))]
    rows = [
        [f"{name} {star}".rstrip(), *(fixed(100 * n / total, 2) for n in (truth, found)), fixed(iou, 4), fixed(acc, 4)]
        for star, (name, truth, found, iou, acc) in zip(stars, _rows(scores), strict=True)
    ]
    means = [[name, fixed(value, 4)] for name, value in scores.columns.items()]
    lines = [
        aligned(["class", "truth %", "predicted %", "IoU", "accuracy"], rows),
        "",
        aligned(["over the whole set", "value"], means),
        "",
        f"{facts['images']} images, {facts['pixels']:,} pixels; label {facts['ignore']} ignored; mean over "
        f"{facts['subset']} classes; absent classes: {facts['absent']}; truth outside the mean: {facts['missing']}",
    ]
    return "\n".join([*lines, *(f"note: {text}" for text in scores.notes)])


def to_csv(scores: SegmentationScores) -> bytes:
    """One line per class, then one per value of the whole set; empty for NaN."""
    lines = [
        ["class", name, str(truth), str(found), number(iou), number(acc), ""]
        for name, truth, found, iou, acc in _rows(scores)
    ]
    lines += [["set", name, *[""] * len(COLUMNS), number(value)] for name, value in scores.columns.items()]
    return csv_bytes(["row", "name", *COLUMNS, "value"], lines)


def to_json(scores: SegmentationScores) -> bytes:
    """The same as JSON, with the settings, notes and the matrix from which every value follows; NaN is null."""

    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    content = {
        "facts": dict(scores.facts),
        "classes": {name: {"iou": plain(iou), "acc": plain(acc)} for name, _, _, iou, acc in _rows(scores)},
        "values": {name: plain(value) for name, value in scores.columns.items()},
        "names": list(scores.how.names),
        "matrix": scores.matrix.tolist(),
        "notes": list(scores.notes),
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
