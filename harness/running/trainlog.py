"""The training log: losses collected on the device, brought over once per interval, checked, averaged and appended."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.atomic import write_bytes, write_error
from harness.types import ConfigError, NonFiniteError

Row = Mapping[str, Tensor | float]


class StepNotFinite(NonFiniteError):
    """A step gave a loss that is NaN or infinite, or left NaN in the state; ``step`` is the first such step."""

    step: int = -1

    @classmethod
    def at(cls, step: int, what: str) -> StepNotFinite:
        error = cls(what, where="training")
        error.step = step
        return error


class TrainLog:
    """Appends one JSON line per interval to ``path``: step, images, stage, mean losses, gradient norms, seconds.

    Opening continues after ``step`` steps: later lines, and a line that a crash cut short, are removed. ``pending`` are
    rows of the interval that a checkpoint interrupted.
    """

    def __init__(
        self, path: Path, batch_size: int, step: int = 0, pending: list[dict[str, float]] | None = None
    ) -> None:
        self.path, self.batch_size = path, batch_size
        self._rows: list[Row] = list(pending or [])
        self._first = step - len(self._rows)
        kept = [line for line in _lines(path) if line["step"] <= step]
        before = kept[-1] if kept else {}
        self._wall = time.perf_counter() - before.get("seconds", 0.0)
        self._cpu = time.process_time() - before.get("cpu_seconds", 0.0)
        write_bytes(path, b"".join(_line(record) for record in kept))

    @property
    def seconds(self) -> float:
        """Wall seconds of training, those of earlier sessions included as far as they were logged."""
        return time.perf_counter() - self._wall

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process spent training, counted like ``seconds``."""
        return time.process_time() - self._cpu

    def add(self, losses: Row) -> None:
        """Take the losses of one step (scalars, on any device) without waiting for the device."""
        if not isinstance(losses, Mapping):
            raise ConfigError(f"train_step returned {type(losses).__name__}, expected a mapping of scalar tensors")
        self._rows.append(losses)

    def pending(self) -> list[dict[str, float]]:
        """The rows since the last record as numbers, for a checkpoint. Raises StepNotFinite."""
        rows = _numbers(self._rows)
        self._check(rows)
        return rows

    def write(self, step: int, stage: str, norms: Row) -> dict[str, float]:
        """Check the interval that ends after ``step`` steps, append its record and return the mean losses.

        Raises StepNotFinite for the first NaN or infinity among the losses, StoreError where the file cannot grow.
        """
        *rows, norm_row = _numbers([*self._rows, norms])
        self._check(rows)
        names = dict.fromkeys(name for row in rows for name in row)
        means = {name: _mean([row[name] for row in rows if name in row]) for name in names}
        record = {
            "step": step,
            "images": step * self.batch_size,
            "stage": stage,
            "losses": means,
            "gradient_norms": {name: value if math.isfinite(value) else None for name, value in norm_row.items()},
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
        }
        try:
            with open(self.path, "ab") as file:
                file.write(_line(record))
        except OSError as error:
            raise write_error(self.path, error) from error
        self._rows, self._first = [], step
        return means

    def _check(self, rows: list[dict[str, float]]) -> None:
        for offset, row in enumerate(rows):
            for name, value in row.items():
                if not math.isfinite(value):
                    step = self._first + offset
                    raise StepNotFinite.at(step, f"loss {name} is {value} at step {step}")


def records(path: Path) -> list[dict[str, Any]]:
    """The log's records in order; a line cut short by a crash is left out."""
    return _lines(path)


def _numbers(rows: list[Row]) -> list[dict[str, float]]:
    """Rows of scalars as numbers, with one transfer per device and dtype."""
    groups: dict[tuple[torch.device, torch.dtype], list[tuple[int, str, Tensor]]] = {}
    out: list[dict[str, float]] = [dict.fromkeys(row, 0.0) for row in rows]
    for i, row in enumerate(rows):
        for name, value in row.items():
            if isinstance(value, Tensor):
                groups.setdefault((value.device, value.dtype), []).append((i, name, value))
            else:
                out[i][name] = float(value)
    for members in groups.values():
        try:
            values = torch.stack([value.detach() for _, _, value in members]).reshape(len(members)).double().tolist()
        except RuntimeError as error:
            names = ", ".join(dict.fromkeys(name for _, name, value in members if value.numel() != 1))
            raise ConfigError(f"train_step must return scalars, these are not: {names}") from error
        for (i, name, _), value in zip(members, values, strict=True):
            out[i][name] = value
    return out


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_bytes()
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
