"""Conformance tests for a method folder: what ``python -m harness check FOLDER`` runs.

Each check builds on the one before, so the first failure ends the list. Everything happens at the smoke preset, on the
CPU, with made-up pictures: no data set is built.
"""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.console import columns
from harness.data import catalogue
from harness.registry import MethodEntry
from harness.types import Budget, Cell, ConfigError, HarnessError

if TYPE_CHECKING:
    import torch

    from harness.types import Cameras, Context, Renders

NEEDED_MEMBERS: Mapping[str, tuple[str, ...]] = {"generates": ("latents", "sample")}
SAMPLES = 3
STEPS = 2


class Nonconforming(Exception):
    """A check failed; the text says what was expected and what was found."""


@dataclass(frozen=True)
class Finding:
    """Result of one check: ``ok``, what was seen or what is wrong, and the seconds it took."""

    check: str
    ok: bool
    detail: str
    seconds: float = 0.0


@dataclass
class Examined:
    """What the checks hand on to one another."""

    folder: str
    entry: MethodEntry | None = None
    made: type[Any] | None = None
    preset: dict[str, Any] = field(default_factory=dict)
    model: Any = None
    context: Any = None


def examine(folder: str) -> list[Finding]:
    """Run every check on a method folder or name, stopping at the first failure."""
    state, findings = Examined(folder), []
    for name, check in CHECKS:
        started = time.perf_counter()
        try:
            detail, ok = check(state), True
        except (Nonconforming, HarnessError) as error:
            detail, ok = str(error), False
        except Exception as error:  # a method's own mistake of any kind is a finding, not a crash
            detail, ok = f"{type(error).__name__}: {error}", False
        findings.append(Finding(name, ok, detail, time.perf_counter() - started))
        if not ok:
            break
    return findings


def report(folders: Sequence[str]) -> int:
    """Print the findings on each folder; 0 where all passed, else 2."""
    if not folders:
        raise ConfigError("no method folder given", where="check", remedy="python -m harness check path/to/folder")
    failed = False
    for folder in folders:
        findings = examine(folder)
        names = [name for name, _ in CHECKS]
        rows = [[f.check, "passed" if f.ok else "FAILED", f"{f.seconds:.2f} s", f.detail] for f in findings]
        rows += [[name, "not run", "", ""] for name in names[len(findings) :]]
        print(f"{folder}\n{columns(['check', 'result', 'time', 'detail'], rows)}")
        bad = [f for f in findings if not f.ok]
        print(f"{folder}: {f'fails at {bad[0].check!r}' if bad else f'passes all {len(findings)} checks'}\n")
        failed = failed or bool(bad)
    return 2 if failed else 0


# ------------------------------------------------------------------------------------------------------ the checks
def _card_found(state: Examined) -> str:
    state.entry = registry.find(state.folder)
    return f"{state.entry.name}: {state.entry.card.title}"


def _presets(state: Examined) -> str:
    entry = _entry(state)
    state.preset = entry.preset("smoke")
    for tier in entry.tiers:
        different = set(entry.preset(tier)) ^ set(state.preset)
        if different:
            raise Nonconforming(f"{tier}.yaml and smoke.yaml differ in the keys {', '.join(sorted(different))}")
    missing = set(entry.card.switches) - set(state.preset)
    if missing:
        raise Nonconforming(f"switches of the card that are no keys of the presets: {', '.join(sorted(missing))}")
    return f"{', '.join(entry.tiers)}; {len(state.preset)} keys"


def _class(state: Examined) -> str:
    entry, made = _entry(state), registry.load(state.folder)
    needed = ["train_step", "state_dict", "load_state_dict", "stages"]
    for capability in entry.card.capabilities:
        if capability not in NEEDED_MEMBERS:
            raise Nonconforming(f"unknown capability {capability!r}; known: {', '.join(NEEDED_MEMBERS)}")
        needed += NEEDED_MEMBERS[capability]
    missing = [name for name in needed if not hasattr(made, name)]
    if missing:
        raise Nonconforming(f"{made.__name__} lacks {', '.join(missing)}")
    shares = sum(stage.share for stage in made.stages)
    if not made.stages or not math.isclose(shares, 1.0, abs_tol=1e-6):
        raise Nonconforming(f"the shares of its stages add up to {shares:g}, not 1")
    state.made = made
    return f"{made.__name__}, {len(made.stages)} stage(s)"


def _construction(state: Examined) -> str:
    state.model, state.context = _build(state)
    if state.preset != _entry(state).preset("smoke"):
        raise Nonconforming("the constructor changed its configuration")
    count = sum(tensor.numel() for tensor in _tensors(state.model.state_dict()))
    return f"{count:,} numbers of state"


