"""Published image layouts under a folder given by the user: which files belong to which split, and their labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.layouts_faces import list_afhq, list_celeba, list_ffhq
from harness.data.listing import Listing, Options, count_note, one_of
from harness.data.pictures import image_paths
from harness.data.subsets import held_out, subset, subset_size
from harness.types import ConfigError, DataError


@dataclass(frozen=True)
class Layout:
    """A published layout: how to list it, the usual pose prior, its options with defaults, the licence line."""

    list_files: Callable[[Path, Options], Listing]
    prior: str | None
    options: dict[str, str | int | float | bool]
    licence: str


def list_layout(layout: str, root: Path, options: Options, seed: int) -> Listing:
    """What ``layout`` finds below ``root``; ``subset`` N > 0 keeps N training images in an order drawn by ``seed``.

    Raises DataError for a folder that does not fit, and where it has fewer than N; ConfigError for an option.
    """
    count = subset_size(options["subset"])
    found = LAYOUTS[layout].list_files(root, options)
    if "train" not in found.splits:
        raise DataError("there are no training images", where=str(root))
    return replace(found, splits={**found.splits, "train": subset(found.splits["train"], count, seed)})


def _flat(root: Path, options: Options) -> Listing:
    """Folders train, val, test where they exist; else the share ``holdout`` of the files, evenly spread, is test.

    ``dataset.json`` may hold ``labels``: pairs of a path below the root and a class from 0, or EG3D's 25 numbers.
    """
    named = {name: root / name for name in ("train", "val", "test") if (root / name).is_dir()}
    if "train" in named:
        splits = {name: tuple(image_paths(folder)) for name, folder in named.items()}
    else:
        splits = held_out(image_paths(root), options["holdout"])
    path = root / "dataset.json"
    labels = _labels(root, path, [file for part in splits.values() for file in part])
    if any(isinstance(label, list) for label in labels.values()):
        return Listing(splits, poses=_poses(labels, path))
    categories = _classes(labels, path)
    names = tuple(f"class {number}" for number in range(max(categories.values(), default=-1) + 1))
    return Listing(splits, category_names=names, categories=categories)


def _labels(root: Path, path: Path, files: Sequence[Path]) -> dict[Path, Any]:
    """What ``dataset.json`` says of each file; nothing where it is absent or its labels are null."""
    if not path.is_file():
        return {}
    try:
        labels = {str(name): label for name, label in json.loads(path.read_text("utf-8"))["labels"] or ()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, repr(error)) from error
    missing = [file for file in files if labels and file.relative_to(root).as_posix() not in labels]
    if missing:
        raise DataError(f"says nothing of {missing[0].relative_to(root)}", where=str(path))
    return {file: labels[file.relative_to(root).as_posix()] for file in files} if labels else {}


def _classes(labels: Mapping[Path, Any], path: Path) -> dict[Path, int]:
    try:
        classes = {file: int(label) for file, label in labels.items()}
    except (ValueError, TypeError) as error:
        raise _unreadable(path, repr(error)) from error
    if classes and min(classes.values()) < 0:
        raise DataError(f"holds the class {min(classes.values())}", where=str(path), remedy="Classes count from 0.")
    return classes


def _poses(labels: Mapping[Path, Any], path: Path) -> dict[Path, tuple[float, ...]]:
    """Azimuth, elevation and radius of cameras given as EG3D does: ``cam2world`` row by row, then intrinsics."""
    # As camera_conversions.from_eg3d, of which this needs the position alone; listings answer without torch.
    try:
        numbers = np.array([[float(number) for number in label] for label in labels.values()])
        found = numbers.reshape(-1, 25) if np.isfinite(numbers).all() else None
    except (ValueError, TypeError):
        found = None
    if found is None or len(found) != len(labels):
        raise _unreadable(path, "a pose needs 25 finite numbers, and where one is given all files need one")
    x, y, z = found[:, [3, 7, 11]].T
    radius = np.sqrt(x * x + y * y + z * z)
    if not radius.all():
        file = list(labels)[int(np.argmin(radius))]
        raise DataError(f"the camera of {file.name} stands at the origin and has no azimuth", where=str(path))
    angles = np.stack((np.arctan2(x, z), np.arctan2(y, np.hypot(x, z)), radius), 1)
    return {file: tuple(row) for file, row in zip(labels, angles.tolist(), strict=True)}


def _unreadable(path: Path, problem: str) -> DataError:
    remedy = 'Expected {"labels": [["path/below/root.png", 0], ...]}, 25 numbers in place of 0 for a pose, or null.'
    return DataError(f"cannot be read ({problem})", where=str(path), remedy=remedy)


_LSUN = {"bedroom": 3033042, "church_outdoor": 126227, "kitchen": 2212277, "cat": 1657266}
_LSUN_VAL = 300


def _lsun(root: Path, options: Options) -> Listing:
    """Exported pictures at any depth below ``<domain>_train`` and ``<domain>_val``, ``train`` and ``val``, or the root.

    The share ``holdout`` of the training pictures, evenly spread, is test; the few official val pictures are val.
    """
    if any((place / "data.mdb").is_file() for place in (root, *root.glob("*"))):
        raise DataError("is an LMDB", where=str(root), remedy="Export it to jpg or webp files first: LMDB is not read.")
    domain = _domain(root, options)
    places = {part: (root / f"{domain}_{part}", root / part) for part in ("train", "val")}
    train, val = (next((place for place in places[part] if place.is_dir()), None) for part in ("train", "val"))
    if train is None and val is not None:
        raise DataError(f"{val.name} is there, and no folder of training pictures", where=str(root))
    found = image_paths(train or root)
    splits = held_out(found, options["holdout"])
    notes = count_note(f"LSUN {domain} train", len(found), _LSUN[domain]) if domain in _LSUN else ()
    if val is not None:
        splits["val"] = tuple(image_paths(val))
        notes += count_note(f"LSUN {domain} val", len(splits["val"]), _LSUN_VAL)
    return Listing(splits, notes=notes)


def _domain(root: Path, options: Options) -> str:
    """The part of LSUN that is meant: the option, or the only one that is there."""
    there = sorted({path.name.rpartition("_")[0] for part in ("train", "val") for path in root.glob(f"*_{part}")})
    known = there or [name for name in _LSUN if root.name.startswith(name)]
    if options["domain"] != "auto":
        one_of(options, "domain", there or (*_LSUN, "auto"))
        return str(options["domain"])
    if len(known) > 1:
        raise ConfigError(
            f"holds {', '.join(known)}", where=str(root), remedy=f"Say data.options.domain={known[0]} for one of them."
        )
    return known[0] if known else ""


LAYOUTS: dict[str, Layout] = {
    "flat": Layout(_flat, None, {"holdout": 0.1}, "as stated by the owner of the images"),
    "ffhq": Layout(
        list_ffhq,
        "front_gauss",
        {"use": "split"},
        "images under several CC licences, set CC BY-NC-SA 4.0; no face recognition",
    ),
    "afhq": Layout(list_afhq, "front_uniform", {"domain": "all"}, "CC BY-NC 4.0"),
    "lsun": Layout(
        _lsun, None, {"domain": "auto", "holdout": 0.01}, "research only, the images belong to their owners"
    ),
    "celeba": Layout(list_celeba, "front_gauss", {}, "non-commercial research only"),
}


def matrix(rows: Mapping[Path, tuple[float, ...]], paths: Sequence[Path], dtype: str) -> np.ndarray:
    """The rows of ``paths`` as one array [N, columns]; raises DataError for a file without a row."""
    missing = [path for path in paths if path not in rows]
    if missing:
        raise DataError(f"no annotation for {missing[0].name}", where=str(missing[0].parent))
    return np.array([rows[path] for path in paths], dtype)
