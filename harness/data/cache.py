"""The cache of materialised data sets: build, open, verify."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from harness import atomic
from harness.data import shards
from harness.data.fields import Array, pack
from harness.data.sources import finite, open_source
from harness.data.splits import CORE
from harness.data.views import INDEX, Dataset, Split, check_file
from harness.leases import Busy, Lease
from harness.types import DataError, DataSpec, canonical_json, digest_of

FORMAT = 1  # of the files on disk
SHARDS = "shards"  # subfolder of an unfinished split
POLL_SECONDS = 0.2
Progress = Callable[[str, int, int], None]
"""Called with the split's name, the rows done and the rows in all."""


@dataclass(frozen=True)
class Report:
    """What ``verify`` found: files ``checked``, ``problems`` in words (none: all is well), digest per split."""

    checked: int
    problems: tuple[str, ...]
    digests: dict[str, str]


def default_cache() -> Path:
    """The environment variable PARALLAX_CACHE, else ~/.cache/parallax."""
    return Path(os.environ.get("PARALLAX_CACHE") or Path.home() / ".cache" / "parallax")


def split_folder(spec: DataSpec, cache: Path, split: str) -> Path:
    """Where a split is kept: shared by all specs that differ in the sizes of other splits only."""
    source = open_source(spec)
    place = f"{spec.version}-{_recipe(spec)[:8]}-{source.code()[:8]}"
    return cache / spec.name / place / f"{split}-{source.rows(split)}"


def _recipe(spec: DataSpec) -> str:
    return digest_of({name: value for name, value in asdict(spec).items() if name not in ("root", "splits")})


def open_dataset(spec: DataSpec, cache: Path, *, workers: int = 1, progress: Progress | None = None) -> Dataset:
    """The data set of ``spec``; splits missing from ``cache`` are built when they are first asked for."""

    def opener(split: str) -> Split:
        folder = split_folder(spec, cache, split)
        if not _finished(folder):
            _build_split(spec, split, folder, workers, progress)
        return Split(spec, split, folder)

    return Dataset(spec, opener)


def build(
    spec: DataSpec,
    cache: Path,
    splits: Sequence[str] = (),
    workers: int = 1,
    progress: Progress | None = None,
) -> Dataset:
    """Build ``splits`` (the core splits of the spec if empty) and return the data set. Resumes where it was stopped."""
    dataset = open_dataset(spec, cache, workers=workers, progress=progress)
    for split in splits or [name for name in CORE if name in spec.splits]:
        dataset.split(split)
    return dataset


def verify(spec: DataSpec, cache: Path, full: bool = False) -> Report:
    """Check every split of ``spec`` found in ``cache`` against its digests; ``full`` also renders the first shard of
    each anew and compares."""
    problems: list[str] = []
    digests: dict[str, str] = {}
    checked = 0
    for name in spec.splits:
        folder = split_folder(spec, cache, name)
        if not folder.exists():
            continue
        if not _finished(folder):
            problems.append(f"{spec.name} {name}: unfinished; build it again to finish it ({folder})")
            continue
        split = Split(spec, name, folder)
        digests[name] = split.digest
        for file, entry in split.index["files"].items():
            checked += 1
            try:
                check_file(folder / f"{file}.npy", entry, split.where)
            except DataError as error:
                problems.append(str(error))
        if full and not problems:
            problems += _differences(spec, split)
    return Report(checked, tuple(problems), digests)


def _differences(spec: DataSpec, split: Split) -> list[str]:
    count = min(open_source(spec).shard_rows(split.name), len(split))
    fresh = _rows(spec, split.name, 0, count)
    return [
        f"{split.where}: rows 0 to {count} of '{name}' differ from what this machine renders"
        for name in split.fields
        if not np.array_equal(fresh[name], np.load(split.folder / f"{name}.npy", mmap_mode="r")[:count])
    ]


