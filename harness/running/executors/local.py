"""Executors of this machine: one process, or several spawned ones with one thread each."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from harness.leases import Busy
from harness.running.cell import label, record_death, run_cell
from harness.running.executors.levels import Work
from harness.running.settings import Observer, Progress, RunSettings, silent
from harness.store import Store
from harness.types import Cell, Outcome

POLL_SECONDS = 1.0
GRACE_SECONDS = 60.0
"""How long workers may take to save their checkpoints after Ctrl-C."""


class InProcess:
    """Runs cells one after the other in this process; a cell that another process works on is tried again later."""

    def __init__(
        self, store: Store, settings: RunSettings, observer: Observer | None = None, *, work: Work = run_cell
    ) -> None:
        self.store, self.settings, self.observer, self.work = store, settings, observer or silent, work

    def map(self, cells: Sequence[Cell]) -> Iterator[Outcome]:
        """Outcomes in the order in which cells end."""
        waiting, busy = deque(cells), 0
        while waiting:
            cell = waiting.popleft()
            try:
                outcome = self.work(cell, self.store, self.settings, self.observer)
            except Busy as error:
                self.observer(Progress(cell.key, label(cell), "busy", message=str(error)))
                waiting.append(cell)
                busy += 1
                if busy >= len(waiting):
                    time.sleep(POLL_SECONDS)
                    busy = 0
            else:
                busy = 0
                yield outcome


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    cell: Cell | None = None


class ProcessPool:
    """Runs cells on ``workers`` spawned processes that share the store.

    A worker that dies (killed, out of memory) costs its cell only: the cell is recorded as failed, a new worker takes
    its place. Cells wait for those they build on. Ctrl-C reaches all workers, which save their checkpoints and end.
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
        self.store, self.settings, self.observer = store, settings, observer or silent
        self.workers, self.work = max(1, workers), work

    def map(self, cells: Sequence[Cell]) -> Iterator[Outcome]:
        """Outcomes in the order in which cells end."""
        waiting: list[Cell] = list(cells)
        open_keys = {cell.key for cell in cells}
        retry_at: dict[str, float] = {}
        team: list[_Worker] = []
        try:
            while waiting or any(worker.cell for worker in team):
                self._hand_out(team, waiting, open_keys, retry_at)
                for worker in self._ready(team):
                    outcome = self._receive(worker, team)
                    if isinstance(outcome, Outcome):
                        open_keys.discard(outcome.key)
                        yield outcome
                    elif isinstance(outcome, Cell):
                        retry_at[outcome.key] = time.monotonic() + POLL_SECONDS
                        waiting.append(outcome)
        except BaseException:
            _stop(team)
            raise
        finally:
            _dismiss(team)

    def _hand_out(
        self, team: list[_Worker], waiting: list[Cell], open_keys: set[str], retry_at: dict[str, float]
    ) -> None:
        now = time.monotonic()
        team[:] = [worker for worker in team if worker.cell or worker.process.is_alive()]
        ready = [
            cell
            for cell in waiting
            if open_keys.isdisjoint(cell.upstream.values()) and retry_at.get(cell.key, 0.0) <= now
        ]
        for cell in ready:
            worker = next((worker for worker in team if worker.cell is None), None)
            if worker is None:
                if len(team) >= self.workers:
                    return
                worker = self._hire()
                team.append(worker)
            waiting.remove(cell)
            worker.cell = cell
            worker.pipe.send(cell)

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(
            target=_serve, args=(there, self.store.root, self.settings, self.work), name="cell", daemon=False
        )
        process.start()
        there.close()
        return _Worker(process, here)

    def _ready(self, team: list[_Worker]) -> list[_Worker]:
        pipes = {worker.pipe: worker for worker in team if worker.cell}
        return [pipes[pipe] for pipe in wait(list(pipes), timeout=POLL_SECONDS) if isinstance(pipe, Connection)]

    def _receive(self, worker: _Worker, team: list[_Worker]) -> Outcome | Cell | None:
        """An outcome, a cell to try again because another process has it, or None after a sign of progress."""
        cell = worker.cell
        assert cell is not None
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            team.remove(worker)
            worker.process.join()
            return record_death(cell, self.store, _death(worker.process.exitcode))
        if isinstance(message, Progress):
            self.observer(message)
            return None
        worker.cell = None
        return message if isinstance(message, Outcome) else cell


def _serve(pipe: Connection, root: Path, settings: RunSettings, work: Work) -> None:
    """A worker's life: take a cell, work on it, send its outcome (None if busy elsewhere), until the pipe closes."""
    store = Store(root)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def report(progress: Progress) -> None:
        try:
            pipe.send(progress)
        except OSError:
            # The parent is gone; its next run resumes this cell from the last checkpoint.
            raise SystemExit(1) from None

    try:
        while True:
            cell = pipe.recv()
            try:
                pipe.send(work(cell, store, settings, report))
            except Busy:
                pipe.send(None)
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the worker process was killed by {name}{hint}"
    return f"the worker process ended with exit code {code}"


def _stop(team: list[_Worker]) -> None:
    """Ask busy workers to save and end; those that do not within the grace period are killed."""
    for worker in team:
        if worker.cell and worker.process.is_alive():
            worker.process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for worker in team:
        if worker.cell:
            worker.process.join(max(0.0, deadline - time.monotonic()))


def _dismiss(team: list[_Worker]) -> None:
    for worker in team:
        worker.pipe.close()
        worker.process.join(2.0)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
