"""After NaN or infinity: a bundle that repeats the failing step, and the first tensor that went wrong.

A bundle is a folder: cell.json, failure.json and state.safetensors with the training's state just before the failing
step and the failing batch. ``replay`` needs the bundle and the method's code, no data and no run.
"""

from __future__ import annotations

import math
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.atomic import write_bytes
from harness.running import checkpoint
from harness.running.devices import make_context, resolve_device
from harness.running.training import Trainer, build_method, cell_schedule, nan_places
from harness.running.trainlog import StepNotFinite
from harness.store_files import from_json, read_cell, to_json
from harness.types import Batch, Cell, Method, StoreError

STATE = "state.safetensors"
_FOREIGN = ("/torch/", "/harness/running/", "<frozen ", "<string>")


@dataclass(frozen=True)
class Finding:
    """The first operation that gave a NaN (or infinity) out of clean inputs: where in the networks and in the code."""

    operation: str
    module: str
    line: str
    backward: bool

    def __str__(self) -> str:
        place = f" in module {self.module}" if self.module else ""
        return f"{self.operation}{place}{' during backward' if self.backward else ''}{self.line and f' ({self.line})'}"


@dataclass(frozen=True)
class Diagnosis:
    """What repeating the failing step showed; ``state`` names tensors that were bad before it began."""

    step: int
    reproduced: bool
    losses: Mapping[str, float] = field(default_factory=dict)
    state: tuple[str, ...] = ()
    first_nan: Finding | None = None
    first_infinity: Finding | None = None

    def __str__(self) -> str:
        if self.state:
            return f"step {self.step}: before it {', '.join(self.state[:3])} was already not finite"
        found = [f"first infinity from {self.first_infinity}"] if self.first_infinity else []
        found += [f"first NaN from {self.first_nan}"] if self.first_nan else []
        if not found:
            return f"step {self.step}: repeating it gave finite numbers on this machine"
        return f"step {self.step}: {'; '.join(found)}"


def capture(make: Callable[[], Trainer], last_good: Path, error: StepNotFinite, cell: Cell, bundle: Path) -> Diagnosis:
    """Repeat the training from its last good checkpoint (or its start) up to the failing step, write ``bundle``.

    Nothing is kept for this during training, because a resumed training takes the same steps. Raises StoreError.
    """

    def before(step: int) -> Trainer:
        trainer = make()
        if last_good.exists():
            trainer.load_state_dict(checkpoint.load(last_good))
        while trainer.step < step:
            trainer.advance()
        return trainer

    trainer, step = before(error.step), error.step
    if nan_places(trainer.method.state_dict()) and step > 0:
        # The step before gave a finite loss and spoilt the weights: that one is the cause.
        step -= 1
        trainer = before(step)
    batch = trainer.batches.next()
    context = trainer.context
    content = {"trainer": trainer.state_dict(), "batch": dict(batch), "upstream": context.upstream}
    write_bytes(bundle / STATE, checkpoint.to_bytes(content))
    write_bytes(bundle / "cell.json", to_json(asdict(cell)))
    diagnosis = diagnose(trainer, batch)
    details = {"error": error.what, "step": step, "device": context.device.type, "precision": context.precision}
    write_bytes(bundle / "failure.json", to_json({**details, "diagnosis": str(diagnosis)}))
    return diagnosis


def replay(bundle: Path, load: Callable[[str], type[Any]], device: str = "") -> Diagnosis:
    """Repeat the failing step of a bundle or of a failed cell; ``load`` gives a method's class by name or folder.

    ``device`` empty means the kind of device that failed, if this machine has one, else the CPU; the precision is the
    one that failed. Raises StoreError where the bundle is missing or damaged.
    """
    if (bundle / "failure").is_dir():
        bundle = bundle / "failure"
    if not (bundle / STATE).is_file():
        raise StoreError(
            "is not a failure bundle",
            where=str(bundle),
            remedy="Give the folder of a cell that failed with NaN or infinity, or the folder 'failure' inside it.",
        )
    details = from_json(bundle / "failure.json")
    cell = replace(read_cell(bundle / "cell.json"), precision=details["precision"])
    content = checkpoint.load(bundle / STATE)
    place = resolve_device(device or (details["device"] if torch.cuda.is_available() else "cpu"))
    kind = load(cell.source or cell.method)
    plan = cell_schedule(cell, kind)
    context = make_context(cell, place, "train", plan.steps, _on(content["upstream"], place))
    batch = _on(content["batch"], place)
    trainer = Trainer(build_method(cell, kind, context), _NoBatches(), context, plan)
    trainer.load_state_dict(content["trainer"])
    return diagnose(trainer, batch)


