"""Shards of a split on disk: written whole or not at all, checked by digest, claimed by one writer at a time."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness.data.fields import Array
from harness.types import DataError, canonical_json

STALE_SECONDS = 600.0  # a claim of another machine that has not been touched for this long is void
STAMP = "shard.json"


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a failing disk (full, read-only, gone) into a DataError that says what is kept."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(
            f"cannot write: {error.strerror or error}",
            where=str(path),
            remedy="Free some space or choose another place with cache=DIR, then run the same command again: "
            "finished shards are kept.",
        ) from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file through a temporary neighbour, so that it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            _sync(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shard_folder(shards: Path, number: int) -> Path:
    """Where shard ``number`` is kept."""
    return shards / f"{number:05d}"


def write_shard(shards: Path, number: int, first: int, arrays: Mapping[str, Array]) -> None:
    """Write one shard into a temporary folder, then rename it; a shard that is there already wins."""
    target = shard_folder(shards, number)
    temporary = shards / f".{number:05d}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        with disk_errors(target):
            temporary.mkdir(parents=True)
            files = {}
            for name, values in arrays.items():
                path = temporary / f"{name}.npy"
                with path.open("wb") as file:
                    np.save(file, np.ascontiguousarray(values), allow_pickle=False)
                    _sync(file)
                files[name] = [path.stat().st_size, file_digest(path)]
            rows = len(next(iter(arrays.values())))
            stamp = canonical_json({"first": first, "rows": rows, "files": files})
            with (temporary / STAMP).open("wb") as file:
                file.write(stamp.encode())
                _sync(file)
            if not target.exists():
                os.rename(temporary, target)
    except DataError:
        if not target.exists():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_stamp(shards: Path, number: int) -> dict[str, Any] | None:
    """The stamp of a finished shard whose files have the stamped sizes; None if there is no such shard."""
    folder = shard_folder(shards, number)
    try:
        stamp: dict[str, Any] = json.loads((folder / STAMP).read_text())
        sizes = all((folder / f"{name}.npy").stat().st_size == size for name, (size, _) in stamp["files"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stamp if sizes else None


def drop_shard(shards: Path, number: int) -> None:
    """Remove a shard that cannot be used."""
    shutil.rmtree(shard_folder(shards, number), ignore_errors=True)


def damaged(shards: Path, number: int) -> bool:
    """Whether the shard is missing or any of its files differs from its stamp."""
    stamp = read_stamp(shards, number)
    folder = shard_folder(shards, number)
    return stamp is None or any(file_digest(folder / f"{n}.npy") != sha for n, (_, sha) in stamp["files"].items())


def join(shards: Path, count: int, name: str, target: Path) -> dict[str, Any]:
    """Concatenate field ``name`` of all shards into one .npy file; returns its index entry."""
    parts = [np.load(shard_folder(shards, k) / f"{name}.npy", mmap_mode="r", allow_pickle=False) for k in range(count)]
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(parts[0].dtype), "fortran_order": False, "shape": shape}
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with disk_errors(target):
            with temporary.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for part in parts:
                    file.write(np.ascontiguousarray(part).tobytes())
                _sync(file)
            entry = {"bytes": temporary.stat().st_size, "sha256": file_digest(temporary)}
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return {"dtype": str(parts[0].dtype), "shape": list(shape), **entry}


# -------------------------------------------------------------------------------------------------- claims
@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Try to become the only writer behind the claim file ``path``; yields whether that succeeded.

    Claims only spread the work over processes: correctness never depends on them. A claim whose process is gone, or
    which another machine has not touched for ten minutes, is taken over.
    """
    mine = canonical_json({"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()})
    held = _create(path, mine) or (_abandoned(path) and _take_over(path, mine))
    try:
        yield held
    finally:
        if held:
            path.unlink(missing_ok=True)


def _create(path: Path, content: str) -> bool:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x") as file:
                file.write(content)
        except FileExistsError:
            return False
    return True


def _take_over(path: Path, content: str) -> bool:
    path.unlink(missing_ok=True)
    return _create(path, content)


def _abandoned(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        holder = json.loads(path.read_text())
        if holder["host"] == socket.gethostname():
            return not _alive(int(holder["pid"]))
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return age > 2.0  # written by a process that died between creating and filling it
    return age > STALE_SECONDS


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sweep(shards: Path) -> None:
    """Remove temporary folders of processes that no longer run."""
    for path in shards.glob(".*.tmp"):
        _, _, *host, pid, _, _ = path.name.split(".")
        if ".".join(host) == socket.gethostname() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def every(check: Callable[[int], bool], count: int) -> Sequence[int]:
    """The shard numbers below ``count`` for which ``check`` holds."""
    return [number for number in range(count) if check(number)]
