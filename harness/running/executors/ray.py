"""Executor for a Ray cluster (extra ``ray``): one task per cell, results through the store on a shared file system."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.running.cell import record_death, run_cell
from harness.running.executors.levels import levels, patiently
from harness.running.settings import Observer, RunSettings
from harness.store import Store
from harness.types import Cell, MissingAsset, Outcome


class Ray:
    """Runs cells as Ray tasks; ``workers`` caps how many run at once on a local cluster started here.

    A running cluster is joined when the environment names one (RAY_ADDRESS). With ``device=cuda`` a task asks for one
    GPU. Raises MissingAsset where ray is not installed. Progress is not reported; the store shows it.
    """

    def __init__(
        self, store: Store, settings: RunSettings, observer: Observer | None = None, *, workers: int = 2
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingAsset(
                "ray is not installed",
                where="executor=ray",
                remedy="Install the extra: pip install 'parallax-harness[ray]'.",
            ) from error
        self.store, self.settings, self._ray = store, settings, ray
        if not ray.is_initialized():
            ray.init(num_cpus=workers * settings.threads, include_dashboard=False, log_to_driver=False)

    def map(self, cells: Sequence[Cell]) -> Iterator[Outcome]:
        """Outcomes in the order in which cells end; a task whose worker dies costs its cell only."""
        gpus = 1 if self.settings.device.startswith("cuda") else 0
        task: Any = self._ray.remote(num_cpus=self.settings.threads, num_gpus=gpus, max_retries=0)(work)
        for level in levels(cells):
            pending = {task.remote(cell, self.store.root, self.settings): cell for cell in level}
            while pending:
                ended, _ = self._ray.wait(list(pending))
                for reference in ended:
                    cell = pending.pop(reference)
                    try:
                        yield self._ray.get(reference)
                    except Exception as error:
                        yield record_death(cell, self.store, f"the Ray task gave no outcome: {error}")


def work(cell: Cell, root: Path, settings: RunSettings) -> Outcome:
    """Run one cell in a Ray worker."""
    return patiently(run_cell, cell, Store(root), settings)
