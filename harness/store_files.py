"""How what is stored is written and read back: JSON of equal bytes, numbers, arrays without pickle, cells."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.atomic import sha256_of
from harness.types import Budget, Cell, DataSpec, PosePrior, StoreError

if TYPE_CHECKING:
    import numpy as np

REDO = "Give the run command again: what is damaged is redone."


def to_json(content: Mapping[str, Any]) -> bytes:
    """Readable JSON with sorted keys: equal content gives equal bytes. Raises StoreError for what JSON cannot hold."""
    try:
        return (json.dumps(content, sort_keys=True, indent=1, allow_nan=False, default=_plain) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise StoreError(f"cannot be stored as JSON: {error}") from error


def from_json(path: Path, digest: str = "") -> dict[str, Any]:
    """Read a JSON mapping, checking its SHA-256 where ``digest`` is given. Raises StoreError."""
    if digest:
        try:
            actual = sha256_of(path)
        except OSError as error:
            raise StoreError(f"cannot be read: {error.strerror}", where=str(path), remedy=REDO) from error
        if actual != digest:
            raise StoreError("is damaged: its SHA-256 differs from its stamp", where=str(path), remedy=REDO)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot be read: {error.strerror}", where=str(path), remedy=REDO) from error
    except ValueError as error:
        raise StoreError(f"is not valid JSON: {error}", where=str(path), remedy=REDO) from error
    if not isinstance(content, dict):
        raise StoreError("does not hold a mapping", where=str(path), remedy=REDO)
    return content


def to_number(value: float) -> float | str | None:
    """A metric as JSON holds it: None for NaN, ``inf`` and ``-inf`` as text."""
    value = float(value)
    return None if math.isnan(value) else value if math.isfinite(value) else str(value)


def from_number(value: float | str | None) -> float:
    """Inverse of ``to_number``."""
    return math.nan if value is None else float(value)


def load_array(path: Path) -> np.ndarray:
    """Read a .npy file without pickle. Raises StoreError where it cannot be read."""
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"cannot be read: {error}", where=str(path), remedy=REDO) from error


def cell_of(parts: Mapping[str, Any]) -> Cell:
    """The cell that ``asdict`` took apart; raises KeyError, TypeError or ValueError where parts do not fit."""
    data = dict(parts["data"])
    prior = data.pop("prior")
    if prior is not None:
        prior = PosePrior(**{**prior, "azimuth": tuple(prior["azimuth"]), "elevation": tuple(prior["elevation"])})
    return Cell(**{**parts, "data": DataSpec(**data, prior=prior), "budget": Budget(**parts["budget"])})


def read_cell(path: Path, key: str = "") -> Cell:
    """The cell of a cell.json. Raises StoreError where it is damaged or does not give ``key`` (empty: any)."""
    try:
        cell = cell_of(from_json(path))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"does not describe a cell of this version: {error}",
            where=str(path),
            remedy="Remove the folder, or run again.",
        ) from error
    if key and cell.key != key:
        raise StoreError(
            "does not belong to its folder: damaged, or written by another version",
            where=str(path),
            remedy="Give the run command again, or remove the folder if no run asks for this cell any more.",
        )
    return cell


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not plain data")
