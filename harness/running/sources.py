"""Where a running cell gets its method, protocol and data: the registry and the data room, or stand-ins in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.types import Cell, Scores

if TYPE_CHECKING:
    import numpy as np

    from harness.data.views import Dataset
    from harness.types import Context, DataSpec, Method


class EvaluationProtocol(Protocol):
    """A module of ``suites/protocols``: which samples to draw, and how they are scored.

    ``REQUIRES`` names the capabilities a method must have, ``TRAIN`` the split and the fields that training may see.
    ``predict`` returns arrays that are stored (images uint8, depths float32); ``score`` sees those arrays only.

    A protocol may also have ``STREAMS``: name of a further training stream -> its split and fields (see
    ``running.streams``); and ``probe(model, dataset, settings, context) -> Mapping[str, float]``: measured at the
    settings' number of ``probes`` along every training, without touching it; ``score`` finds the curves among the
    predictions as ``probe_step``, ``probe_<name>`` and, from the training log, ``probe_<loss>``.
    """

    REQUIRES: tuple[str, ...]
    TRAIN: tuple[str, tuple[str, ...]]

    def predict(
        self, model: Any, dataset: Dataset, settings: Mapping[str, Any], context: Context
    ) -> dict[str, np.ndarray]: ...

    def predict_reference(
        self, name: str, dataset: Dataset, settings: Mapping[str, Any], seed: int
    ) -> dict[str, np.ndarray]: ...

    def score(
        self,
        predictions: Mapping[str, np.ndarray],
        dataset: Dataset,
        settings: Mapping[str, Any],
        judges_root: Path,
        cell: Cell,
    ) -> Scores: ...


class Sources(Protocol):
    """What ``run_cell`` asks for by name."""

    def method(self, cell: Cell) -> type[Method]: ...

    def protocol(self, name: str) -> Any: ...

    def dataset(
        self, spec: DataSpec, cache: Path, workers: int, progress: Callable[[str, int, int], None]
    ) -> Dataset: ...

    def training_code(self, cell: Cell) -> str: ...


class Registered:
    """The real sources: registered methods and protocols, data sets built in the cache."""

    def method(self, cell: Cell) -> type[Method]:
        from harness import registry

        return registry.load(cell.source or cell.method)

    def protocol(self, name: str) -> Any:
        from harness import registry

        return registry.protocol(name)

    def dataset(self, spec: DataSpec, cache: Path, workers: int, progress: Callable[[str, int, int], None]) -> Dataset:
        from harness.data.cache import open_dataset

        return open_dataset(spec, cache, workers=workers, progress=progress)

    def training_code(self, cell: Cell) -> str:
        """Digest of the code that training depends on: not the protocol's, so that its repair costs no training."""
        from harness import registry

        base = str(cell.config.get("base", ""))
        return registry.code_digest(cell.source or cell.method, "", cell.data.family, base) if cell.code else ""
