"""Files that appear whole or not at all: temporary neighbour, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from harness.types import StoreError

_COUNTER = itertools.count()
_PREFIX, _SUFFIX = ".part-", ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of ``path`` for writing and put it in place when the block ends without an error.

    The bytes are on the disk before the rename, so that a reader sees the old file or the new one after any crash.
    Raises StoreError for every error of the operating system, a full disk among them; the old file then stays.
    """
    part = path.with_name(f"{_PREFIX}{path.name}-{os.getpid()}-{next(_COUNTER)}{_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically; raises StoreError (see ``replacing``)."""
    with replacing(path) as file:
        file.write(content)


def write_error(path: Path, error: OSError) -> StoreError:
    """The StoreError for a failed write: says where, what the system said and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            "the disk is full, the file was not written",
            where=str(path),
            remedy="Free some space and give the same command again: what was finished is kept.",
        )
    reason = error.strerror or str(error)
    return StoreError(f"cannot be written: {reason}", where=str(path), remedy="Check the folder's owner.")


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left in ``folder`` and its direct subfolders."""
    for pattern in (f"{_PREFIX}*{_SUFFIX}", f"*/{_PREFIX}*{_SUFFIX}"):
        for part in folder.glob(pattern):
            with suppress(OSError):
                part.unlink()


def sha256_of(path: Path) -> str:
    """SHA-256 hex digest of a file's bytes; raises OSError where it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    # Without this the rename itself may be lost with the power; not every file system allows it.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
