"""Executor for a Ray cluster (extra ``ray``): one task per cell, results through the store on a shared file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from harness.running.cell import record_death, run_cell
from harness.running.executors.levels import Work, levels, remotely
from harness.running.settings import Observer, RunSettings
from harness.store import Store
from harness.types import Cell, MissingAsset, Outcome


class Ray:
    """Runs cells as Ray tasks; ``workers`` caps how many run at once on a local cluster started here.

    A running cluster is joined when the environment names one (RAY_ADDRESS). With ``device=cuda`` a task asks for one
    GPU. Raises MissingAsset where ray is not installed. Progress is not reported; the store shows it.
    """

    def __init__(
        self,
        store: Store,
        settings: RunSettings,
        observer: Observer | None = None,
        *,
        workers: int = 2,
        work: Work = run_cell,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingAsset(
                "ray is not installed",
                where="executor=ray",
                remedy="Install the extra: pip install 'parallax-harness[ray]'.",
            ) from error
        self.store, self.settings, self.work, self._ray = store, settings, work, ray
        if not ray.is_initialized():
            # A cluster that is joined brings its own number of cores.
            cores = None if "RAY_ADDRESS" in os.environ else workers * settings.threads
            ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)

    def map(self, cells: Sequence[Cell]) -> Iterator[Outcome]:
        """Outcomes in the order in which cells end; a task whose worker dies costs its cell only."""
        gpus = 1 if self.settings.device.startswith("cuda") else 0
        task: Any = self._ray.remote(num_cpus=self.settings.threads, num_gpus=gpus, max_retries=0)(remotely)
        for level in levels(cells):
            pending = {task.remote(self.work, cell, self.store.root, self.settings): cell for cell in level}
            while pending:
                ended, _ = self._ray.wait(list(pending))
                for reference in ended:
                    cell = pending.pop(reference)
                    try:
                        yield self._ray.get(reference)
                    except Exception as error:
                        yield record_death(cell, self.store, f"the Ray task gave no outcome: {error}")
