"""One ``profile`` from its words to its tables: every method in turn, whatever becomes of the others."""

from __future__ import annotations

import functools
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.console import columns, duration
from harness.running.profiling import records
from harness.running.profiling.arguments import ProfileArguments, parse
from harness.running.profiling.subjects import Subject
from harness.tables import throughput
from harness.types import ConfigError, HarnessError, MissingAsset, Unsupported

if TYPE_CHECKING:
    import torch

    from harness.running.profiling.measurement import Order

FAILED = 3
SPARE = 0.5
"""CPUs that a row of all threads may lack: with fewer, threads that wait for one another take tens of times longer."""


def run(words: Sequence[str], *, tables_only: bool = False) -> int:
    """Measure what the words ask for, unless ``tables_only``, and write the tables of everything measured; 0 where
    every row ended well, else 3."""
    asked = parse(words)
    bad = 0
    if not tables_only:
        bad = _measure_all(asked)
    written = throughput.write(records.read(asked.store), asked.out)
    print("\n".join(["tables:", *(f"  {path}" for path in written)]) if written else "nothing was measured yet")
    return FAILED if bad else 0


def _measure_all(asked: ProfileArguments) -> int:
    """Measure every row, print each as it ends, and return how many failed."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler tells every start and stop otherwise
    from harness.running import devices, hardware

    device = devices.resolve_device(asked.device)
    if device.type == "cpu":
        if asked.precision == "tf32":
            raise ConfigError("tf32 is arithmetic of CUDA devices", where="profile", remedy="Write precision=fp32.")
        from harness.running.profiling.measurement import load_code

        load_code(asked.subjects)
    threads = asked.threads or ((1, hardware.cores()) if device.type == "cpu" else (1,))
    failed = 0
    for subject in asked.subjects:
        free = float(hardware.cores())
        for count in dict.fromkeys(threads):
            order = _order(subject, asked, device, count)
            record = _measured(subject, order, asked, free)
            records.write(asked.store, record)
            print(_line(record), flush=True)
            failed += record["status"] == "failed"
            free -= _others(record) if count == 1 else 0.0
    return failed


def _measured(subject: Subject, order: Order, asked: ProfileArguments, free: float) -> dict[str, Any]:
    """The record of one row; ``free`` CPUs are left by other work."""
    from harness.running.profiling.own_process import in_own_process

    threads = order.settings.threads
    if not asked.threads and threads > 1 and free < threads - SPARE:
        reason = (
            f"{free:.1f} CPUs were free for {threads} threads, which wait for one another: ask with threads={threads}"
        )
        return _ended(subject, order, asked, "skipped", reason)
    if order.device.type == "cuda":  # its context does not survive a fork, and its allocator tells its own peak
        return _record(subject, order, asked)
    return in_own_process(
        functools.partial(_record, subject, order, asked), functools.partial(_ended, subject, order, asked, "failed")
    )


def _others(record: Mapping[str, Any]) -> float:
    """CPUs that other processes used while a row was measured."""
    parts = (record.get(name) or {} for name in ("training", "inference"))
    return max((part.get("other_cpus") or 0.0 for part in parts), default=0.0)


def _record(subject: Subject, order: Order, asked: ProfileArguments) -> dict[str, Any]:
    """The record of one row; an error of the method, or of the machine's memory, is its reason."""
    from harness.running.profiling.largest_batch import out_of_memory
    from harness.running.profiling.measurement import measure
    from harness.running.profiling.record_numbers import rounded

    began = time.perf_counter()
    status, reason, found = "done", "", dict[str, Any]()
    try:
        found = measure(subject, order)
    except (MissingAsset, Unsupported) as error:
        status, reason = "skipped", str(error)
    except Exception as error:
        status = "failed"
        reason = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        if out_of_memory(error):
            reason = f"out of memory: {reason}"
        elif not isinstance(error, HarnessError):
            traceback.print_exc(file=sys.stderr)
    seconds = round(time.perf_counter() - began, 1)
    return _ended(subject, order, asked, status, reason) | {"seconds": seconds, **rounded(found)}


