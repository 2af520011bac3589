"""Leases: one process at a time works on a folder, and a dead owner does not block it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from harness.atomic import write_error
from harness.types import StoreError

HEARTBEAT = 20.0
EXPIRY = 120.0


class Busy(StoreError):
    """Another live process holds the lease; try again later."""


@dataclass(frozen=True)
class Owner:
    """A process, named so that another one can tell whether it still lives: ``node`` is the machine (host, boot and
    process namespace), ``born`` the process's start time in the machine's own unit."""

    node: str
    host: str
    pid: int
    born: str

    @classmethod
    def me(cls) -> Owner:
        return cls(node=_node(), host=platform.node(), pid=os.getpid(), born=_born(os.getpid()) or "")

    @property
    def alive(self) -> bool | None:
        """True or False for a process of this machine, None where it cannot be known from here."""
        if self.node != _node():
            return None
        return _born(self.pid) == self.born


class Lease:
    """Exclusive right to a folder, as the file ``path``; a context manager.

    The file is created with O_EXCL and names its owner. A lease is stale when its owner is a dead process of this
    machine, or, for another machine, when its heartbeat (the file's mtime) is older than ``EXPIRY`` seconds. Entering
    raises Busy while another live owner holds it, StoreError where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner = Owner.me()
        self._stop = threading.Event()

    def __enter__(self) -> Lease:
        with _guard(self.path):
            holder = read_owner(self.path)
            if holder is not None and not is_stale(self.path, holder):
                raise Busy(
                    f"process {holder.pid} on {holder.host} is working on it",
                    where=str(self.path.parent),
                    remedy="Wait for it to end, or stop it; its lease is then taken over.",
                )
            with suppress(FileNotFoundError):
                self.path.unlink()
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            try:
                os.write(handle, json.dumps(asdict(self._owner)).encode())
            finally:
                os.close(handle)
        self._stop.clear()
        threading.Thread(target=self._beat, daemon=True, name="lease").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with suppress(OSError, StoreError), _guard(self.path):
            if read_owner(self.path) == self._owner:
                self.path.unlink()

    def check(self) -> None:
        """Raise Busy if another process took the lease over, as after a long sleep of this machine."""
        if read_owner(self.path) != self._owner:
            raise Busy("the lease was taken over by another process", where=str(self.path.parent))

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            with suppress(OSError):
                os.utime(self.path)


def read_owner(path: Path) -> Owner | None:
    """Who holds the lease file, or None where there is none or a crash left it half written."""
    try:
        return Owner(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def is_stale(path: Path, owner: Owner) -> bool:
    """Whether ``owner`` no longer works: dead on this machine, or silent for ``EXPIRY`` seconds on another."""
    alive = owner.alive
    if alive is not None:
        return not alive
    try:
        return time.time() - path.stat().st_mtime > EXPIRY
    except OSError:
        return True


def is_held(path: Path) -> bool:
    """Whether a live process holds the lease file."""
    owner = read_owner(path)
    return owner is not None and not is_stale(path, owner)


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    # Two processes may find the same stale lease: judging and replacing it is one critical section. The kernel
    # releases this lock when a process dies, so that the guard itself cannot become stale.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_name(f"{path.name}.lock"), "wb") as lock:
            # A network file system may have no locks; then two processes may race for a stale lease, O_EXCL or not.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise write_error(path, error) from error


def _node() -> str:
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _born(pid: int) -> str | None:
    """Start time of a living process as text, None for a dead one or a zombie."""
    if not Path("/proc/self/stat").exists():
        import psutil

        try:
            return str(psutil.Process(pid).create_time())
        except psutil.Error:
            return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
