"""A row of the profile as a file: ``<store>/profiles/<key>.json``. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.atomic import write_bytes
from harness.store_files import from_json, to_json
from harness.types import StoreError, digest_of

FOLDER = "profiles"
VERSION = 1
"""Of the record's layout."""


def key_of(identity: Mapping[str, Any]) -> str:
    """SHA-256 over what was asked for: equal questions have one record, the latest."""
    return digest_of(dict(identity))


def write(store: Path, record: Mapping[str, Any]) -> Path:
    """Write a record atomically and return its file. Raises StoreError."""
    path = store / FOLDER / f"{record['key']}.json"
    write_bytes(path, to_json(record))
    return path


def read(store: Path) -> Iterator[dict[str, Any]]:
    """Every readable record of a store, by key; a damaged one is left out with a warning."""
    import warnings

    for path in sorted((store / FOLDER).glob("*.json")):
        try:
            yield from_json(path)
        except StoreError as error:
            warnings.warn(str(error), stacklevel=2)
