"""FST at its smoke preset on made-up pictures, also with a loss whose steps are known in closed form."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness import registry
from harness.specimen import Specimen, batch, build, tensors
from harness.types import Batch
from methods.blocks.ema_teacher import EmaTeacher
from methods.fst.method import FST

AHEAD = ("image", "label", "unlabelled_image")


def specimen(name: str, setting: str = "", **overrides: Any) -> Specimen:
    """A method of the suite at its smoke preset, with other values of some keys."""
    state = Specimen(name)
    state.entry, state.made = registry.find(name), registry.load(name)
    state.preset = state.entry.preset("smoke", setting)
    unknown = set(overrides) - set(state.preset)
    assert not unknown, unknown
    state.preset |= overrides
    return state


def fresh(name: str, setting: str = "", **overrides: Any) -> Any:
    """A newly built method."""
    return build(specimen(name, setting, **overrides))[0]


def pictures(name: str = "self_training", setting: str = "", ahead: int = 0) -> dict[str, Tensor]:
    """One batch; ``ahead`` adds future batches that hold the same samples."""
    state = specimen(name, setting)
    found = batch(state, None, 0)
    return found | {f"future_{field}": torch.cat([found[field]] * ahead) for field in AHEAD if ahead}


def trained(method: Any, steps: int, samples: Batch | None = None) -> list[Tensor]:
    """Copies of all tensors of ``method`` after ``steps`` steps."""
    samples = samples or pictures(ahead=getattr(method, "future_batches", 0))
    for step in range(steps):
        method.train_step(samples, step)
    return copy.deepcopy(tensors(method.state_dict()))


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Whether two lists of tensors agree bit for bit."""
    return len(a) == len(b) and all(x.equal(y) for x, y in zip(a, b, strict=True))


class Steady(EmaTeacher):
    """A teacher without a warm-up of its momentum."""

    def update(self, times: int = 1) -> None:
        """An update so late that 1 - 1/(t+1) is 1."""
        self.updates = 10**18
        super().update(times)


class Parabola(FST):
    """FST on the loss 0.5 ``curvature`` |theta - b|^2, b the mean of the batch's images; plain gradient descent.

    Every weight then obeys the same scalar formula, whatever the teacher says.
    """

    curvature = 1.0
    rate = 0.1

    def loss_step(
        self, batch: Batch, step: int, *, labelled: bool = True, unlabelled: bool = True
    ) -> Mapping[str, Tensor]:
        """One step of gradient descent."""
        weights = list(self.student.network.parameters())
        b = batch["image"].mean()
        self.passes += 1
        with torch.no_grad():
            for weight in weights:
                weight.sub_(self.rate * self.curvature * (weight - b))
        return {"labelled_loss": torch.zeros(())}


def parabola(curvature: float = 1.0, rate: float = 0.1, mu: float = 0.9, **overrides: Any) -> Parabola:
    """A ``Parabola`` whose momentum has no warm-up; student and teacher start apart."""
    state = specimen("fst", mu=mu, **overrides)
    state.made = Parabola
    method: Parabola = build(state)[0]
    method.curvature, method.rate = curvature, rate
    method.teacher = Steady(method.student.network, mu)
    with torch.no_grad():
        for weight in method.teacher.network.parameters():
            weight.add_(1.0)
    return method


def weights(network: torch.nn.Module) -> Tensor:
    """All parameters in one vector, copied."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
