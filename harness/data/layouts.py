"""Published image layouts under a folder given by the user: which files belong to which split, and their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from harness.data.pictures import image_paths
from harness.types import DataError

Options = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Listing:
    """What a layout found: per split the files in order; ``categories`` (int) and ``attributes`` (-1 or 1) and
    ``landmarks`` (x, y in pixels of the file) by file; ``notes`` for the user."""

    splits: dict[str, tuple[Path, ...]]
    category_names: tuple[str, ...] = ()
    categories: dict[Path, int] = field(default_factory=dict)
    attribute_names: tuple[str, ...] = ()
    attributes: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    landmark_names: tuple[str, ...] = ()
    landmarks: dict[Path, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A published layout: how to list it, the usual pose prior, its options with defaults, the licence line."""

    list_files: Callable[[Path, Options], Listing]
    prior: str | None
    options: dict[str, str | int | float | bool]
    licence: str


def _flat(root: Path, options: Options) -> Listing:
    """Folders train, val, test where they exist; else the share ``holdout`` of the files, evenly spread, is test."""
    named = {name: root / name for name in ("train", "val", "test") if (root / name).is_dir()}
    if "train" in named:
        return Listing({name: tuple(image_paths(folder)) for name, folder in named.items()})
    return Listing(_held_out(image_paths(root), float(options["holdout"])))


def _held_out(paths: Sequence[Path], share: float) -> dict[str, tuple[Path, ...]]:
    if not 0 <= share < 1:
        raise DataError(
            f"holdout={share} is not in [0, 1)", remedy="It is the share of images kept for the test split."
        )
    step = round(1 / share) if share else len(paths) + 1
    test = tuple(paths[step - 1 :: step])
    train = tuple(path for k, path in enumerate(paths) if (k + 1) % step)
    return {"train": train, "test": test} if test else {"train": train}


def _ffhq(root: Path, options: Options) -> Listing:
    """``images1024x1024`` or ``thumbnails128x128`` with folders of 1,000, or a flat folder; numbers from 60000 on are
    the official validation part."""
    folder = next((root / name for name in ("images1024x1024", "thumbnails128x128") if (root / name).is_dir()), root)
    paths = [path for path in image_paths(folder) if path.stem.isdigit()]
    if not paths:
        raise DataError(
            "no FFHQ file names found",
            where=str(root),
            remedy="Expected images1024x1024/NNNNN/NNNNN.png, thumbnails128x128/NNNNN/NNNNN.png, or NNNNN.png.",
        )
    notes = _count_note("FFHQ", len(paths), 70000)
    if options["use"] == "all":
        return Listing({"train": tuple(paths)}, notes=notes)
    parts = {
        "train": tuple(path for path in paths if int(path.stem) < 60000),
        "test": tuple(path for path in paths if int(path.stem) >= 60000),
    }
    return Listing({name: files for name, files in parts.items() if files}, notes=notes)


def _afhq(root: Path, options: Options) -> Listing:
    """``train`` and ``val`` (version 1) or ``test`` (version 2), each with cat, dog and wild."""
    kinds = ("cat", "dog", "wild")
    wanted = kinds if options["domain"] == "all" else (str(options["domain"]),)
    if not set(wanted) <= set(kinds):
        near = get_close_matches(wanted[0], kinds, n=1)
        raise DataError(
            f"unknown domain '{wanted[0]}'", where="afhq", nearest=near, remedy="Use cat, dog, wild or all."
        )
    splits: dict[str, tuple[Path, ...]] = {}
    categories: dict[Path, int] = {}
    for name, folders in (("train", ("train",)), ("test", ("test", "val"))):
        folder = next((root / f for f in folders if (root / f).is_dir()), None)
        if folder is None:
            raise DataError(f"folder {' or '.join(folders)} is missing", where=str(root), remedy=_AFHQ_REMEDY)
        files: list[Path] = []
        for kind in wanted:
            found = image_paths(folder / kind)
            categories |= dict.fromkeys(found, kinds.index(kind))
            files += found
        splits[name] = tuple(files)
    return Listing(splits, category_names=kinds, categories=categories)


