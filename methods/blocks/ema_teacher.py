"""The momentum teacher of self-training: an average of the student's parameters that labels images."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class EmaTeacher:
    """A copy of ``student`` without gradients: ``phi <- mu_t phi + (1 - mu_t) theta``, mu_t = min(1 - 1/(t+1), mu).

    t counts updates from 1, the first one halves (FST, section 4.1). Parameters only: buffers, such as running
    statistics, are the teacher's own after ``copy``.
    """

    def __init__(self, student: nn.Module, momentum: float) -> None:
        self.momentum = momentum
        self.updates = 0
        self.network = copy.deepcopy(student).requires_grad_(False)
        self._average: list[Tensor] = list(self.network.parameters())
        self._live: list[Tensor] = list(student.parameters())
        self._buffers = list(zip(self.network.buffers(), student.buffers(), strict=True))

    @torch.no_grad()
    def copy(self) -> None:
        """Become the student: parameters, buffers and a fresh count of updates."""
        self.updates = 0
        torch._foreach_copy_(self._average, self._live)
        for own, live in self._buffers:
            own.copy_(live)

    @torch.no_grad()
    def update(self, times: int = 1) -> None:
        """Do what ``times`` updates towards the student as it is now would do, in one step."""
        weight = 1.0
        for t in range(self.updates + 1, self.updates + times + 1):
            weight *= min(1.0 - 1.0 / (t + 1), self.momentum)
        self.updates += times
        torch._foreach_lerp_(self._average, self._live, 1.0 - weight)

    def state_dict(self) -> dict[str, Any]:
        """Network and number of updates."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.network.load_state_dict(state["network"])
        self.updates = state["updates"]