# ------------------------------------------------------------------------------------------------ building
def _finished(folder: Path) -> bool:
    """Whether the folder's index is whole; a split without one is built again."""
    try:
        index = json.loads((folder / INDEX).read_text())
        content = digest_of({name: entry["sha256"] for name, entry in index["files"].items()})
        return bool(index["format"] == FORMAT and index["content"] == content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _rows(spec: DataSpec, split: str, first: int, count: int) -> dict[str, Array]:
    """Rows in stored form plus the extras, checked for NaN."""
    source = open_source(spec)
    with threadpool_limits(1):
        record, extras = source.produce(split, first, count), source.extras(split, first, count)
    broken = finite({**record, **extras})
    if broken:
        raise DataError(f"NaN or infinity in {', '.join(broken)}", where=f"{spec.name} {split}, rows from {first}")
    radius = record["pose"][:, 2] if "pose" in record else None
    packed = {name: pack(name, record[name], kind, radius) for name, kind in source.storage(split).items()}
    return {**packed, **extras}


def make_shard(spec: DataSpec, split: str, folder: Path, number: int) -> bool:
    """Make one shard unless another process is at it; returns whether the shard exists now."""
    source, place = open_source(spec), folder / SHARDS
    try:
        with Lease(place / f"{number:05d}.lease"):
            if shards.read_stamp(place, number) is None and not _finished(folder):
                shards.drop_shard(place, number)
                first = number * source.shard_rows(split)
                count = min(source.shard_rows(split), source.rows(split) - first)
                shards.write_shard(place, number, first, _rows(spec, split, first, count))
    except Busy:
        return False
    return True


def _build_split(spec: DataSpec, split: str, folder: Path, workers: int, progress: Progress | None) -> None:
    source = open_source(spec)
    rows, size = source.rows(split), source.shard_rows(split)
    count = -(-rows // size)
    if rows < 1:
        raise DataError("a split needs at least one row", where=f"{spec.name} {split}")
    place = folder / SHARDS

    def missing() -> list[int]:
        numbers = [number for number in range(count) if shards.read_stamp(place, number) is None]
        if progress:
            progress(split, max(rows - len(numbers) * size, 0), rows)
        return numbers

    with _maker(min(workers, count)) as make:
        while not _finished(folder):
            for _ in make(spec, split, folder, missing()):
                missing()
            if not missing():
                _finish(spec, split, folder, count)
            if not _finished(folder):  # another process is at some shard
                time.sleep(POLL_SECONDS)
    shutil.rmtree(place, ignore_errors=True)


Maker = Callable[[DataSpec, str, Path, Sequence[int]], Iterator[bool]]


@contextmanager
def _maker(workers: int) -> Iterator[Maker]:
    """A function that makes shards here, or on ``workers`` spawned processes."""
    if workers <= 1:
        yield lambda spec, split, folder, numbers: (make_shard(spec, split, folder, number) for number in numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:

        def make(spec: DataSpec, split: str, folder: Path, numbers: Sequence[int]) -> Iterator[bool]:
            futures = [pool.submit(make_shard, spec, split, folder, number) for number in numbers]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

        yield make


def _finish(spec: DataSpec, split: str, folder: Path, count: int) -> None:
    """Check all shards, join them into one file per field and write the index; damaged shards are dropped."""
    source, place = open_source(spec), folder / SHARDS
    with suppress(Busy), Lease(place / "join.lease"):
        if _finished(folder):
            return
        broken = [number for number in range(count) if shards.damaged(place, number)]
        for number in broken:
            shards.drop_shard(place, number)
        if broken:
            return
        atomic.sweep(folder)
        stamp = shards.read_stamp(place, 0)
        assert stamp is not None
        files = {name: shards.join(place, count, name, folder / f"{name}.npy") for name in stamp["files"]}
        index: dict[str, Any] = {
            "format": FORMAT,
            "name": spec.name,
            "split": split,
            "rows": source.rows(split),
            "recipe": _recipe(spec),
            "content": digest_of({name: entry["sha256"] for name, entry in files.items()}),
            "storage": dict(source.storage(split)),
            "files": files,
            "platform": f"{platform.system()}-{platform.machine()}-numpy{np.__version__}",
            **source.schema(split),
        }
        atomic.write_bytes(folder / INDEX, canonical_json(index).encode())
