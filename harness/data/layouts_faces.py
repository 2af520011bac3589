"""Published folders of faces: FFHQ, AFHQ and CelebA."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain, zip_longest
from pathlib import Path

from harness.data.listing import Listing, Options, count_note, one_of
from harness.data.pictures import image_paths
from harness.types import DataError


def list_ffhq(root: Path, options: Options) -> Listing:
    """``images1024x1024`` or ``thumbnails128x128`` with folders of 1,000, or a flat folder.

    The official parts are what ``ffhq-dataset-v2.json`` calls training and validation, else numbers below and from
    60000. With ``use=all``, as papers do, every image is in both training and test.
    """
    one_of(options, "use", ("split", "all"))
    folder = next((root / name for name in ("images1024x1024", "thumbnails128x128") if (root / name).is_dir()), root)
    paths = [path for path in image_paths(folder) if path.stem.isdigit()]
    if not paths:
        raise DataError(
            "no FFHQ file names found",
            where=str(root),
            remedy="Expected images1024x1024/NNNNN/NNNNN.png, thumbnails128x128/NNNNN/NNNNN.png, or NNNNN.png.",
        )
    notes = count_note("FFHQ", len(paths), 70000)
    if options["use"] == "all":
        note = "use=all: the test images are the training images, as in papers that compare with all of FFHQ"
        return Listing({"train": tuple(paths), "test": tuple(paths)}, notes=(*notes, note))
    stated = _ffhq_parts(root / "ffhq-dataset-v2.json")
    parts: dict[str, list[Path]] = {"train": [], "test": []}
    for path in paths:
        number = int(path.stem)
        parts[stated.get(number, "train" if number < 60000 else "test")].append(path)
    if not parts["train"]:
        raise DataError("no image of the training part", where=str(root), remedy="Say data.options.use=all.")
    return Listing({name: tuple(files) for name, files in parts.items() if files}, notes=notes)


def _ffhq_parts(path: Path) -> dict[int, str]:
    """Split by number of the image, as the official list states it; nothing where the list is absent."""
    if not path.is_file():
        return {}
    names = {"training": "train", "validation": "test"}
    try:
        return {int(key): names[entry["category"]] for key, entry in json.loads(path.read_text("utf-8")).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"cannot be read ({error!r})",
            where=str(path),
            remedy='Expected {"0": {"category": "training", ...}, ...}; without the file numbers decide.',
        ) from error


_KINDS = ("cat", "dog", "wild")
_AFHQ = {"1": ((5153, 4739, 4738), (500, 500, 500)), "2": ((5065, 4678, 4593), (493, 491, 483))}


def list_afhq(root: Path, options: Options) -> Listing:
    """``train`` and ``val`` (version 1) or ``test`` (version 2), each with cat, dog and wild, taken in turn.

    So the first images of the training part are of all kinds.
    """
    one_of(options, "domain", (*_KINDS, "all"))
    wanted = _KINDS if options["domain"] == "all" else (str(options["domain"]),)
    version = "2" if (root / "test").is_dir() else "1"
    splits: dict[str, tuple[Path, ...]] = {}
    categories: dict[Path, int] = {}
    notes: list[str] = []
    for column, (name, folders) in enumerate((("train", ("train",)), ("test", ("test", "val")))):
        folder = next((root / f for f in folders if (root / f).is_dir()), None)
        if folder is None:
            raise DataError(f"folder {' or '.join(folders)} is missing", where=str(root), remedy=_AFHQ_REMEDY)
        files: list[list[Path]] = []
        for kind in wanted:
            found, number = image_paths(folder / kind), _KINDS.index(kind)
            categories |= dict.fromkeys(found, number)
            files.append(found)
            official = _AFHQ[version][column][number]
            notes += count_note(f"AFHQ v{version} {folder.name}/{kind}", len(found), official)
        splits[name] = tuple(path for path in chain.from_iterable(zip_longest(*files)) if path is not None)
    return Listing(splits, category_names=_KINDS, categories=categories, notes=tuple(notes))


_AFHQ_REMEDY = "Expected {train,val}/{cat,dog,wild}/*.jpg (version 1) or {train,test}/{cat,dog,wild}/*.png (version 2)."


def list_celeba(root: Path, options: Options) -> Listing:
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
        notes=count_note("CelebA", len(paths), 202599),
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
