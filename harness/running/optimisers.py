"""What a method is made of, found without knowing it: the objects of its own kind, and its optimisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

DEPTH = 4
"""How deep objects within the method are searched."""
_FOREIGN = ("builtins", "functools", "types", "harness", "numpy", "pathlib", torch.__name__)


def optimisers(method: Any) -> dict[str, Optimizer]:
    """Every optimiser within the method, once, by the shortest path of attributes, keys and positions to it."""
    found: dict[str, Optimizer] = {}
    for place, value in objects_within(method):
        if isinstance(value, Optimizer):  # paths lose leading underscores, so that two may read alike
            found[place if place not in found else f"{place}#{len(found)}"] = value
    return found


def objects_within(method: Any) -> Iterator[tuple[str, Any]]:
    """The method, objects of its own kind that it holds, and optimisers, breadth first, each with its path; networks,
    tensors and objects of libraries are left out."""
    seen: set[int] = set()
    level: list[tuple[str, Any]] = [("", method)]
    for _ in range(DEPTH + 1):
        below: list[tuple[str, Any]] = []
        for name, item in level:
            if id(item) in seen or isinstance(item, (Tensor, nn.Module, str, bytes)):
                continue
            seen.add(id(item))
            if isinstance(item, Optimizer):
                yield name, item
            elif isinstance(item, Mapping):
                below += [(_joined(name, str(key)), inner) for key, inner in item.items()]
            elif isinstance(item, (list, tuple)) and len(item) <= 64:
                below += [(_joined(name, str(i)), inner) for i, inner in enumerate(item)]
            elif _is_own(item):
                yield name, item
                below += [(_joined(name, key.lstrip("_")), inner) for key, inner in vars(item).items()]
        level = below


def _is_own(item: Any) -> bool:
    top = type(item).__module__.partition(".")[0]
    return hasattr(item, "__dict__") and not isinstance(item, type) and top not in _FOREIGN


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
