"""Naming the first operation that goes wrong: forward, backward, inside modules, in the state itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.running.forensics import diagnose
from harness.running.training import Trainer, schedule
from harness.types import Stage


class Scale(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()


class Method:
    """Two linear layers with an exponential between them, and a loss that is chosen by name."""

    def __init__(self, loss: str, weight: float = 1.0) -> None:
        self.loss = loss
        self.net = nn.Sequential(nn.Linear(2, 2, bias=False), Scale(), nn.Linear(2, 1, bias=False))
        for p in self.net.parameters():
            nn.init.constant_(p, weight)
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def train_step(self, batch: Any, step: int) -> dict[str, torch.Tensor]:
        out = self.net(batch["image"])
        loss = (out - out).square().sum().sqrt() if self.loss == "root of zero" else out.mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        return {"net": self.net.state_dict()}


def found(method: Method, value: float = 1.0) -> Any:
    trainer = Trainer(method, None, None, schedule(8, 1, (Stage(),)))  # type: ignore[arg-type]
    return diagnose(trainer, {"image": torch.full((1, 2), value)})


def test_a_sound_step_is_called_sound() -> None:
    assert not found(Method("mean")).reproduced


def test_an_overflow_is_named_with_its_module() -> None:
    diagnosis = found(Method("mean"), 100.0)
    assert diagnosis.reproduced
    assert diagnosis.first_infinity.operation.startswith("aten.exp")
    assert diagnosis.first_infinity.module == "net.1"
    assert "test_forensics.py" in diagnosis.first_infinity.line
    assert "in module net.1" in str(diagnosis)


def test_a_gradient_is_traced_to_the_line_that_built_it() -> None:
    diagnosis = found(Method("root of zero"))
    assert diagnosis.losses == {"loss": 0.0}
    assert diagnosis.first_infinity.backward or diagnosis.first_nan.backward
    assert "in train_step" in (diagnosis.first_infinity or diagnosis.first_nan).line
    assert diagnosis.first_nan.backward
    assert "during backward" in str(diagnosis)


def test_a_state_that_was_bad_before_is_blamed() -> None:
    diagnosis = found(Method("mean", weight=float("nan")))
    assert diagnosis.reproduced
    assert diagnosis.state[0] == "state.net.0.weight"
    assert "before it state.net.0.weight" in str(diagnosis)


def test_a_bad_batch_is_blamed() -> None:
    assert found(Method("mean"), float("nan")).state == ("batch.image",)
