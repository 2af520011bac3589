"""The verb ``data``: build, check, show, export and calibrate the data sets that runs use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.console import columns
from harness.naming import unknown
from harness.types import ConfigError

if TYPE_CHECKING:
    from harness.config import RunConfig


def data(words: Sequence[str], full: bool = False) -> int:
    """Build, verify, preview, export or calibrate the data set that ``run`` would use with the same words."""
    actions: dict[str, Callable[[RunConfig, Path | None, bool], int]] = {
        "build": _build,
        "verify": _verify,
        "preview": _preview,
        "export": _export,
        "calibrate": _calibrate,
    }
    if not words or words[0] not in actions:
        raise unknown("action", words[0] if words else "", actions, "data")
    from harness import config

    out = [word.partition("=")[2] for word in words if word.startswith("out=")]
    made = config.parse([word for word in words[1:] if not word.startswith("out=")])
    return actions[words[0]](made, Path(out[-1]).expanduser() if out else None, full)


def _build(made: RunConfig, out: Path | None, full: bool) -> int:
    from harness.data import cache

    seen = dict[str, int]()

    def progress(split: str, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if seen.get(split) != tenth:
            seen[split] = tenth
            print(f"{split}: {done}/{total}", flush=True)

    wanted = tuple(made.data.splits) if "setting" in made.data.options else ()  # all four are needed
    dataset = cache.build(made.data, made.run.cache, wanted, workers=_workers(made), progress=progress)
    for split in dataset.opened:
        print(f"{split}: {dataset.split(split).digest[:16]}")
    for note in dict.fromkeys(note for split in dataset.opened for note in dataset.split(split).index.get("notes", ())):
        print(f"note: {note}")
    print(f"{made.data.name} ({made.tier}) is in {made.run.cache}")
    return 0


def _verify(made: RunConfig, out: Path | None, full: bool) -> int:
    from harness.data import cache

    found = cache.verify(made.data, made.run.cache, full=full)
    for split, digest in found.digests.items():
        print(f"{split}: {digest[:16]}")
    for problem in found.problems:
        print(f"problem: {problem}")
    print(f"{found.checked} files checked, {len(found.problems)} problems")
    return 2 if found.problems else 0


def _preview(made: RunConfig, out: Path | None, full: bool) -> int:
    from harness.data.sheet import write_sheet

    path = out or Path(f"{made.data.name.replace('/', '_')}_{made.tier}.png")
    write_sheet(made.data, path)
    print(path)
    return 0


def _calibrate(made: RunConfig, out: Path | None, full: bool) -> int:
    from harness.store import Store
    from harness.tables import calibration

    ours = [result for result in Store(made.store).results() if result.cell.suite == made.suite.name]
    found = [one for one in calibration.calibrations(ours, made.data.family) if one.tier == made.tier]
    if not found:
        raise ConfigError(
            f"no finished cell of {calibration.SOURCE_ONLY} on {made.data.family} at tier {made.tier}",
            where=str(made.store),
            remedy=f"Run it first: python -m harness run suite={made.suite.name} budget=claims seeds=5 "
            f"methods=[{','.join(calibration.METHODS)}]",
        )
    path = out or made.out / made.tier / made.suite.name / calibration.NAME
    calibration.write(found, path)
    for one in found:
        print(f"{one.family} v{one.version}, {one.tier}, {one.budget} ({one.images} images), recipe {one.data[:16]}")
        print(columns(calibration.HEADER, calibration.console_rows(one)))
    print(path)
    return 0


def _export(made: RunConfig, out: Path | None, full: bool) -> int:
    from harness.data import cache, cityscapes_export, mvtec_export, rgbd_export

    if out is None:
        raise ConfigError("out=... is missing", where="data export", remedy="Name the folder to write: out=DIR.")
    dataset = cache.open_dataset(made.data, made.run.cache, workers=_workers(made))
    if "setting" in made.data.options:
        count, words = cityscapes_export.export(dataset, out)
    elif "coding" in made.data.options:
        count, words = rgbd_export.export(dataset, out)
    else:
        count, words = mvtec_export.export(dataset, out), f"data=folder/mvtec root={out}"
    print(f"{count} images of {made.data.name} ({made.tier}) are in {out}; read them with {words}")
    return 0


def _workers(made: RunConfig) -> int:
    return made.workers or made.run.data_workers
