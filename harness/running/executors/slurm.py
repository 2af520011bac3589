"""Executor for a SLURM cluster: one array job per level of the plan, through submitit (extra ``slurm``).

Results travel through the store on the shared file system, so that the submitting process may end: the jobs go on, and
the same command later finds what they finished. ``cluster="debug"`` runs every job in this process, for tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.running.cell import record_death, run_cell
from harness.running.executors.levels import Work, levels, remotely
from harness.running.settings import Observer, RunSettings
from harness.store import Store
from harness.types import Cell, MissingAsset, Outcome


class Slurm:
    """Submits cells as SLURM array jobs with at most ``workers`` at once; dependent cells follow when these have ended.

    ``parameters`` are submitit's (``timeout_min``, ``slurm_partition``, ``gpus_per_node``, ...). Raises MissingAsset
    where submitit is not installed. Progress is not reported; the store shows it.
    """

    def __init__(
        self,
        store: Store,
        settings: RunSettings,
        observer: Observer | None = None,
        *,
        workers: int = 8,
        parameters: Mapping[str, Any] | None = None,
        cluster: str | None = None,
        work: Work = run_cell,
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise MissingAsset(
                "submitit is not installed",
                where="executor=slurm",
                remedy="Install the extra: pip install 'parallax-harness[slurm]'.",
            ) from error
        self.store, self.settings, self.work = store, settings, work
        self._executor = submitit.AutoExecutor(folder=store.root / "jobs", cluster=cluster)
        self._executor.update_parameters(name="parallax", cpus_per_task=settings.threads, **(parameters or {}))
        if cluster is None:
            self._executor.update_parameters(slurm_array_parallelism=workers)

    def map(self, cells: Sequence[Cell]) -> Iterator[Outcome]:
        """Outcomes in the order of the plan; a job that dies costs its cell only."""
        for level in levels(cells):
            with self._executor.batch():
                jobs = [
                    self._executor.submit(remotely, self.work, cell, self.store.root, self.settings) for cell in level
                ]
            for cell, job in zip(level, jobs, strict=True):
                try:
                    yield job.result()
                except Exception as error:
                    yield record_death(cell, self.store, f"SLURM job {job.job_id} gave no outcome: {error}")