def diagnose(trainer: Trainer, batch: Batch) -> Diagnosis:
    """Do the trainer's next step under observation of every tensor operation, forward and backward."""
    step = trainer.step
    bad = nan_places(trainer.method.state_dict()) + nan_places(batch, "batch")
    if bad:
        return Diagnosis(step, reproduced=True, state=tuple(bad))
    watch = Watch()
    with _named_modules(trainer.method, watch.modules), _forward_lines_kept(), watch:
        losses = trainer.advance_on(batch)
    values = {name: float(value) for name, value in losses.items()}
    sound = all(math.isfinite(value) for value in values.values()) and not nan_places(trainer.method.state_dict())
    return Diagnosis(step, not sound, values, (), watch.first_nan, watch.first_infinity)


class Watch(TorchDispatchMode):
    """Notes the first operation whose result holds a NaN, and the first whose result holds an infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.modules: list[str] = []
        self.first_nan: Finding | None = None
        self.first_infinity: Finding | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(func)
        # New memory holds whatever was there before.
        if self.first_nan is None and "empty" not in name:
            for value in _tensors([result, args] if func._schema.is_mutable else result):
                self._note(name, value)
        return result

    def _note(self, name: str, value: Tensor) -> None:
        if not value.is_floating_point() or torch.isfinite(value).all():
            return
        node = torch._C._current_autograd_node()
        finding = Finding(
            name, self.modules[-1] if self.modules and node is None else "", _line(node), node is not None
        )
        if torch.isnan(value).any():
            self.first_nan = self.first_nan or finding
        else:
            self.first_infinity = self.first_infinity or finding


class _NoBatches:
    """Stands in for the data of a replayed step, whose batch lies in the bundle."""

    def next(self) -> Batch:
        raise StoreError("a bundle holds one batch only", where="replay")

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


@contextmanager
def _forward_lines_kept() -> Iterator[None]:
    """Let every backward node remember the code that built it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Anomaly Detection has been enabled")
        with torch.autograd.detect_anomaly(check_nan=False):
            yield


@contextmanager
def _named_modules(method: Method, stack: list[str]) -> Iterator[None]:
    """Keep the names of the modules that are running on ``stack``."""
    handles = []
    for name, module in _modules(method):
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: stack.append(name)))
        handles.append(module.register_forward_hook(lambda *_: stack.pop() and None))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _modules(method: Method) -> Iterator[tuple[str, nn.Module]]:
    seen: set[int] = set()
    for label, value in vars(method).items():
        if isinstance(value, nn.Module):
            for name, module in value.named_modules():
                if id(module) not in seen:
                    seen.add(id(module))
                    yield f"{label}.{name}" if name else label, module


def _line(node: Any) -> str:
    """``file:line in function`` of the method's code that ran an operation, or built the one now differentiated."""
    if node is None:
        frames = [f"{f.filename}:{f.lineno} in {f.name}" for f in traceback.extract_stack()]
    else:
        texts = [text.strip().splitlines()[0] for text in node.metadata.get("traceback_", [])]
        frames = [re.sub(r'File "(.*)", line (\d+), in (.*)', r"\1:\2 in \3", text) for text in texts]
    ours = [frame for frame in frames if not any(part in frame for part in _FOREIGN)]
    return ours[-1].rpartition("/")[2] if ours else ""


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _on(value: Any, device: torch.device) -> Any:
    """The nested value with its tensors on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _on(item, device) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on(item, device) for item in value)
    return value
