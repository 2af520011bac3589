"""Published weights on this machine: found by file name, trusted by SHA-256, never downloaded."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from harness.types import MissingAsset


@dataclass(frozen=True)
class WeightsFile:
    """A published weights file: its ``name``, pinned ``sha256`` and ``source`` in words."""

    name: str
    sha256: str
    source: str


def weights_folder() -> Path:
    """Return where weights are looked up: PARALLAX_WEIGHTS, else ``weights`` in the cache (PARALLAX_CACHE)."""
    cache = os.environ.get("PARALLAX_CACHE") or "~/.cache/parallax"
    return Path(os.environ.get("PARALLAX_WEIGHTS") or f"{cache}/weights").expanduser()


def read_weights(wanted: WeightsFile, place: str | Path | None = None) -> bytes:
    """Return the bytes of ``wanted``, verified, from a file or folder ``place`` (None: ``weights_folder()``).

    Raises MissingAsset that names file, folder and remedy when the file is missing, unreadable or another one.
    """
    path = weights_folder() if place is None else Path(place).expanduser()
    if place is None or path.is_dir():
        path /= wanted.name
    remedy = f"Put {wanted.name} (from {wanted.source}) into {path.parent}, or set PARALLAX_WEIGHTS to its folder."
    try:
        payload = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MissingAsset(f"cannot read weights {path}: {reason}", where="weights", remedy=remedy) from error
    found = hashlib.sha256(payload).hexdigest()
    if found != wanted.sha256:
        what = f"{path} has SHA-256 {found[:12]}..., expected {wanted.sha256[:12]}..."
        raise MissingAsset(what, where="weights", remedy=remedy)
    return payload
