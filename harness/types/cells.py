"""Units of work and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.types.data import DataSpec
from harness.types.digests import digest_of

if TYPE_CHECKING:
    import numpy as np

Tier = Literal["smoke", "micro", "small", "paper"]
BudgetName = Literal["quick", "claims"]
Status = Literal["done", "failed", "skipped"]


@dataclass(frozen=True)
class Budget:
    """Images that training may consume; ``name`` says which of a suite's budgets it is."""

    name: str
    images: int


@dataclass(frozen=True)
class Cell:
    """One unit of work: everything that determines a result, by value.

    ``method`` is a registered name, or a reference row ``floor:<name>`` / ``oracle:<name>`` of the protocol (not
    trained). ``config`` is the resolved method configuration; ``overrides`` are the user's changes to the preset,
    shown as the variant's name. ``code`` digests the code that matters, ``source`` is the method's folder: neither is
    part of the key.
    """

    suite: str
    protocol: str
    method: str
    tier: Tier
    seed: int
    budget: Budget
    data: DataSpec
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "auto"
    upstream: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    source: str = ""

    @property
    def role(self) -> str:
        head, _, tail = self.method.partition(":")
        return head if tail and head in ("floor", "oracle") else "method"

    @property
    def variant(self) -> str:
        """The method's name with its overrides, e.g. ``hologan[train_rotation=none]``: the row label of tables."""
        if not self.overrides:
            return self.method
        return f"{self.method}[{','.join(f'{k}={v}' for k, v in sorted(self.overrides.items()))}]"

    @cached_property
    def key(self) -> str:
        """SHA-256 over everything but the code digest and local paths; see ``Store`` for how code ages a result."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("source", "code")}
        return digest_of({**parts, "budget": asdict(self.budget), "data": self.data.recipe_digest})


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: ``reason`` names the error or why it was skipped; ``cached`` says that no work was done."""

    key: str
    label: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
    cached: bool = False


@dataclass(frozen=True)
class Scores:
    """What a protocol returns: column name -> value (NaN allowed, with a reason in ``notes``), optional per-sample
    float64 arrays, pictures as uint8 [H,W,3], and counts or digests for the row's fingerprint."""

    metrics: Mapping[str, float]
    per_sample: Mapping[str, np.ndarray] = field(default_factory=dict)
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


class Executor(Protocol):
    """Runs cells somewhere; results travel through the store, only outcomes come back."""

    def map(self, cells: Sequence[Cell]) -> Iterator[Outcome]: ...
