"""One row of the profile: a method with a preset, on a device with a number of threads, from its building to its
figures."""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from harness import registry
from harness.metrics.memory_use import PeakMemory
from harness.metrics.stopwatch import stopwatch
from harness.metrics.throughput import Throughput, measure_throughput
from harness.running import devices, streams, training
from harness.running.optimisers import optimisers
from harness.running.profiling import record_numbers
from harness.running.profiling.batches import samples
from harness.running.profiling.compiling import CalledModules, uncompiled
from harness.running.profiling.inference import inference_call
from harness.running.profiling.largest_batch import largest_fitting, out_of_memory
from harness.running.profiling.phases import PhaseRecorder
from harness.running.profiling.steps import Steps, period_of
from harness.running.profiling.subjects import Subject
from harness.running.profiling.training_step import Limits, TrainingStep, count_phases, measure_training
from harness.running.settings import RunSettings
from harness.types import Cell, Context

DTYPES = {"fp32": "float32", "tf32": "tf32", "bf16": "bfloat16"}
INFERENCE_SHARE = 1 / 3
"""Share of the limit in seconds that each of the two measurements of inference gets."""


@dataclass(frozen=True)
class Order:
    """How a row is to be measured: ``precision`` fp32, tf32 or bf16; ``at`` is the share of the
    schedule after which steps are measured; ``largest`` asks for the largest batch that fits;
    ``trace`` is the file of the Chrome trace of the training step."""

    settings: RunSettings
    device: torch.device
    precision: str
    compiled: bool = False
    at: float = 0.75
    limits: Limits = field(default_factory=Limits)
    largest: bool = True
    trace: Path | None = None


@dataclass(frozen=True)
class Built:
    """A method ready for its first step at ``start``."""

    trainer: training.Trainer
    samples: str
    start: int
    prepare_seconds: float
    rows: int


def load_code(subjects: Sequence[Subject]) -> None:
    """Import what the rows need, so that every forked process finds it there; what cannot be imported is left to fail
    in its row."""
    importlib.import_module("torch._dynamo")  # optimisers ask for it when they are built
    for subject in subjects:
        with suppress(Exception):
            registry.protocol(subject.cell.protocol)
            registry.load(subject.cell.source or subject.cell.method)


def measure(subject: Subject, order: Order) -> dict[str, Any]:
    """The figures of a row as plain data. Errors of the method and of the machine's memory pass through."""
    gc.collect()
    memory = PeakMemory(order.device)
    with configured(order):
        began = time.perf_counter()
        built = build(subject.cell, subject, order)
        built_seconds = time.perf_counter() - began - built.prepare_seconds
        found: dict[str, Any] = {
            "samples": built.samples,
            "first_step": built.start,
            "total_steps": built.trainer.schedule.steps,
            "build_s": built_seconds,
            "prepare_s": built.prepare_seconds,
            "prepare_rows": built.rows,
            "parameters": training.parameter_count(built.trainer.method),
            "clock_mhz": record_numbers.clock_mhz(order.device),
        }
        found |= _training(subject.cell, built, order, memory)
        found["inference"] = _inference(subject.cell, built, order)
        del built
        found["largest_batch"], found["largest_batch_reason"] = _largest(subject, order)
    return found