_AFHQ_REMEDY = "Expected {train,val}/{cat,dog,wild}/*.jpg (version 1) or {train,test}/{cat,dog,wild}/*.png (version 2)."


def _celeba(root: Path, options: Options) -> Listing:
    """``Img/img_align_celeba`` (or flat) with the partition, attribute and landmark lists beside it."""
    places = (root / "Img" / "img_align_celeba", root / "img_align_celeba", root)
    paths = image_paths(next(place for place in places if place.is_dir()))
    by_name = {path.name: path for path in paths}
    parts: dict[str, list[Path]] = {"train": [], "val": [], "test": []}
    for name, number in _rows(_find(root, "Eval", "list_eval_partition.txt"), header=0):
        if name in by_name:
            parts[("train", "val", "test")[int(number[0])]].append(by_name[name])
    attribute_names, attributes = _labels(root, "list_attr_celeba.txt", by_name)
    landmark_names, landmarks = _labels(root, "list_landmarks_align_celeba.txt", by_name)
    return Listing(
        {name: tuple(files) for name, files in parts.items() if files},
        attribute_names=attribute_names,
        attributes={path: tuple(int(v) for v in row) for path, row in attributes.items()},
        landmark_names=landmark_names,
        landmarks={path: tuple(float(v) for v in row) for path, row in landmarks.items()},
        notes=_count_note("CelebA", len(paths), 202599),
    )


def _find(root: Path, folder: str, name: str) -> Path:
    for path in (root / folder / name, root / name):
        if path.is_file():
            return path
    raise DataError(f"{folder}/{name} is missing", where=str(root), remedy="It is part of the CelebA download.")


def _labels(root: Path, name: str, by_name: Mapping[str, Path]) -> tuple[tuple[str, ...], dict[Path, tuple[str, ...]]]:
    """Column names and rows of a CelebA annotation file (line 1: count, line 2: names); nothing where it is absent."""
    try:
        path = _find(root, "Anno", name)
    except DataError:
        return (), {}
    lines = path.read_text(encoding="utf-8").splitlines()
    names = tuple(lines[1].split()) if len(lines) > 1 else ()
    rows = {by_name[file]: values for file, values in _rows(path, header=2) if file in by_name}
    for file, values in rows.items():
        if len(values) != len(names):
            raise DataError(f"{len(values)} values for {len(names)} columns", where=f"{path}, line of {file.name}")
    return names, rows


def _rows(path: Path, header: int) -> list[tuple[str, tuple[str, ...]]]:
    lines = path.read_text(encoding="utf-8").splitlines()[header:]
    return [(pieces[0], tuple(pieces[1:])) for pieces in (line.split() for line in lines) if pieces]


def _count_note(name: str, found: int, official: int) -> tuple[str, ...]:
    return () if found == official else (f"{found} images found, {name} has {official}",)


LAYOUTS: dict[str, Layout] = {
    "flat": Layout(_flat, None, {"holdout": 0.1}, "as stated by the owner of the images"),
    "ffhq": Layout(
        _ffhq,
        "front_gauss",
        {"use": "split"},
        "images under several CC licences, set CC BY-NC-SA 4.0; no face recognition",
    ),
    "afhq": Layout(_afhq, "front_uniform", {"domain": "all"}, "CC BY-NC 4.0"),
    "celeba": Layout(_celeba, "front_gauss", {}, "non-commercial research only"),
}


def matrix(rows: Mapping[Path, tuple[float, ...]], paths: Sequence[Path], dtype: str) -> np.ndarray:
    """The rows of ``paths`` as one array [N, columns]; raises DataError for a file without a row."""
    missing = [path for path in paths if path not in rows]
    if missing:
        raise DataError(f"no annotation for {missing[0].name}", where=str(missing[0].parent))
    return np.array([rows[path] for path in paths], dtype)