def _training(state: Examined) -> str:
    before = copy.deepcopy(_tensors(state.model.state_dict()))
    with _own_randomness("train_step"):
        losses = _train(state, state.model, STEPS)
    after = _tensors(state.model.state_dict())
    if not all(tensor.isfinite().all() for tensor in after):
        raise Nonconforming("train_step left NaN or infinity in the state")
    if len(before) == len(after) and all(a.equal(b) for a, b in zip(before, after, strict=True)):
        raise Nonconforming(f"{STEPS} training steps changed nothing")
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.items())


def _determinism(state: Examined) -> str:
    again, _ = _build(state)
    _train(state, again, STEPS)
    for a, b in zip(_tensors(state.model.state_dict()), _tensors(again.state_dict()), strict=True):
        if not a.equal(b):
            raise Nonconforming("the same seed and batches gave different weights")
    return "the same seed gives the same weights"


def _round_trip(state: Examined) -> str:
    from harness.running import checkpoint

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "checkpoint.safetensors"
        path.write_bytes(checkpoint.to_bytes(state.model.state_dict()))
        restored = checkpoint.load(path)
    twin, context = _build(state)
    twin.load_state_dict(restored)
    context.generator.manual_seed(7)
    state.context.generator.manual_seed(7)
    first, second = _train(state, state.model, STEPS), _train(state, twin, STEPS)
    if first != second:
        raise Nonconforming(f"a restored method goes on differently: {first} and {second}")
    return "saved, restored, and goes on alike"


def _sampling(state: Examined) -> str:
    if "generates" not in _entry(state).card.capabilities:
        return "does not generate"
    latents, cameras = _latents(state), _cameras(state)
    with _own_randomness("sample"):
        made: Renders = state.model.sample(latents, cameras)
    size = _cell(state).data.resolution
    _check_image(made, size)
    if not state.model.sample(latents, cameras).rgb.equal(made.rgb):
        raise Nonconforming("the same latents and cameras gave two different pictures")
    if made.rgb[0].equal(made.rgb[1]):
        raise Nonconforming("two latents gave the same picture")
    _check_image(state.model.sample(latents, None), size)
    return f"{tuple(made.rgb.shape)} in [{made.rgb.min():.2f}, {made.rgb.max():.2f}]"


def _batching(state: Examined) -> str:
    from harness.cameras import select

    if "generates" not in _entry(state).card.capabilities:
        return "does not generate"
    latents, cameras = _latents(state), _cameras(state)
    whole = state.model.sample(latents, cameras).rgb
    for row in range(SAMPLES):
        alone = state.model.sample(latents[row : row + 1], select(cameras, slice(row, row + 1))).rgb
        if not alone.allclose(whole[row : row + 1], atol=1e-3):
            raise Nonconforming("a picture depends on the others of its batch; sample in evaluation mode")
    return "a picture does not depend on its batch"


def _geometry(state: Examined) -> str:
    card = _entry(state).card
    if "generates" not in card.capabilities:
        return "does not generate"
    one = _latents(state, 1)
    made: Renders = state.model.sample(one.expand(SAMPLES, *one.shape[1:]), _cameras(state))
    turns = not made.rgb[0].allclose(made.rgb[-1], atol=1e-6)
    if turns != card.controls_pose:
        answer = "changes" if turns else "does not change"
        raise Nonconforming(f"controls_pose: {str(card.controls_pose).lower()}, but the camera {answer} the picture")
    if (made.depth is not None) != card.has_depth:
        answer = "missing" if card.has_depth else "returned"
        raise Nonconforming(f"has_depth: {str(card.has_depth).lower()}, but depth is {answer}")
    shape = made.rgb[:, 0].shape
    if made.depth is not None and (
        made.depth.shape != shape or not made.depth.isfinite().all() or made.depth.min() < 0
    ):
        raise Nonconforming(f"depth must be finite z-depth [N,H,W] from 0 on, not {tuple(made.depth.shape)}")
    if made.mask is not None and (made.mask.shape != shape or made.mask.min() < -1e-3 or made.mask.max() > 1.001):
        raise Nonconforming("mask must be [N,H,W] in [0,1]")
    pose = "the camera turns the object" if turns else "no pose control"
    return f"{pose}, {'with' if card.has_depth else 'without'} depth, as the card says"