def _ended(subject: Subject, order: Order, asked: ProfileArguments, status: str, reason: str) -> dict[str, Any]:
    """A record without figures."""
    from harness.running import devices, provenance

    name = devices.device_name(order.device)
    identity = _identity(subject, order, name)
    environment = provenance.environment(subject.cell, order.settings, name, order.precision)
    environment.pop("command")  # names places of this machine
    return {
        "version": records.VERSION,
        "key": records.key_of(identity),
        "identity": identity,
        "status": status,
        "reason": _without_places(reason, asked),
        "seconds": 0.0,
        "env": environment,
    }


def _order(subject: Subject, asked: ProfileArguments, device: torch.device, threads: int) -> Order:
    from harness.running import devices
    from harness.running.profiling.measurement import Order
    from harness.running.profiling.training_step import Limits

    precision = asked.precision or subject.cell.precision
    resolved = precision if precision == "tf32" else devices.resolve_precision(precision, device)
    trace = None
    if asked.trace is not None:
        parts = (subject.cell.variant, subject.cell.tier, resolved, f"{threads}threads")
        trace = asked.trace / f"{re.sub(r'[^A-Za-z0-9._=-]+', '_', '-'.join(parts))}.json"
    return Order(
        settings=replace(asked.settings, threads=threads),
        device=device,
        precision=resolved,
        compiled=asked.compiled,
        at=asked.at,
        limits=Limits(**asked.limits),
        largest=asked.largest,
        trace=trace,
    )


def _identity(subject: Subject, order: Order, device: str) -> dict[str, Any]:
    """What makes two rows the same question."""
    cell, settings = subject.cell, order.settings
    return {
        "method": cell.method,
        "variant": cell.variant,
        "overrides": dict(cell.overrides),
        "adjusted": dict(subject.adjusted),
        "suite": subject.listing.suite,
        "part": subject.listing.part,
        "setting": subject.listing.setting,
        "tier": cell.tier,
        "data": cell.data.name,
        "resolution": cell.data.resolution,
        "batch": cell.config["batch_size"],
        "further_rows": int(cell.config.get("unlabelled_batch_size") or 0),
        "device": device,
        "precision": order.precision,
        "compile": order.compiled,
        "at": order.at,
        "threads": settings.threads,
        "deterministic": settings.deterministic,
        "channels_last": settings.channels_last,
    }


def _without_places(reason: str, asked: ProfileArguments) -> str:
    for name, place in (("store", asked.store), ("cache", asked.settings.cache), ("home", Path.home())):
        reason = reason.replace(str(place), f"<{name}>")
    return reason


def _line(record: Mapping[str, Any]) -> str:
    """A row for the console."""
    identity = record["identity"]
    where = f"{identity['variant']}, {identity['tier']}, {identity['precision']}, {identity['threads']} threads"
    spent = duration(record["seconds"])
    if record["status"] != "done":
        return f"{where}: {record['status']}: {record['reason']} ({spent})"
    training, inference = record["training"], record["inference"]
    rows = []
    if training:
        rows.append(["training", f"{training['images_s']:.4g}", f"{training['cpu_images_s'] or 0:.4g}"])
    if inference:
        rows.append([inference["kind"], f"{inference['images_s']:.4g}", f"{inference['cpu_images_s'] or 0:.4g}"])
    busy = [part for part in (training, inference) if part and part["loaded"]]
    note = (
        f"\n  the machine was busy with {max(p['other_cpus'] or 0 for p in busy):.1f} CPUs of other work"
        if busy
        else ""
    )
    table = columns(["", "images/s", "per CPU second"], rows)
    return f"{where} ({record['samples']}, {spent}){note}\n{table}\n"
