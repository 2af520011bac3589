"""The three stages of a cell: fit a method, predict what the protocol asks for, score the predictions."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.leases import Busy, Lease
from harness.running import checkpoint, devices, forensics, probes, provenance, streams, training
from harness.running.cell import label
from harness.running.settings import Observer, Progress, RunSettings
from harness.running.sources import EvaluationProtocol, Sources
from harness.running.trainlog import StepNotFinite, TrainLog, records
from harness.store import CHECKPOINT, RESULT, TRAIN_LOG, StageName, Store
from harness.store_files import from_json, load_array, to_number
from harness.types import (
    Cell,
    Context,
    Generates,
    Method,
    NonFiniteError,
    Scores,
    ScoresAnomalies,
    Segments,
    StoreError,
    Unsupported,
)

CAPABILITIES: Mapping[str, type] = {
    "generates": Generates,
    "scores_anomalies": ScoresAnomalies,
    "segments": Segments,
}
Arrays = Mapping[str, np.ndarray]
MODEL = "model.json"
STATE_LAYOUT = "2"
"""Raised when what a training's state holds changes: an unfinished one of another layout starts anew."""


class Stages:
    """The stages of one cell under one lease; ``stage`` names the one at work."""

    def __init__(
        self, cell: Cell, store: Store, settings: RunSettings, lease: Lease, observe: Observer, sources: Sources
    ) -> None:
        self.cell, self.store, self.settings, self.lease = cell, store, settings, lease
        self.observe, self.sources = observe, sources
        self.stage = "data"
        self.device = devices.resolve_device(settings.device)
        self.precision = devices.resolve_precision(cell.precision, self.device)
        self.protocol: EvaluationProtocol = sources.protocol(cell.protocol)
        self.dataset = sources.dataset(cell.data, settings.cache, settings.data_workers, self._built)

    def run(self) -> None:
        """Do what is not done: a stage whose seal is sound and was made by this code from these inputs stays."""
        name = devices.device_name(self.device)
        environment = provenance.environment(self.cell, self.settings, name, self.precision)
        self.store.write(self.cell.key, "env.json", environment)
        with devices.configured(self.device, self.settings):
            if self.cell.role == "method":
                self._fit_unless_sealed()
            predictions = self._predict_unless_sealed()
            if self.settings.rerun == "score" or not self._sound("score", self.cell.code, self._inputs("predict")):
                self._score(predictions)

    # ---------------------------------------------------------------------------------------------------- fit
    def _fit_unless_sealed(self) -> None:
        code = self.sources.training_code(self.cell)
        opened = streams.views(self.protocol, self.dataset, self.sources.method(self.cell), self.cell)
        upstream = {role: self._upstream_digest(key) for role, key in self.cell.upstream.items()}
        inputs = {**streams.facts(self.protocol, opened, self.dataset), **upstream}
        rescoring = self.settings.rerun == "score" and not self.store.damage(self.cell.key, "fit")
        if rescoring or self._sound("fit", code, inputs):
            return
        with self._at("fit"):
            self._require_capabilities()
            self._fit(code, inputs, opened)

    def _require_capabilities(self) -> None:
        kind = self.sources.method(self.cell)
        for name in self.protocol.REQUIRES:
            members = vars(CAPABILITIES[name]).items()
            asked = [member for member, value in members if callable(value) and not member.startswith("_")]
            missing = [member for member in asked if not callable(getattr(kind, member, None))]
            if missing:
                raise Unsupported(
                    f"protocol {self.cell.protocol} asks for {name!r}, but the method has no {', '.join(missing)}",
                    where=self.cell.method,
                )

    def _fit(self, code: str, inputs: Mapping[str, str], opened: streams.Streams) -> None:
        cell, store, settings = self.cell, self.store, self.settings
        kind = self.sources.method(cell)
        plan = training.cell_schedule(cell, kind)
        upstream = {role: self._upstream(key) for role, key in cell.upstream.items()}

        def make() -> training.Trainer:
            context = devices.make_context(cell, self.device, "train", plan.steps, upstream, settings.cache)
            method = training.build_method(cell, kind, context)
            training.prepare(method, streams.samples(opened))
            batches = streams.batches(method, opened, cell, context, settings.channels_last)
            return training.Trainer(method, batches, context, plan, self._probe(context))

        path = store.folder(cell.key) / CHECKPOINT
        trainer = make()
        made_by = {"code": code, "device": self.device.type, "precision": self.precision}
        origin = {**inputs, **made_by, "layout of its state": STATE_LAYOUT}
        state = self._resumable(path, origin)
        if state is None:
            store.discard(cell.key, CHECKPOINT)
        else:
            trainer.load_state_dict(state)
        pending = state["pending"] if state else None
        log = TrainLog(store.folder(cell.key) / TRAIN_LOG, trainer.context.batch_size, trainer.step, pending)

        def save() -> None:
            unlogged, state = log.pending(), trainer.state_dict()
            if bad := training.nan_places(state["method"]):
                step = trainer.step - 1
                raise StepNotFinite.at(step, f"step {step} left NaN in {', '.join(bad[:3])}")
            self.lease.check()
            content = {**state, "pending": unlogged, "origin": origin}
            store.write(cell.key, CHECKPOINT, checkpoint.to_bytes(content))

        try:
            training.train(
                trainer,
                log,
                save,
                every=settings.log_every,
                checkpoint_seconds=settings.checkpoint_seconds,
                notify=lambda step, losses, seconds: self._progress(step, plan.steps, losses, seconds),
            )
        except StepNotFinite as error:
            raise self._explained(error, make, path) from error
        facts = {"params": training.parameter_count(trainer.method), "steps": plan.steps}
        store.write(cell.key, MODEL, {**facts, "probes": trainer.probes})
        self._seal("fit", (CHECKPOINT, MODEL), inputs, code)
        self._cost(
            "fit",
            seconds=log.seconds,
            cpu_seconds=log.cpu_seconds,
            steps=plan.steps,
            images=plan.steps * trainer.context.batch_size,
            gpu_peak_bytes=torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else 0,
        )

    def _probe(self, context: Context) -> probes.Probe | None:
        """What the protocol measures along the training, at ``probes`` evenly spaced steps of the settings."""
        count, measure = int(self.cell.settings.get("probes", 0)), getattr(self.protocol, "probe", None)
        if measure is None or count < 1:
            return None
        return probes.Probe(count, lambda method: measure(method, self.dataset, self.cell.settings, context))

    def _resumable(self, path: Path, origin: Mapping[str, str]) -> dict[str, Any] | None:
        """The state of an interrupted training of the same code, data and kind of device, if there is one."""
        if not path.exists():
            return None
        try:
            state = checkpoint.load(path)
        except StoreError as error:
            self._note(f"{error.what}; training starts anew ({path.name})")
            return None
        differing = [name for name, value in origin.items() if state.get("origin", {}).get(name) != value]
        if differing:
            self._note(f"the checkpoint was made with another {', '.join(differing)}; training starts anew")
            return None
        return state

    def _explained(self, error: StepNotFinite, make: Callable[[], training.Trainer], path: Path) -> NonFiniteError:
        bundle = self.store.folder(self.cell.key) / "failure"
        self._note(f"{error.what}; repeating the training up to that step for the failure bundle")
        try:
            diagnosis = str(forensics.capture(make, path, error, self.cell, bundle))
        except Exception as problem:
            return NonFiniteError(f"{error.what}; no failure bundle: {problem}", where=label(self.cell))
        return NonFiniteError(
            f"{error.what}; {diagnosis}",
            where=label(self.cell),
            remedy=f"Repeat the step with: python -m harness replay {self.cell.key[:12]}",
        )

    def _upstream(self, key: str) -> Mapping[str, Any]:
        method: Mapping[str, Any] = checkpoint.load(self.store.folder(key) / CHECKPOINT)["method"]
        return method

    def _upstream_digest(self, key: str) -> str:
        seal, status = self.store.seal(key, "fit"), self.store.status(key)
        if status == "running":
            raise Busy("another process is working on the cell it builds on", where=key[:12])
        if seal is None or status != "done":
            raise Unsupported(f"the cell it builds on is {status}", where=key[:12])
        return seal.files[CHECKPOINT]

    # ------------------------------------------------------------------------------------------------ predict
    def _predict_unless_sealed(self) -> Arrays:
        inputs = self._inputs("fit")
        seal = self.store.seal(self.cell.key, "predict")
        folder = self.store.folder(self.cell.key)
        rescoring = self.settings.rerun == "score" and not self.store.damage(self.cell.key, "predict")
        if seal is not None and (rescoring or self._sound("predict", self.cell.code, inputs)):
            return {Path(name).stem: load_array(folder / name) for name in seal.files}
        with self._at("predict"):
            return self._predict(inputs)

    def _predict(self, inputs: Mapping[str, str]) -> Arrays:
        cell, store = self.cell, self.store
        started = _clock()
        if cell.role == "method":
            model, context = self._trained()
            predictions = self.protocol.predict(model, self.dataset, cell.settings, context)
            folder = store.folder(cell.key)
            predictions |= probes.curves(from_json(folder / MODEL).get("probes", []), records(folder / TRAIN_LOG))
        else:
            predictions = self.protocol.predict_reference(cell.method, self.dataset, cell.settings, cell.seed)
        self._cost("predict", **_spent(started))
        # As they are read back from files: sums over other layouts would differ in their last digits.
        predictions = {name: np.asarray(array, order="C") for name, array in predictions.items()}
        store.discard(cell.key, "stages/predict.json", "predictions")
        if sum(array.nbytes for array in predictions.values()) > self.settings.predictions_cap:
            return predictions
        names = {name: f"predictions/{name}.npy" for name in predictions}
        for name, array in predictions.items():
            with store.open(cell.key, names[name]) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        self._seal("predict", tuple(names.values()), inputs, cell.code)
        return predictions

    def _trained(self) -> tuple[Method, Any]:
        """The trained method, always from its checkpoint: a resumed cell and an undisturbed one predict alike."""
        cell = self.cell
        kind = self.sources.method(cell)
        plan = training.cell_schedule(cell, kind)
        upstream = {role: self._upstream(key) for role, key in cell.upstream.items()}
        context = devices.make_context(cell, self.device, "predict", plan.steps, upstream, self.settings.cache)
        model = training.build_method(cell, kind, context)
        training.enter_stages(model, plan, plan.steps)
        model.load_state_dict(self._upstream(cell.key))
        context.generator.manual_seed(devices.derived_seed(cell.seed, "predict"))
        return model, context

    # -------------------------------------------------------------------------------------------------- score
    def _score(self, predictions: Arrays) -> None:
        with self._at("score"):
            started = _clock()
            cell, store = self.cell, self.store
            scores = self.protocol.score(predictions, self.dataset, cell.settings, self.settings.judges, cell)
            store.discard(cell.key, "stages/score.json", "per_sample", "pictures")
            samples = _file_names("per_sample", scores.per_sample, "npy")
            for name, file in samples.items():
                with store.open(cell.key, file) as handle:
                    np.lib.format.write_array(handle, np.asarray(scores.per_sample[name], np.float64))
            pictures = _file_names("pictures", scores.pictures, "png")
            for name, file in pictures.items():
                store.write(cell.key, file, _png(scores.pictures[name]))
            store.write(cell.key, RESULT, self._result(scores, samples, pictures))
            names = (RESULT, *samples.values(), *pictures.values())
            self._seal("score", names, self._inputs("predict"), cell.code)
            self._cost("score", **_spent(started))

    def _result(self, scores: Scores, samples: Mapping[str, str], pictures: Mapping[str, str]) -> dict[str, Any]:
        """The content of result.json: no times, nothing that may differ between two equal runs."""
        cell = self.cell
        facts: dict[str, Any] = {"precision": self.precision, "device": devices.device_name(self.device)}
        facts["data"] = self.dataset.split(self.protocol.TRAIN[0]).digest
        if cell.role == "method":
            facts |= {name: v for name, v in from_json(self.store.folder(cell.key) / MODEL).items() if name != "probes"}
            facts |= {"batch_size": devices.batch_size(cell), "checkpoint": self._inputs("fit")[CHECKPOINT]}
        return {
            "key": cell.key,
            "metrics": {name: to_number(value) for name, value in scores.metrics.items()},
            "notes": dict(scores.notes),
            "facts": facts,
            "per_sample": dict(samples),
            "pictures": dict(pictures),
        }

    # ------------------------------------------------------------------------------------------------ records
    def _sound(self, stage: StageName, code: str, inputs: Mapping[str, str]) -> bool:
        seal = self.store.seal(self.cell.key, stage)
        if seal is None or seal.code != code or dict(seal.inputs) != dict(inputs):
            return False
        return not self.store.damage(self.cell.key, stage)

    def _inputs(self, stage: StageName) -> Mapping[str, str]:
        """Digests of what ``stage`` wrote; predictions over the size cap are not kept, their checkpoint stands in."""
        seal = self.store.seal(self.cell.key, stage)
        if seal is not None:
            return seal.files
        return self._inputs("fit") if stage == "predict" else {}

    def _seal(self, stage: StageName, names: tuple[str, ...], inputs: Mapping[str, str], code: str) -> None:
        self.lease.check()
        self.store.stamp(self.cell.key, stage, names, inputs, code)

    def _cost(self, stage: str, **numbers: float) -> None:
        rounded = {f"{stage}_{name}": round(value, 3) for name, value in numbers.items()}
        self.store.update(self.cell.key, "cost.json", rounded)

    # ---------------------------------------------------------------------------------------------- observers
    @contextmanager
    def _at(self, stage: StageName) -> Iterator[None]:
        self.stage = stage
        self.observe(Progress(self.cell.key, label(self.cell), stage))
        yield

    def _progress(self, step: int, total: int, losses: Mapping[str, float], seconds: float) -> None:
        self.observe(Progress(self.cell.key, label(self.cell), "fit", step, total, seconds, losses))

    def _built(self, split: str, done: int, total: int) -> None:
        message = f"building split {split}"
        self.observe(Progress(self.cell.key, label(self.cell), "data", done, total, message=message))

    def _note(self, message: str) -> None:
        self.observe(Progress(self.cell.key, label(self.cell), "note", message=message))


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _spent(started: tuple[float, float]) -> dict[str, float]:
    wall, cpu = _clock()
    return {"seconds": wall - started[0], "cpu_seconds": cpu - started[1]}


def _file_names(folder: str, named: Mapping[str, Any], ending: str) -> dict[str, str]:
    """A file name for every name, legal on every file system and unique."""
    names: dict[str, str] = {}
    for name in sorted(named):
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.") or "unnamed"
        while f"{folder}/{stem}.{ending}" in names.values():
            stem += "_"
        names[name] = f"{folder}/{stem}.{ending}"
    return names


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