@contextmanager
def configured(order: Order) -> Iterator[None]:
    """Threads, determinism and the precision of float32 products while a row is measured."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    if order.device.type == "cuda":
        torch.set_float32_matmul_precision("high" if order.precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = order.precision == "tf32"
    try:
        with devices.configured(order.device, order.settings):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def build(cell: Cell, subject: Subject, order: Order) -> Built:
    """The method as a cell builds it, at the step of its schedule that was asked for: every lazy phase is due there."""
    kind = registry.load(cell.source or cell.method)
    protocol = registry.protocol(cell.protocol)
    plan = training.cell_schedule(cell, kind)
    upstream = {role: _untrained(needed, order) for role, needed in subject.upstream.items()}
    context = devices.make_context(cell, order.device, "train", plan.steps, upstream, order.settings.cache)
    batch = max(context.batch_size, int(cell.config.get("unlabelled_batch_size") or 0))
    dataset, said = samples(cell, protocol, order.settings.cache, batch, made_up=subject.made_up)
    opened = streams.views(protocol, dataset, kind, cell)
    method = training.build_method(cell, kind, context)
    shown = streams.samples(opened)
    began = time.perf_counter()
    training.prepare(method, shown)
    seconds = time.perf_counter() - began
    batches = streams.batches(method, opened, cell, context, order.settings.channels_last)
    period = period_of(cell.config)
    start = int(plan.steps * order.at) // period * period
    training.enter_stages(method, plan, start - 1)
    trainer = training.Trainer(method, batches, context, plan)
    trainer.step = start
    return Built(trainer, said, start, seconds, len(shown["image"]))


def _untrained(cell: Cell, order: Order) -> Mapping[str, Any]:
    """The state of a method that another builds on: its weights cost the same before they are trained."""
    kind = registry.load(cell.source or cell.method)
    context: Context = devices.make_context(cell, order.device, "train", 1, None, order.settings.cache)
    return training.build_method(cell, kind, context).state_dict()


def _training(cell: Cell, built: Built, order: Order, memory: PeakMemory) -> dict[str, Any]:
    if not optimisers(built.trainer.method):
        reason = "fitted in one pass by prepare: there is no training step to measure"
        return {"training": None, "training_reason": reason, "phases": []}
    recorder = PhaseRecorder(built.trainer.method, stopwatch(order.device))
    called = CalledModules(lambda: recorder.current)
    with recorder:
        steps = Steps(built.trainer, recorder, built.start, period_of(cell.config))
        with called.watching():
            counted = count_phases(steps, order.limits)
        if order.compiled:
            called.compile()
            recorder.around = dict.fromkeys(called.twice, uncompiled)
        dtype = DTYPES[order.precision]
        measured: TrainingStep = measure_training(
            steps,
            counted,
            cell.config,
            order.limits,
            order.device,
            dtype,
            memory,
            order.trace,
            settling=max(steps.period, order.limits.warmup) if order.compiled else 0,
        )
    training_figures, phases = record_numbers.of_training(measured, order.compiled, order.device)
    return {"training": training_figures, "training_reason": "", "phases": phases}


def _inference(cell: Cell, built: Built, order: Order) -> dict[str, Any] | None:
    """A call for one image again and again, and calls for a batch."""
    trainer = built.trainer
    batch, count, limits = trainer.batches.next(), trainer.context.batch_size, order.limits
    single = inference_call(trainer.method, batch, 1, cell, order.device)
    several = inference_call(trainer.method, batch, count, cell, order.device)
    if single is None or several is None:
        return None
    seconds = limits.seconds * INFERENCE_SHARE
    usual: dict[str, Any] = {"device": order.device, "dtype": DTYPES[order.precision], "seconds": seconds}
    one: Throughput = measure_throughput(
        single[1], images_per_step=1, warmup=limits.warmup, blocks=limits.calls, explain=False, **usual
    )
    many: Throughput = measure_throughput(
        several[1], images_per_step=count, warmup=limits.warmup, blocks=limits.blocks, **usual
    )
    return record_numbers.of_inference(single[0], one, many, count)


def _largest(subject: Subject, order: Order) -> tuple[int | None, str]:
    if order.device.type != "cuda":
        return None, "a CPU has no memory of its own to fill"
    if not order.largest:
        return None, "not asked for"

    def fits(batch: int) -> bool:
        config = {**subject.cell.config, "batch_size": batch}
        larger = replace(subject, cell=replace(subject.cell, config=config), made_up="a larger batch")
        gc.collect()
        torch.cuda.empty_cache()
        try:
            trainer = build(larger.cell, larger, order).trainer
            trainer.advance()
            torch.cuda.synchronize(order.device)
        except Exception as error:
            if out_of_memory(error):
                return False
            raise
        return True

    known = devices.batch_size(subject.cell)
    try:
        return largest_fitting(fits, known), ""
    except Exception as error:  # a method may refuse a batch for reasons of its own; its other figures stand
        return None, f"{type(error).__name__}: {error}"
