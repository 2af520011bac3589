"""Optimiser steps that are taken back: tensors kept aside in buffers that are allocated once, and restored bit for bit.

Nothing here differentiates through a step: a virtual step is an ordinary one that is undone (Du et al., *Learning from
Future*, NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Snapshot:
    """Values of tensors at one moment; ``take`` allocates only where number, shapes or kinds of the tensors change."""

    def __init__(self) -> None:
        self._layout: list[list[tuple[torch.device, torch.dtype, torch.Size]]] = []
        self._live: list[list[Tensor]] = []
        self._kept: list[list[Tensor]] = []

    @torch.no_grad()
    def take(self, tensors: Iterable[Tensor]) -> None:
        """Copy the values of ``tensors`` and remember the tensors themselves."""
        self._live = _alike(tensors)
        layout = [[(t.device, t.dtype, t.shape) for t in group] for group in self._live]
        if layout != self._layout:
            self._layout, self._kept = layout, [[torch.empty_like(t) for t in group] for group in self._live]
        for kept, live in zip(self._kept, self._live, strict=True):
            torch._foreach_copy_(kept, live)

    @torch.no_grad()
    def restore(self) -> None:
        """Give the tensors of the last ``take`` their values back."""
        for live, kept in zip(self._live, self._kept, strict=True):
            torch._foreach_copy_(live, kept)


def _alike(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    # One device and dtype per list, or the fused copy falls back to one launch per tensor.
    groups: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    return list(groups.values())


class Rewind:
    """Takes a network back to the moment of ``take``: its parameters and, with ``everything``, also its buffers
    (running statistics) and the state of its optimiser, moments and step counters included.

    Learning rates are not part of it: a virtual step does not change them. Gradients stay.
    """

    def __init__(self, network: nn.Module, optimiser: Optimizer, everything: bool) -> None:
        self._optimiser, self._everything = optimiser, everything
        self._network = [*network.parameters(), *(network.buffers() if everything else ())]
        self._weights, self._moments = Snapshot(), Snapshot()
        self._state: dict[Tensor, dict[str, Any]] = {}

    def take(self) -> None:
        """Remember the present."""
        self._weights.take(self._network)
        if self._everything:
            # Shallow: the tensors are copied beside it, numbers and absent entries are restored with the mapping.
            self._state = {parameter: dict(state) for parameter, state in self._optimiser.state.items()}
            values = (value for state in self._state.values() for value in state.values())
            self._moments.take(value for value in values if isinstance(value, Tensor))

    def restore(self) -> None:
        """Return to the last ``take``."""
        self._weights.restore()
        if self._everything:
            self._moments.restore()
            self._optimiser.state.clear()
            self._optimiser.state.update({parameter: dict(state) for parameter, state in self._state.items()})


class Soup:
    """The mean of several values of the same tensors."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = [t.detach() for t in tensors]
        self._sums = [torch.zeros_like(t) for t in self._tensors]
        self._count = 0

    @torch.no_grad()
    def add(self) -> None:
        """Count the present values in."""
        if self._count:
            torch._foreach_add_(self._sums, self._tensors)
        else:
            torch._foreach_copy_(self._sums, self._tensors)
        self._count += 1

    @torch.no_grad()
    def pour(self) -> None:
        """Give the tensors the mean of the values added since the last ``pour``."""
        torch._foreach_div_(self._sums, float(self._count))
        torch._foreach_copy_(self._tensors, self._sums)
        self._count = 0
