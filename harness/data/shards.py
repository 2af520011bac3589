"""Shards of a split on disk: written whole or not at all, checked by digest, then joined into one file per field."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from harness import atomic
from harness.data.fields import Array
from harness.types import canonical_json

STAMP = "shard.json"


def shard_folder(shards: Path, number: int) -> Path:
    """Where shard ``number`` is kept."""
    return shards / f"{number:05d}"


def write_shard(shards: Path, number: int, first: int, arrays: Mapping[str, Array]) -> None:
    """Write one shard into a temporary folder, then rename it. Only the holder of the shard's lease may call this.

    Nothing is flushed to the disk: ``damaged`` finds what a power cut leaves behind. Raises StoreError for a full or
    failing disk; other shards stay.
    """
    target = shard_folder(shards, number)
    for rest in shards.glob(f".{number:05d}.*"):
        shutil.rmtree(rest, ignore_errors=True)  # of a writer that was killed
    temporary = shards / f".{number:05d}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        temporary.mkdir()
        files = {}
        for name, values in arrays.items():
            path = temporary / f"{name}.npy"
            np.save(path, np.ascontiguousarray(values), allow_pickle=False)
            files[name] = [path.stat().st_size, atomic.sha256_of(path)]
        rows = len(next(iter(arrays.values())))
        (temporary / STAMP).write_text(canonical_json({"first": first, "rows": rows, "files": files}))
        os.rename(temporary, target)
    except OSError as error:
        if not target.exists():
            raise atomic.write_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_stamp(shards: Path, number: int) -> dict[str, Any] | None:
    """The stamp of a finished shard whose files have the stamped sizes; None if there is no such shard."""
    folder = shard_folder(shards, number)
    with suppress(OSError, ValueError, KeyError, TypeError):
        stamp: dict[str, Any] = json.loads((folder / STAMP).read_text())
        if all((folder / f"{name}.npy").stat().st_size == size for name, (size, _) in stamp["files"].items()):
            return stamp
    return None


def drop_shard(shards: Path, number: int) -> None:
    """Remove a shard that cannot be used."""
    shutil.rmtree(shard_folder(shards, number), ignore_errors=True)


def damaged(shards: Path, number: int) -> bool:
    """Whether the shard is missing or any of its files differs from its stamp."""
    stamp, folder = read_stamp(shards, number), shard_folder(shards, number)
    return stamp is None or any(atomic.sha256_of(folder / f"{n}.npy") != sha for n, (_, sha) in stamp["files"].items())


def join(shards: Path, count: int, name: str, target: Path) -> dict[str, Any]:
    """Concatenate field ``name`` of all shards into one .npy file; returns its index entry."""
    parts = [np.load(shard_folder(shards, k) / f"{name}.npy", mmap_mode="r", allow_pickle=False) for k in range(count)]
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(parts[0].dtype), "fortran_order": False, "shape": shape}
    with atomic.replacing(target) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)
    size, digest = target.stat().st_size, atomic.sha256_of(target)
    return {"dtype": str(parts[0].dtype), "shape": list(shape), "bytes": size, "sha256": digest}
