"""Two folders of label images that somebody already has: which prediction belongs to which truth."""

from __future__ import annotations

import re
from pathlib import Path

from harness.types import DataError

_CITYSCAPES = re.compile(r"(.+?_\d{6}_\d{6})(_.*)?")
TRUTH = "_gtFine_"


def find_pairs(preds: Path, target: Path, ids: str = "labelTrainIds") -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Prediction and truth of every image by name, sorted, and notes on files that belong to none.

    Names are paths below the folders without their ending; where these differ, the names of the files alone, and of
    Cityscapes files ``<city>_<sequence>_<frame>`` alone. Where a folder holds Cityscapes' files ``_gtFine_<kind>``,
    those of kind ``ids`` are the truth. Raises DataError for missing predictions and for names that fit twice.
    """
    if preds.resolve() == target.resolve():
        raise DataError("predictions and truth are one folder", where=str(preds), remedy="Give two with pred=, target=")
    truths = _kind(_pictures(target), ids, target)
    found = _pictures(preds)
    named = _by_path(found, preds), _by_path(truths, target)
    if not set(named[1]) <= set(named[0]):
        named = _by_name(found), _by_name(truths)
    missing = sorted(set(named[1]) - set(named[0]))
    if missing:
        raise DataError(
            f"{len(missing)} of {len(truths)} label images have no prediction, the first is {missing[0]}",
            where=str(preds),
            remedy=f"Expected {missing[0]}.png below pred=, or a file of the same Cityscapes name.",
        )
    extra = sorted(set(named[0]) - set(named[1]))
    notes = []
    if extra:
        notes.append(f"{len(extra)} predictions belong to no label image and are left out, the first is {extra[0]}")
    return {name: (named[0][name], named[1][name]) for name in sorted(named[1])}, notes


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(what, where=str(folder), remedy="Give the folder of label images.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png" and path.is_file())
    if not found:
        raise DataError("the folder holds no PNG files", where=str(folder), remedy="Save labels as PNG.")
    return found


def _kind(files: list[Path], ids: str, folder: Path) -> list[Path]:
    published = [path for path in files if TRUTH in path.name]
    if not published:
        return files
    chosen = [path for path in published if path.stem.endswith(f"{TRUTH}{ids}")]
    if not chosen:
        others = sorted({path.stem.rpartition(TRUTH)[2] for path in published})
        raise DataError(
            f"no files {TRUTH}{ids}.png, but {', '.join(others)}",
            where=str(folder),
            remedy="Write ids=labelIds to score against Cityscapes' own numbers." if "labelIds" in others else "",
        )
    return chosen


def _by_path(files: list[Path], folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def _by_name(files: list[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in files:
        found = _CITYSCAPES.fullmatch(path.stem)
        name = found.group(1) if found else path.stem
        if name in named:
            raise DataError(
                f"two files are called {name}",
                where=f"{named[name]} and {path}",
                remedy="Give both folders the same sub-folders, or keep one of the files.",
            )
        named[name] = path
    return named