CHECKS: tuple[tuple[str, Callable[[Examined], str]], ...] = (
    ("card", _card_found),
    ("presets", _presets),
    ("class", _class),
    ("construction", _construction),
    ("training", _training),
    ("determinism", _determinism),
    ("state", _round_trip),
    ("sampling", _sampling),
    ("batching", _batching),
    ("geometry", _geometry),
)


# ------------------------------------------------------------------------------------------------ their materials
def _entry(state: Examined) -> MethodEntry:
    assert state.entry is not None
    return state.entry


def _cell(state: Examined) -> Cell:
    data = catalogue.spec("objects/head", tier="smoke", prior="wide60", background="sky")
    entry = _entry(state)
    budget = Budget("check", 100 * state.preset["batch_size"])
    return Cell("check", "check", entry.name, "smoke", 0, budget, data, config=state.preset, precision="fp32")


def _build(state: Examined) -> tuple[Any, Context]:
    """A fresh method and its context, the same every time."""
    import torch

    from harness.running import devices, training

    assert state.made is not None
    cell = _cell(state)
    context = devices.make_context(cell, torch.device("cpu"), "train", total_steps=100)
    model = training.build_method(cell, state.made, context)
    training.enter_stages(model, training.cell_schedule(cell, state.made), 0)
    return model, context


def _batch(state: Examined) -> dict[str, torch.Tensor]:
    """Smooth random pictures float32 [B,3,H,W] in [-1,1], so that a discriminator has something to see."""
    import torch

    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(state.preset["batch_size"], 3, 4, 4, generator=generator) * 2 - 1
    size = _cell(state).data.resolution
    return {"image": torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")}


def _train(state: Examined, model: Any, steps: int) -> dict[str, float]:
    import torch

    losses: dict[str, float] = {}
    for step in range(steps):
        logged = model.train_step(_batch(state), step)
        if not isinstance(logged, Mapping) or not logged:
            raise Nonconforming("train_step must return a mapping of names to scalar tensors")
        for name, value in logged.items():
            if not isinstance(value, torch.Tensor) or value.ndim or value.requires_grad:
                raise Nonconforming(f"train_step: {name} must be a detached scalar tensor")
            losses[name] = float(value)
            if not math.isfinite(losses[name]):
                raise Nonconforming(f"train_step: {name} is {losses[name]}")
        for average in getattr(model, "averages", ()):
            average.update(step)
    return losses


def _latents(state: Examined, n: int = SAMPLES) -> torch.Tensor:
    import torch

    latents: torch.Tensor = state.model.latents(n, torch.Generator().manual_seed(2))
    if len(latents) != n:
        raise Nonconforming(f"latents({n}) must have {n} rows, not {len(latents)}")
    return latents


def _cameras(state: Examined) -> Cameras:
    """Cameras that look from the left, the front and the right."""
    import torch

    from harness.cameras import look_at

    prior = _cell(state).data.prior
    assert prior is not None
    return look_at(torch.tensor([-0.6, 0.0, 0.6]), torch.zeros(SAMPLES), prior)


def _check_image(made: Renders, size: int) -> None:
    rgb = made.rgb
    if tuple(rgb.shape) != (SAMPLES, 3, size, size) or not rgb.dtype.is_floating_point:
        raise Nonconforming(f"rgb must be float [{SAMPLES},3,{size},{size}], not {rgb.dtype} {tuple(rgb.shape)}")
    if rgb.requires_grad:
        raise Nonconforming("sample must not build a graph; use torch.no_grad()")
    if not rgb.isfinite().all() or rgb.min() < -1.001 or rgb.max() > 1.001:
        raise Nonconforming(f"rgb must be finite and in [-1,1]; it spans {rgb.min():.3g} to {rgb.max():.3g}")


def _tensors(state: Any) -> list[torch.Tensor]:
    """Every tensor of a nested state, in order."""
    import torch

    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, Mapping):
        return [tensor for value in state.values() for tensor in _tensors(value)]
    if isinstance(state, (list, tuple)):
        return [tensor for value in state for tensor in _tensors(value)]
    return []


@contextmanager
def _own_randomness(where: str) -> Iterator[None]:
    """Raise Nonconforming where the block draws from torch's or numpy's global generator."""
    import numpy as np
    import torch

    def states() -> tuple[bytes, Any]:
        legacy: Any = np.random.get_state()  # noqa: NPY002 - the very generator that must stay untouched
        return torch.get_rng_state().numpy().tobytes(), (legacy[1].tobytes(), legacy[2])

    before = states()
    yield
    if states() != before:
        raise Nonconforming(f"{where} draws from a global random generator; use the generator it is given")
