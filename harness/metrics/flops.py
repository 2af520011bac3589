"""Work of a computation, counted operator by operator at the dispatcher: floating-point operations and bytes.

The formulas are those of ``torch.utils.flop_counter``: two per multiply-add of matrix products, convolutions and
attention, forward and backward; elementwise work is not counted. The gradient of a grouped convolution's weights is
counted per group, where torch 2.15 counts all pairs of channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_FREE = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "set_", "resize_", "detach")
"""Operators that make or rename memory without reading or writing it."""


@dataclass(frozen=True)
class Work:
    """``flops``, and ``traffic``: bytes of all tensors that operators read and wrote, as if no cache kept any."""

    flops: float = 0.0
    traffic: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.traffic + other.traffic)

    def __sub__(self, other: Work) -> Work:
        return Work(self.flops - other.flops, self.traffic - other.traffic)

    def scaled(self, factor: float) -> Work:
        """This much work ``factor`` times."""
        return Work(self.flops * factor, self.traffic * factor)


class WorkCounter(TorchDispatchMode):
    """Adds up the work of every operator inside the block; ``work`` may be read at any time.

    Compiled code runs without the dispatcher: count what is not compiled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        flops = formula(*args, **kwargs, out_val=out) if formula else 0
        if func._overloadpacket is torch.ops.aten.convolution_backward:
            flops -= _overcounted(args, out)
        self.work += Work(float(flops), _traffic(func, args, kwargs, out))
        return out


def count_work(step: Callable[[], object]) -> Work:
    """The work of one call."""
    with WorkCounter() as counter:
        step()
    return counter.work


def _overcounted(args: tuple[Any, ...], out: Any) -> float:
    """What torch's formula counts too much: it takes every group's weights to see all channels."""
    grad_out, images = args[0], args[1]
    transposed, groups, mask = args[7], args[9], args[10]
    if groups == 1 or not mask[1] or out[1] is None:
        return 0.0
    cells = math.prod((images if transposed else grad_out).shape[2:])
    kernel = math.prod(out[1].shape[2:])
    pairs = images.shape[1] * grad_out.shape[1]
    return 2.0 * len(images) * cells * kernel * pairs * (1 - 1 / groups)


def _traffic(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> float:
    if func.is_view or func._overloadpacket.__name__ in _FREE:
        return 0.0
    tensors = (leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor))
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
