"""One first-in, first-out queue of keys per class, all in a single ring buffer.

U2PL (Wang et al., CVPR 2022): 50,000 keys for class 0 and 30,000 for every other class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.types import ConfigError


class ClassQueues:
    """``keys`` [C, longest capacity, D]; class c owns the first ``capacity[c]`` rows, the oldest key is replaced first.

    ``count`` and ``pointer`` int64 [C] say how many keys a class has and where its next one goes; rows below the count
    are always filled. Class 0 has a capacity of its own. Raises ConfigError for a capacity below 1.
    """

    def __init__(self, classes: int, capacity: int, first_capacity: int, width: int, device: torch.device) -> None:
        if min(capacity, first_capacity) < 1:
            raise ConfigError(f"capacities {first_capacity} and {capacity}", where="queue", remedy="Use 1 or more.")
        self.capacity = torch.full((classes,), capacity, device=device)
        self.capacity[0] = first_capacity
        self.keys = torch.zeros(classes, max(capacity, first_capacity), width, device=device)
        self.count = torch.zeros(classes, dtype=torch.int64, device=device)
        self.pointer = torch.zeros_like(self.count)

    @torch.no_grad()
    def push(self, keys: Tensor, member: Tensor) -> None:
        """Append ``keys`` [P,D] to the queues that ``member`` bool [C,P] names, in the order of their rows.

        Of more keys than a queue can hold the last ones stay. Synchronises with the device once, to learn their number.
        """
        order = member.cumsum(1)
        total = order[:, -1:]
        # A row that would be replaced within this very push is not written: a scatter has no order.
        kept = member & (order > total - self.capacity[:, None])
        owner, row = kept.nonzero(as_tuple=True)
        slot = (self.pointer[owner] + order[owner, row] - 1) % self.capacity[owner]
        self.keys[owner, slot] = keys[row].to(self.keys.dtype)
        self.pointer = (self.pointer + total[:, 0]) % self.capacity
        self.count = torch.minimum(self.count + total[:, 0], self.capacity)

    def draw(self, uniform: Tensor, owner: Tensor | None = None) -> Tensor:
        """Keys [C,K,D] drawn with replacement: ``uniform`` [C,K] in [0,1) picks among the keys of class c.

        ``owner`` int64 [C] names another queue for each row. An empty queue gives zeros.
        """
        owner = torch.arange(len(self.count), device=self.count.device) if owner is None else owner
        slot = below(uniform, self.count[owner][:, None])
        rows = slot + owner[:, None] * self.keys.shape[1]
        return self.keys.flatten(0, 1).index_select(0, rows.flatten()).view(*uniform.shape, -1)

    def state_dict(self) -> dict[str, Any]:
        """Keys, counts and pointers."""
        return {"keys": self.keys, "count": self.count, "pointer": self.pointer}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.keys.copy_(state["keys"])
        self.count = state["count"].to(self.count.device).clone()
        self.pointer = state["pointer"].to(self.pointer.device).clone()


def below(uniform: Tensor, count: Tensor) -> Tensor:
    """Integers floor(uniform * count), at most count - 1 (rounding of floats) and at least 0 (a count of 0)."""
    return torch.minimum((uniform * count).long(), count - 1).clamp(min=0)
