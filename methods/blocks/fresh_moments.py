"""Adam that treats a weight as new from the first step in which it has a gradient: an ablation of dynamic widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam


class FreshMoments:
    """Corrects the steps of ``optimiser`` (Adam without weight decay) to those of one Adam per weight.

    Shared state counts every step, so that a weight whose first gradient comes late takes a first step of up to
    1 / sqrt(1 - beta2) learning rates. Here each weight counts from its first gradient on, as if it had been allocated
    then: its step is multiplied by the ratio of the two bias corrections (exact for eps = 0). ``age`` is 0 before.
    """

    def __init__(self, optimiser: Adam) -> None:
        self.optimiser = optimiser
        self.parameters: list[Tensor] = [p for group in optimiser.param_groups for p in group["params"]]
        self.ages = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._before: list[Tensor] = []
        optimiser.register_step_pre_hook(lambda *_: self._remember())
        optimiser.register_step_post_hook(lambda *_: self._correct())

    @torch.no_grad()
    def _remember(self) -> None:
        self._before = [parameter.clone() for parameter in self.parameters]
        for age, parameter in zip(self.ages, self.parameters, strict=True):
            if parameter.grad is not None:
                age.add_((age > 0) | (parameter.grad != 0))

    @torch.no_grad()
    def _correct(self) -> None:
        for group in self.optimiser.param_groups:
            first, second = group["betas"]
        for age, parameter, before in zip(self.ages, self.parameters, self._before, strict=True):
            if parameter.grad is None:
                continue
            step = self.optimiser.state[parameter]["step"].to(age.device)
            young = age.clamp(min=1)
            factor = ((1 - second**young) / (1 - second**step)).sqrt() * (1 - first**step) / (1 - first**young)
            parameter.copy_(torch.where(age < step, before + factor * (parameter - before), parameter))
        self._before = []

    def state_dict(self) -> dict[str, Any]:
        """The age of every weight."""
        return {"ages": self.ages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for age, stored in zip(self.ages, state["ages"], strict=True):
            age.copy_(stored)
