"""What a profiled method is shown: the real training split where it is small or built, else random samples like it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.cache import open_dataset, split_folder
from harness.data.fields import FIELDS
from harness.data.views import INDEX
from harness.types import Cell, DataError, DataSpec

SMALL_ROWS, SMALL_SIDE = 512, 64
"""A split of at most this many pictures of at most this side is built when it is missing."""
LEAST_ROWS = 32
CODES = 60_000
"""Coded depths of indoor sets lie below."""


def samples(cell: Cell, protocol: Any, cache: Path, rows: int, *, made_up: str = "") -> tuple[Any, str]:
    """A data set to open views of, and what its samples are: ``real``, or ``synthetic`` with the reason.

    ``rows`` is the least number of rows a made-up split has; ``made_up`` is a reason to make it up in any case.
    """
    splits = [protocol.TRAIN[0], *(split for split, _ in getattr(protocol, "STREAMS", {}).values())]
    splits = [name for name in splits if name in cell.data.splits]
    reason = made_up or _why_not_real(cell.data, cache, splits)
    if not reason:
        return open_dataset(cell.data, cache), "real"
    return SyntheticDataset(cell.data, max(rows, LEAST_ROWS)), f"synthetic: {reason}"


def _why_not_real(spec: DataSpec, cache: Path, splits: Sequence[str]) -> str:
    if all((split_folder(spec, cache, name) / INDEX).is_file() for name in splits):
        return ""
    if spec.family == "folder":
        return "published pictures that were not built before"
    rows = sum(spec.splits[name] for name in splits)
    if rows > SMALL_ROWS or spec.resolution > SMALL_SIDE:
        return f"{rows} pictures of {spec.resolution} px that were not built before"
    return ""


class SyntheticDataset:
    """Random samples of the fields, shapes and types of a data set; every split has ``rows`` rows."""

    def __init__(self, spec: DataSpec, rows: int) -> None:
        self.spec, self.rows = spec, rows

    def split(self, name: str) -> SyntheticSplit:
        """A split of any name."""
        return SyntheticSplit(self.spec, name, self.rows)


class SyntheticSplit:
    """One split; a field's values depend on its name alone."""

    digest = ""

    def __init__(self, spec: DataSpec, name: str, rows: int) -> None:
        self.spec, self.name, self.rows = spec, name, rows

    def __len__(self) -> int:
        return self.rows

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that can be made up."""
        return tuple(_MAKERS)

    def view(self, fields: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        """Arrays [N,...] by field; raises DataError for a field that cannot be made up."""
        for name in fields:
            if name not in _MAKERS:
                raise DataError(f"field '{name}' cannot be made up", where=self.spec.name)
        return SyntheticView(self.spec, self.rows, fields)


class SyntheticView(Mapping[str, NDArray[Any]]):
    """The named fields, each made when it is first asked for."""

    def __init__(self, spec: DataSpec, rows: int, fields: Sequence[str]) -> None:
        self.spec, self.rows, self.names = spec, rows, tuple(fields)
        self._made: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.names:
            raise KeyError(name)
        if name not in self._made:
            drawing = np.random.default_rng(len(name))
            self._made[name] = _MAKERS[name](self.spec, self.rows, drawing)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return self.rows


Maker = Callable[[DataSpec, int, np.random.Generator], NDArray[Any]]


def _shape(spec: DataSpec) -> tuple[int, int]:
    """Height and width: street scenes are twice as wide as high, everything else is square."""
    return spec.resolution, spec.resolution * (2 if "setting" in spec.options else 1)


def _image(spec: DataSpec, rows: int, drawing: np.random.Generator) -> NDArray[Any]:
    return drawing.integers(0, 256, (rows, *_shape(spec), spec.channels), dtype=np.uint8)


def _label(spec: DataSpec, rows: int, drawing: np.random.Generator) -> NDArray[Any]:
    """Blocks of 8 pixels of one class each."""
    height, width = _shape(spec)
    blocks = drawing.integers(0, int(spec.options.get("classes", 2)), (rows, -(-height // 8), -(-width // 8)))
    return np.kron(blocks, np.ones((1, 8, 8), np.uint8))[:, :height, :width].astype(FIELDS["label"].dtype)


def _category(spec: DataSpec, rows: int, drawing: np.random.Generator) -> NDArray[Any]:
    count = int(spec.options.get("categories", spec.options.get("classes", 1)))
    return (np.arange(rows) % count).astype(FIELDS["category"].dtype)


def _depth(spec: DataSpec, rows: int, drawing: np.random.Generator) -> NDArray[Any]:
    near, far = (spec.prior.near, spec.prior.far) if spec.prior else (1.0, 2.0)
    return drawing.uniform(near, far, (rows, *_shape(spec))).astype(FIELDS["depth"].dtype)


def _depth_coded(spec: DataSpec, rows: int, drawing: np.random.Generator) -> NDArray[Any]:
    return drawing.integers(0, CODES + 1, (rows, *_shape(spec)), dtype=np.int32)


def _pose(spec: DataSpec, rows: int, drawing: np.random.Generator) -> NDArray[Any]:
    angles = drawing.uniform(-0.3, 0.3, (rows, 2))
    radius = np.full((rows, 1), spec.prior.radius if spec.prior else 1.0)
    return np.concatenate([angles, radius], axis=1).astype(FIELDS["pose"].dtype)


_MAKERS: dict[str, Maker] = {
    "image": _image,
    "label": _label,
    "category": _category,
    "depth": _depth,
    "depth_coded": _depth_coded,
    "pose": _pose,
}
