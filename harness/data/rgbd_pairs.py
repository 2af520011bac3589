"""Folders of pictures with depth maps: which picture belongs to which map, and what cannot be used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from PIL import Image

from harness.data.decoding import decoding
from harness.data.depth_files import depth_size, read_depth
from harness.data.pictures import image_paths, open_picture
from harness.data.subsets import check_enough, held_out, shuffled, subset_size
from harness.types import DataError

Options = Mapping[str, str | int | float | bool]
PARTS = ("train", "val", "test")
UNUSABLE = ("error", "skip")
_LAYOUT = "Expected rgb/ and depth/, or both below train/ and val/, or train.json with rgb_paths and depth_paths."
_SKIP = "Mend the files, or leave such pairs out with data.options.unusable=skip."


@dataclass(frozen=True)
class RgbdPair:
    """A picture and its depth map; ``name`` is their common path without the ending."""

    name: str
    image: Path
    depth: Path | None


@dataclass(frozen=True)
class RgbdListing:
    """Pairs by split in order, notes for the user, and the ``lists`` that were read."""

    splits: dict[str, tuple[RgbdPair, ...]]
    notes: tuple[str, ...]
    lists: tuple[Path, ...]


def list_pairs(root: Path, options: Options, seed: int) -> RgbdListing:
    """The pairs below ``root`` in the order of their paths, a held-out part as ``test``.

    Lists (``train.json``, ``val.json``, ``test.json``) go before folders of these names, and these before one ``rgb``
    and ``depth`` of which the share ``holdout`` is held out. Without a test part val is the test. ``subset`` N > 0
    keeps the first N usable training pairs in an order shuffled by ``seed``; ``unusable`` says whether a pair that
    cannot be used is an error or skipped and counted. Raises DataError, ConfigError for an option.
    """
    notes: list[str] = []
    lists = tuple(root / f"{part}.json" for part in PARTS if (root / f"{part}.json").is_file())
    if lists:
        found = {path.stem: _paired(*_listed(root, path), notes, path.name) for path in lists}
    else:
        folders = {part: root / part for part in PARTS if (root / part / "rgb").is_dir()} or {"train": root}
        found = {part: _paired(*_below(root, folder), notes, part) for part, folder in folders.items()}
    if "train" not in found:
        raise DataError("there is no training part", where=str(root), remedy=_LAYOUT)
    count, skip = subset_size(options["subset"]), options["unusable"] == "skip"
    if "test" not in found and "val" in found:
        found["test"] = found.pop("val")
    splits: dict[str, Sequence[RgbdPair]] = dict(found)
    if set(splits) == {"train"}:
        splits = dict(held_out(found["train"], options["holdout"]))
    check_enough(len(splits["train"]), count)
    if count:
        splits["train"] = shuffled(splits["train"], seed)
    usable = {
        part: _usable(pairs, part, count if part == "train" else 0, skip, notes) for part, pairs in splits.items()
    }
    check_enough(len(usable["train"]), count)
    return RgbdListing(usable, tuple(notes), lists)


def _below(root: Path, folder: Path) -> tuple[list[Path], list[Path], Path]:
    for name in ("rgb", "depth"):
        if not (folder / name).is_dir():
            raise DataError(f"{name}/ is missing", where=str(folder), remedy=_LAYOUT)
    return image_paths(folder / "rgb"), image_paths(folder / "depth"), root


def _listed(root: Path, path: Path) -> tuple[list[Path], list[Path], Path]:
    """Files named by the entries ``rgb_paths`` and ``depth_paths`` of a list, in the order of their names."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = [sorted(content[key]) for key in ("rgb_paths", "depth_paths")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the list cannot be read ({error!r})",
            where=str(path),
            remedy='Expected {"rgb_paths": [...], "depth_paths": [...]} with paths below the root.',
        ) from error
    for name in (*names[0], *names[1]):
        if not isinstance(name, str) or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(f"names {name!r}", where=str(path), remedy="Give paths below the root.")
        if not (root / name).is_file():
            raise DataError(f"names {name}, which does not exist", where=str(path))
    if not names[0]:
        raise DataError("the list names no picture", where=str(path))
    return [root / name for name in names[0]], [root / name for name in names[1]], root


def _paired(images: Sequence[Path], depths: Sequence[Path], root: Path, notes: list[str], part: str) -> list[RgbdPair]:
    """Every picture with the depth map of its name, None where there is none."""
    maps = _by_name(depths, root)
    pictures = _by_name(images, root)
    lonely = sorted(set(maps) - set(pictures))
    if lonely:
        notes.append(f"{part}: {len(lonely)} depth maps have no picture, the first is {lonely[0]}")
    if not set(maps) & set(pictures):
        first = next(iter(pictures))
        raise DataError(
            f"no picture has a depth map of its name, the first is {first}",
            where=str(images[0].parent),
            nearest=get_close_matches(first, maps, n=1),
            remedy="rgb/NAME.jpg and depth/NAME.png belong together.",
        )
    return [RgbdPair(name, pictures[name], maps.get(name)) for name in sorted(pictures)]


def _by_name(paths: Sequence[Path], root: Path) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        pieces = [piece for piece in path.relative_to(root).with_suffix("").parts if piece not in ("rgb", "depth")]
        name = "/".join(pieces)
        if name in named:
            raise DataError(f"{named[name].name} and {path.name} have one name", where=str(path.parent))
        named[name] = path
    return named


def _usable(pairs: Sequence[RgbdPair], part: str, count: int, skip: bool, notes: list[str]) -> tuple[RgbdPair, ...]:
    """The first ``count`` usable pairs (0: all). Files are decoded where bad ones are skipped; else only their heads
    are read here, and what is found on decoding is an error then."""
    kept: list[RgbdPair] = []
    problems: list[str] = []
    for pair, problem in _examined(pairs, decode=skip):
        if problem:
            problems.append(problem)
        else:
            kept.append(pair)
        if count and len(kept) == count:
            break
    seen = len(kept) + len(problems)
    if problems and not skip:
        raise DataError(
            f"{len(problems)} of {seen} pairs of {part} cannot be used, the first: {problems[0]}", remedy=_SKIP
        )
    if problems:
        notes.append(f"{part}: {len(problems)} of {seen} pairs left out, the first: {problems[0]}")
    if not kept:
        raise DataError(f"no pair of {part} can be used, the first: {problems[0]}", remedy=_LAYOUT)
    return tuple(kept)


def _examined(pairs: Sequence[RgbdPair], decode: bool) -> Iterator[tuple[RgbdPair, str]]:
    for pair in pairs:
        try:
            check_pair(pair)
            if decode:
                open_picture(pair.image)
                read_depth(_present(pair))
        except DataError as error:
            yield pair, f"{error.where} {error.what}"
        else:
            yield pair, ""


def check_pair(pair: RgbdPair) -> None:
    """Raise DataError for a missing depth map, one of another form, and one of another size than its picture."""
    across, down = depth_size(_present(pair))
    remedy = "Remove or replace the file."
    with decoding(pair.image, "an image", remedy), Image.open(pair.image) as picture:
        width, height = picture.size
    if (across, down) != (width, height):
        raise DataError(
            f"is {across}x{down} px, but its picture {pair.image.name} is {width}x{height} px",
            where=str(pair.depth),
            remedy="Picture and depth map need one size.",
        )


def _present(pair: RgbdPair) -> Path:
    if pair.depth is None:
        raise DataError("has no depth map", where=str(pair.image), remedy="Expected depth/NAME.png for rgb/NAME.")
    return pair.depth
