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

Options = Mapping[str, str | int | float | bool]
SHARE = "1/8"
HELD_OUT = 64
_SUFFIX = "_leftImg8bit"


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


def divide(order: Sequence[Pair], root: Path, options: Options, candidates: int | None = None) -> Division:
    """The splits ``labelled``, ``unlabelled`` and ``val`` of the training images in ``order``.

    ``options``: ``labelled`` is a count, or a share such as ``1/8``, of the first ``candidates`` images (all of them);
    ``list`` a file below ``root`` that names the labelled images instead; ``val`` how many images are held out at the
    end (``auto``: 64, fewer of a small set), or a list as well. Without the option ``labelled`` there is no such split.
    Raises ConfigError for a word, DataError for a list or a division that cannot be used.
    """
    splits, files = dict[str, tuple[Pair, ...]](), []
    resolved: dict[str, str | int] = {}
    if "labelled" in options:
        chosen = _labelled(order, root, options, candidates or len(order))
        files += [root / str(options["list"])] if options["list"] else []
        splits["labelled"], resolved["labelled"] = tuple(chosen), len(chosen)
    rest = _without(order, splits.get("labelled", ()))
    usual = min(HELD_OUT, max(1, len(order) // 8))
    number = usual if options["val"] == "auto" else _number(options["val"], len(order))
    if number is None and not isinstance(options["val"], str):
        raise ConfigError(
            f"val={options['val']} is no number of images", remedy="Give a count such as 64, or a file for a list."
        )
    if number is None:
        held = read_list(root, str(options["val"]), rest)
        files.append(root / str(options["val"]))
    else:
        held = rest[-number:]
    resolved["val"] = str(options["val"]) if number is None else number
    unlabelled = sorted(_without(rest, held), key=lambda pair: pair.name)
    if not unlabelled:
        raise DataError(
            f"{len(order) - len(rest)} labelled and {number or len(held)} held-out images leave none unlabelled of "
            f"{len(order)} training images",
            remedy="Lower data.options.labelled or data.options.val.",
        )
    return Division({**splits, "unlabelled": tuple(unlabelled), "val": tuple(held)}, (), tuple(files), resolved)


def _labelled(order: Sequence[Pair], root: Path, options: Options, candidates: int) -> Sequence[Pair]:
    given = options["labelled"]
    number = _number(given, candidates)
    if options["list"]:
        chosen = read_list(root, str(options["list"]), order)
        if given != SHARE and number != len(chosen):
            raise ConfigError(
                f"labelled={given}, but the list names {len(chosen)} images",
                where=str(options["list"]),
                remedy="Leave out data.options.labelled where a list is given.",
            )
        return chosen
    if number is None:
        raise ConfigError(
            f"labelled={given} is no number of images",
            remedy="Give a count such as 186, a share such as 1/16, or list= for a file.",
        )
    if number > candidates:
        raise DataError(
            f"labelled={given}, but there are {candidates} images to choose from", remedy="Lower data.options.labelled."
        )
    return order[:number]


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
        stem = PurePosixPath(words[0].replace("\\", "/")).name.rsplit(".", 1)[0].removesuffix(_SUFFIX)
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


def _number(value: str | int | float | bool, total: int) -> int | None:
    """A count, or a share of ``total`` rounded up as the published partitions are; None for anything else."""
    try:
        share = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        return None
    if 0 < share < 1:
        return ceil(share * total)
    return int(share) if share >= 1 and share.denominator == 1 else None


def _without(pairs: Sequence[Pair], taken: Sequence[Pair]) -> list[Pair]:
    names = {pair.name for pair in taken}
    return [pair for pair in pairs if pair.name not in names]
