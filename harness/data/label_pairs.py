"""Images with their label files, and how the training images are divided: labelled, unlabelled and held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fractions import Fraction
from math import ceil
from pathlib import Path, PurePosixPath

import numpy as np

from harness.types import ConfigError, DataError

HELD_OUT = 64
_SUFFIXES = ("_leftImg8bit",)


@dataclass(frozen=True)
class Pair:
    """An image, the file of its labels and the table (``label_ids.TABLES``) of the numbers in it."""

    name: str
    image: Path
    label: Path
    ids: str


@dataclass(frozen=True)
class Division:
    """Pairs by split; ``notes`` for the user; ``files`` are read beside the pairs (lists)."""

    splits: Mapping[str, tuple[Pair, ...]]
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    options: Mapping[str, str | int] = field(default_factory=dict)


def matched(images: Mapping[str, Path], labels: Mapping[str, Path], ids: str, expected: str) -> list[Pair]:
    """Pairs of one name, sorted; ``expected`` says where labels are looked for. Raises DataError for a missing one."""
    missing = sorted(set(images) - set(labels))
    if missing:
        raise DataError(
            f"{len(missing)} of {len(images)} images have no label file, the first is {images[missing[0]].name}",
            where=str(images[missing[0]].parent),
            remedy=f"Expected {expected}.",
        )
    return [Pair(name, images[name], labels[name], ids) for name in sorted(images)]


def count_note(what: str, found: int, official: int) -> list[str]:
    """A note where a set has another number of images than the published one."""
    return [] if found == official else [f"{what}: {found:,} images and not {official:,}"]


def shuffled(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """A fixed order of ``pairs``; more labelled images than before then contain the ones before."""
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(pairs))
    return [pairs[k] for k in order]


def divide(
    order: Sequence[Pair], root: Path, options: Mapping[str, str | int | float | bool], total: int | None = None
) -> Division:
    """The splits ``labelled``, ``unlabelled`` and ``val`` of the training images in ``order``.

    ``options``: ``labelled`` is a count or a share such as ``1/8`` of ``total`` (default: all of ``order``), taken from
    the beginning; ``list`` a file below ``root`` that names the labelled images instead; ``val`` how many images are
    held out at the end, or a list as well. Without the option ``labelled`` there are two splits only. Raises
    ConfigError for a word, DataError for a list or a division that cannot be used.
    """
    rest, splits, files = list(order), dict[str, tuple[Pair, ...]](), []
    resolved: dict[str, str | int] = {}
    if "labelled" in options:
        chosen: Sequence[Pair]
        asked = _count("labelled", options["labelled"], total or len(order)) if options["labelled"] != "" else None
        if options["list"]:
            chosen = read_list(root, str(options["list"]), order)
            files.append(root / str(options["list"]))
            if asked not in (None, len(chosen)):
                raise ConfigError(
                    f"labelled={options['labelled']}, but the list names {len(chosen)} images",
                    where=str(options["list"]),
                    remedy="Leave out data.options.labelled where a list is given.",
                )
        else:
            chosen = rest[: _count("labelled", "1/8", total or len(order)) if asked is None else asked]
            if asked is not None and asked > len(chosen):
                raise _too_few(asked, len(order))
        splits["labelled"] = tuple(chosen)
        resolved["labelled"] = len(chosen)
        rest = _without(rest, chosen)
    if isinstance(options["val"], str) and options["val"] and not options["val"].isdigit():
        held = read_list(root, options["val"], rest)
        files.append(root / options["val"])
        resolved["val"] = options["val"]
    else:
        usual = min(HELD_OUT, max(1, len(order) // 8))
        number = usual if options["val"] == "" else _count("val", options["val"], len(order))
        held = rest[-number:] if number <= len(rest) else []
        resolved["val"] = number
    splits["unlabelled"] = tuple(_without(rest, held))
    splits["val"] = tuple(held)
    if not all(splits.values()):
        raise _too_few(len(splits.get("labelled", ())), len(order))
    return Division(splits, files=tuple(files), options=resolved)


def read_list(root: Path, name: str, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that a text file names, in its order: one image a line, as a name or as a path (the first word).

    Raises DataError for a file outside ``root`` or one that cannot be read, unknown and repeated names.
    """
    path = root / name
    if PurePosixPath(name).is_absolute() or ".." in Path(name).parts:
        raise DataError("a list lies outside the data's folder", where=name, remedy="Give its path below root=.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the list cannot be read ({error})", where=str(path), remedy="Give a text file below root=."
        ) from error
    known = {pair.name: pair for pair in pairs}
    found: dict[str, Pair] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        stem = PurePosixPath(words[0].replace("\\", "/")).name.rsplit(".", 1)[0]
        for suffix in _SUFFIXES:
            stem = stem.removesuffix(suffix)
        if stem in found or stem not in known:
            raise DataError(
                f"line {number} names {stem}, which {'is listed twice' if stem in found else 'cannot be chosen'}",
                where=str(path),
                nearest=[] if stem in found else get_close_matches(stem, known, n=1),
                remedy="List every image once." if stem in found else "Known are training images not listed elsewhere.",
            )
        found[stem] = known[stem]
    if not found:
        raise DataError("the list names no image", where=str(path), remedy="One name or path a line.")
    return list(found.values())


def _count(key: str, value: str | int | float | bool, total: int) -> int:
    """A count, or a share of ``total`` rounded up, as the published partitions are."""
    try:
        share = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if share > 0 and (share < 1 or share.denominator == 1):
        return ceil(share * total) if share < 1 else int(share)
    raise ConfigError(f"{key}={value} is no number of images", remedy="Give a count such as 186, or a share: 1/16.")


def _without(pairs: Sequence[Pair], taken: Sequence[Pair]) -> list[Pair]:
    names = {pair.name for pair in taken}
    return [pair for pair in pairs if pair.name not in names]


def _too_few(labelled: int, total: int) -> DataError:
    return DataError(
        f"{labelled} labelled and the held-out images leave nothing of {total} training images",
        remedy="Lower data.options.labelled or data.options.val: no split may be empty.",
    )
