"""Stored results made by hand, for tests of the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.store import StoredResult
from harness.types import Budget, Cell, DataSpec

DATA = DataSpec(name="objects/head", resolution=32, splits={"train": 64, "test": 32})
QUICK = Budget("quick", 24000)


def result(
    method: str = "hologan",
    seed: int = 0,
    metrics: Mapping[str, float] | None = None,
    *,
    budget: Budget = QUICK,
    overrides: Mapping[str, Any] | None = None,
    status: Any = "done",
    reason: str = "",
    notes: Mapping[str, str] | None = None,
    tier: Any = "micro",
    data: DataSpec = DATA,
    suite: str = "3d_aware",
    protocol: str = "generation_3d",
    arrays: Mapping[str, Any] | None = None,
    precision: str = "auto",
    pictures: Mapping[str, str] | None = None,
    folder: Path = Path("nowhere"),
) -> StoredResult:
    """One result with the given parts."""
    cell = Cell(
        suite=suite,
        protocol=protocol,
        method=method,
        tier=tier,
        seed=seed,
        budget=budget,
        data=data,
        overrides=overrides or {},
        precision=precision,
        code="c" * 64,
    )
    made = StoredResult(
        cell=cell,
        key=cell.key,
        folder=folder,
        status=status,
        reason=reason,
        metrics=metrics if metrics is not None else {"fid[proc-v1|n=2048]": 1.0 + seed},
        notes=notes or {},
        facts={"params": 1000, "device": "cpu"} if status == "done" else {},
        cost={"fit": {"seconds": 1.5}},
        code="c" * 64,
        picture_files=pictures or {},
    )
    # Fills the cache of the property that would read the store's files.
    vars(made)["per_sample"] = {name: np.array(values, np.float64) for name, values in (arrays or {}).items()}
    return made


@dataclass(frozen=True)
class Shelf:
    """Stands in for a Store: it only lists results."""

    listed: Sequence[StoredResult]

    def results(self) -> Iterator[StoredResult]:
        """The results in the order in which they were given."""
        return iter(self.listed)
