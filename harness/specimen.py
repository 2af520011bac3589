"""A method under examination: what the conformance checks hand on, and the made-up samples they use.

Everything happens at the smoke preset, on the CPU; no data set is built.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.data import catalogue
from harness.registry import MethodEntry
from harness.types import Budget, Cell

if TYPE_CHECKING:
    import numpy as np
    import torch

    from harness.types import Context, DataSpec

CATEGORIES = 2
SPLIT = 12
"""Images of the made-up training split, an equal share per category."""


class Nonconforming(Exception):
    """A check failed; the text says what was expected and what was found."""


@dataclass
class Specimen:
    """What the checks hand on to one another."""

    folder: str
    entry: MethodEntry | None = None
    made: type[Any] | None = None
    preset: dict[str, Any] = field(default_factory=dict)
    model: Any = None
    context: Any = None

    @property
    def found(self) -> MethodEntry:
        """The entry that the first check found."""
        assert self.entry is not None
        return self.entry

    def can(self, capability: str) -> bool:
        """Whether the card claims a capability."""
        return capability in self.found.card.capabilities


def data_of(state: Specimen) -> DataSpec:
    """The kind of samples a method of these capabilities is trained on."""
    if state.can("scores_anomalies"):
        return catalogue.spec("defects", tier="smoke", categories=CATEGORIES)
    if state.can("segments"):
        return catalogue.spec("streets", tier="smoke", setting="ssl")
    return catalogue.spec("objects/head", tier="smoke", prior="wide60", background="sky")


def cell_of(state: Specimen) -> Cell:
    """A cell of the smoke preset."""
    budget = Budget("check", 100 * state.preset["batch_size"])
    return Cell(
        "check",
        "check",
        state.found.name,
        "smoke",
        0,
        budget,
        data_of(state),
        config=state.preset,
        precision="fp32",
        source=str(state.found.folder),
    )


def build(state: Specimen, *, prepared: bool = True) -> tuple[Any, Context]:
    """A fresh method and its context, the same every time; ``prepared`` shows it the training split if it asks."""
    import torch

    from harness.running import devices, training

    assert state.made is not None
    cell = cell_of(state)
    context = devices.make_context(cell, torch.device("cpu"), "train", total_steps=100)
    model = training.build_method(cell, state.made, context)
    if prepared:
        training.prepare(model, samples(state))
    training.enter_stages(model, training.cell_schedule(cell, state.made), 0)
    return model, context


def pictures(state: Specimen, n: int, seed: int = 1) -> torch.Tensor:
    """Smooth random pictures float32 [N,3,H,W] in [-1,1], so that a network has something to see."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator) * 2 - 1
    height = data_of(state).resolution
    width = 2 * height if state.can("segments") else height
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")


def samples(state: Specimen) -> dict[str, np.ndarray]:
    """A made-up training split: image uint8 [N,H,W,3] and what else training sees, fields named as in a batch.

    Segmentation: label uint8 [N,H,W], the brightness in bands, and the same as an unlabelled stream; else category
    int32 [N], and what the card asks for: depth_coded int32 [N,H,W], the brightness, depth float32 [N,H,W], a disc in
    front of nothing (0) whose relief is the brightness, and pose float32 [N,3].
    """
    import numpy as np

    images = (pictures(state, SPLIT) + 1).mul(127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    if not state.can("segments"):
        made = {"image": images, "category": np.arange(SPLIT, dtype=np.int32) % CATEGORIES}
        if "depth_coded" in state.found.card.fields:
            made["depth_coded"] = (images.mean(-1) * (60000 / 255)).astype(np.int32)
        if "depth" in state.found.card.fields:
            made["depth"] = _disc_depth(images, data_of(state))
        if "pose" in state.found.card.fields:
            made["pose"] = np.linspace(-0.3, 0.3, SPLIT * 3, dtype=np.float32).reshape(SPLIT, 3)
        return made
    classes = int(data_of(state).options["classes"])
    labels = (images.mean(-1) * classes / 256).astype(np.uint8)
    revealed = {f"unlabelled_{field}": labels for field in getattr(state.made, "reveals", ())}
    return {"image": images, "label": labels, "unlabelled_image": images, **revealed}


def _disc_depth(images: np.ndarray, spec: DataSpec) -> np.ndarray:
    import numpy as np

    side = np.linspace(-1, 1, images.shape[1])
    inside = side[:, None] ** 2 + side**2 < 0.5
    radius = spec.prior.radius if spec.prior else 3.0
    return np.where(inside, radius - images.mean(-1) / 510, 0).astype(np.float32)


def batch(state: Specimen, model: Any, step: int) -> dict[str, torch.Tensor]:
    """A batch of the made-up split, as the loop would hand it to ``model``."""
    import torch

    split, size = samples(state), state.preset["batch_size"]
    rows = torch.arange(size) % SPLIT
    if getattr(model, "batch_groups", ""):
        rows = (rows * CATEGORIES + step % CATEGORIES) % SPLIT
    taken = {"": rows}
    if state.can("segments"):
        taken["unlabelled_"] = torch.arange(state.preset.get("unlabelled_batch_size", 0)) % SPLIT
        ahead = int(getattr(model, "future_batches", 0))
        taken |= {f"future_{name}": indices.repeat(ahead) for name, indices in taken.items() if ahead}
    made: dict[str, torch.Tensor] = {}
    for prefix, indices in taken.items():
        if not len(indices):
            continue
        made[f"{prefix}index"] = indices
        source = prefix.removeprefix("future_")
        for name, values in split.items():
            field = name.removeprefix("unlabelled_")
            if name == f"{source}{field}":
                made[f"{prefix}{field}"] = _loaded(field, torch.from_numpy(values)[indices])
    return made


def _loaded(field: str, values: torch.Tensor) -> torch.Tensor:
    if field == "image":
        return values.permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return values if values.is_floating_point() else values.long()


def train(state: Specimen, model: Any, steps: int) -> dict[str, float]:
    """Losses of the last of some training steps. Raises Nonconforming for losses of the wrong kind."""
    import torch

    losses: dict[str, float] = {}
    for step in range(steps):
        logged = model.train_step(batch(state, model, step), step)
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


def tensors(state: Any) -> list[torch.Tensor]:
    """Every tensor of a nested state, in order."""
    import torch

    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, Mapping):
        return [tensor for value in state.values() for tensor in tensors(value)]
    if isinstance(state, (list, tuple)):
        return [tensor for value in state for tensor in tensors(value)]
    return []


@contextmanager
def own_randomness(where: str) -> Iterator[None]:
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
