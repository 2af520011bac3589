"""The store: one folder per cell, named by the cell's key; the only channel between running and tables.

A cell's folder ``<root>/<key>/`` holds cell.json (what was asked), env.json and cost.json (where, how long; may differ
between equal runs), train.jsonl, checkpoint.safetensors, predictions/, per_sample/, pictures/, result.json (the same
bytes for equal runs), stages/<stage>.json (stamps) and status.json. Every file appears whole or not at all. A stage is
finished when its stamp exists, and sound while the SHA-256 of every file the stamp names still fits. Imports no torch.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from harness import leases
from harness.atomic import replacing, sha256_of, sweep, write_bytes, write_error
from harness.store_files import REDO, from_json, from_number, load_array, read_cell, to_json
from harness.types import Cell, StoreError

if TYPE_CHECKING:
    import numpy as np

CellStatus = Literal["done", "failed", "skipped", "running", "partial", "absent"]
StageName = Literal["fit", "predict", "score"]
STAGES: tuple[StageName, ...] = ("fit", "predict", "score")
RESULT, CHECKPOINT, TRAIN_LOG = "result.json", "checkpoint.safetensors", "train.jsonl"


@dataclass(frozen=True)
class Stamp:
    """Seal of a finished stage: SHA-256 of the files it wrote and of those it read, and the digest of its code."""

    files: Mapping[str, str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    code: str = ""


@dataclass(frozen=True)
class StoredResult:
    """What the store knows about one cell.

    ``status`` is ``corrupt`` where result.json does not fit its stamp; metrics are then empty and ``reason`` says what
    is damaged. ``facts`` are counts and digests for the row's fingerprint (precision, device, steps, params, ...),
    ``code`` the code digest the result was computed with, ``env`` and ``cost`` the parts that vary between equal runs.
    """

    cell: Cell
    key: str
    folder: Path
    status: CellStatus | Literal["corrupt"]
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    per_sample_files: Mapping[str, str] = field(default_factory=dict)
    picture_files: Mapping[str, str] = field(default_factory=dict)

    def stale(self, code: str) -> bool:
        """Whether the result was computed by other code than ``code``."""
        return bool(self.code) and self.code != code

    @functools.cached_property
    def per_sample(self) -> Mapping[str, np.ndarray]:
        """Per-sample float64 arrays by name; raises StoreError where a file is missing or cannot be read."""
        return {name: load_array(self.folder / file) for name, file in self.per_sample_files.items()}

    @property
    def pictures(self) -> Mapping[str, Path]:
        """PNG files by name."""
        return {name: self.folder / file for name, file in self.picture_files.items()}


class Store:
    """Cell folders below ``root``; several processes may share it, on one machine or over a network file system."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    # ------------------------------------------------------------------------------------------------ writing
    def folder(self, key: str) -> Path:
        """The cell's folder, whether it exists or not."""
        return self.root / key

    def lease(self, key: str) -> leases.Lease:
        """The exclusive right to work on a cell, as a context manager; entering raises ``leases.Busy``."""
        return leases.Lease(self.folder(key) / "lease")

    def record(self, cell: Cell) -> Path:
        """Write cell.json, clear what a killed process left half written, and return the folder."""
        folder = self.folder(cell.key)
        sweep(folder)
        self.write(cell.key, "cell.json", asdict(cell))
        return folder

    def write(self, key: str, name: str, content: bytes | Mapping[str, Any]) -> Path:
        """Write a file of the cell atomically: bytes as they are, a mapping as JSON. Raises StoreError."""
        path = self.folder(key) / name
        write_bytes(path, content if isinstance(content, bytes) else to_json(content))
        return path

    def open(self, key: str, name: str) -> AbstractContextManager[BinaryIO]:
        """A file of the cell for writing; it appears when the block ends without error. Raises StoreError."""
        return replacing(self.folder(key) / name)

    def update(self, key: str, name: str, changes: Mapping[str, Any]) -> None:
        """Merge ``changes`` into a JSON file of the cell; a missing or unreadable one starts empty."""
        path = self.folder(key) / name
        try:
            before = from_json(path)
        except StoreError:
            before = {}
        self.write(key, name, {**before, **changes})

    def stamp(self, key: str, stage: StageName, names: tuple[str, ...], inputs: Mapping[str, str], code: str) -> Stamp:
        """Seal a stage whose files are written."""
        seal = Stamp({name: sha256_of(self.folder(key) / name) for name in sorted(names)}, dict(inputs), code)
        self.write(key, f"stages/{stage}.json", asdict(seal))
        return seal

    def finish(self, key: str, status: Literal["done", "failed", "skipped"], reason: str = "", **more: Any) -> None:
        """Record how the cell ended; ``more`` (stage, exit code, ...) is kept beside it."""
        self.write(key, "status.json", {"status": status, "reason": reason, **more})

    def reopen(self, key: str) -> None:
        """Forget how the cell ended, because work on it begins again; finished stages stay."""
        self._remove(self.folder(key) / "status.json")

    def discard(self, key: str, *names: str) -> None:
        """Remove files or folders of the cell, such as those of a stage that is redone."""
        for name in names:
            self._remove(self.folder(key) / name)

    def _remove(self, path: Path) -> None:
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error) from error

    # ------------------------------------------------------------------------------------------------ reading
    def keys(self) -> list[str]:
        """Keys of all recorded cells, sorted."""
        return sorted(path.parent.name for path in self.root.glob("*/cell.json"))

    def status(self, key: str) -> CellStatus:
        """How a cell stands, without reading its files; ``partial`` means begun and interrupted."""
        folder = self.folder(key)
        try:
            ended = json.loads((folder / "status.json").read_bytes())["status"]
        except FileNotFoundError:
            if not (folder / "cell.json").exists():
                return "absent"
        except (OSError, ValueError, KeyError, TypeError):
            return "partial"
        else:
            if ended in ("done", "failed", "skipped"):
                return ended
        return "running" if leases.is_held(folder / "lease") else "partial"

    def ending(self, key: str) -> Mapping[str, Any]:
        """The content of status.json; empty where there is none or it is damaged."""
        try:
            return from_json(self.folder(key) / "status.json")
        except StoreError:
            return {}

    def seal(self, key: str, stage: StageName) -> Stamp | None:
        """The stamp of a stage, unchecked; None where the stage is unfinished or its stamp damaged."""
        try:
            return Stamp(**from_json(self.folder(key) / "stages" / f"{stage}.json"))
        except (StoreError, TypeError):
            return None

    def damage(self, key: str, stage: StageName) -> str:
        """What is wrong with a stage's files, empty for nothing: each must exist and fit its stamped SHA-256."""
        seal = self.seal(key, stage)
        if seal is None:
            return f"the stamp of stage {stage} is missing or damaged"
        for name, digest in seal.files.items():
            try:
                if sha256_of(self.folder(key) / name) != digest:
                    return f"{name} is damaged: its SHA-256 differs from the stamp of stage {stage}"
            except OSError as error:
                return f"{name} of stage {stage} cannot be read: {error.strerror}"
        return ""

    def read(self, key: str) -> StoredResult:
        """One cell's result. Raises StoreError where cell.json is missing, damaged or of another version."""
        folder = self.folder(key)
        cell = read_cell(folder / "cell.json", key)
        ending = self.ending(key)
        known: dict[str, Any] = {"cell": cell, "key": key, "folder": folder}
        known |= {"env": self._optional(folder / "env.json"), "cost": self._optional(folder / "cost.json")}
        status = self.status(key)
        if status != "done":
            return StoredResult(**known, status=status, reason=str(ending.get("reason", "")))
        seal = self.seal(key, "score")
        try:
            if seal is None or RESULT not in seal.files:
                raise StoreError("has no valid stamp", where=str(folder / RESULT), remedy=REDO)
            result = from_json(folder / RESULT, seal.files[RESULT])
            return StoredResult(
                **known,
                status="done",
                metrics={name: from_number(value) for name, value in result["metrics"].items()},
                notes=result["notes"],
                facts=result["facts"],
                code=seal.code,
                per_sample_files=result["per_sample"],
                picture_files=result["pictures"],
            )
        except (StoreError, KeyError, AttributeError) as error:
            problem = error.what if isinstance(error, StoreError) else f"lacks {error}"
            reason = f"{RESULT} {problem}. {REDO}"
            return StoredResult(**known, status="corrupt", reason=reason)

    def results(self, report: Callable[[StoreError], None] | None = None) -> Iterator[StoredResult]:
        """Every recorded cell, by key; the error of an unreadable folder goes to ``report`` (default: a warning)."""
        for key in self.keys():
            try:
                result = self.read(key)
            except StoreError as error:
                if report is None:
                    import warnings

                    warnings.warn(str(error), stacklevel=2)
                else:
                    report(error)
            else:
                yield result

    def _optional(self, path: Path) -> Mapping[str, Any]:
        try:
            return from_json(path)
        except StoreError:
            return {}
