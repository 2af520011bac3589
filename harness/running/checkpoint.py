"""Nested state and one safetensors file: no pickle, every bit kept, damage detected.

State nests mappings (keys: text, whole numbers), lists, tuples, tensors, numbers, text, booleans and None. Tensors keep
their memory layout: an optimiser whose channels_last moments came back contiguous would take other kernels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from harness.types import StoreError

FORMAT = "parallax-state-1"
_REDO = "Remove the file and give the run command again: the training is redone."


def to_bytes(state: Mapping[str, Any]) -> bytes:
    """The safetensors file of a nested state, equal for equal states. Raises StoreError for what it cannot hold."""
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(state, "state", tensors), separators=(",", ":"))
    # One entry only: safetensors writes several in an order that changes from run to run.
    return safetensors.torch.save(tensors, {FORMAT: f"{_digest(tree, tensors)}{tree}"})


def load(path: Path) -> dict[str, Any]:
    """The nested state of a file, tensors on the CPU. Raises StoreError where it is missing, damaged or another's."""
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise StoreError(f"cannot be read as a checkpoint: {error}", where=str(path), remedy=_REDO) from error
    if FORMAT not in metadata:
        raise StoreError("is not a checkpoint of this harness", where=str(path), remedy=_REDO)
    digest, tree = metadata[FORMAT][:64], metadata[FORMAT][64:]
    if _digest(tree, tensors) != digest:
        raise StoreError("is damaged: its content differs from its SHA-256", where=str(path), remedy=_REDO)
    state: dict[str, Any] = _decode(json.loads(tree), tensors)
    return state


def _encode(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """JSON form: scalars stand for themselves, containers are tagged one-entry mappings."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        name = f"{len(tensors):06d}"
        packed, order = _packed(value.detach())
        tensors[name] = packed
        return {"tensor": name} if order is None else {"tensor": name, "order": order}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise StoreError(f"a key of type {type(key).__name__} cannot be stored", where=place)
        return {"map": [[key, _encode(item, f"{place}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f"{place}[{i}]", tensors) for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    raise StoreError(
        f"a {type(value).__name__} cannot be stored",
        where=place,
        remedy="State dicts nest mappings and lists of tensors, numbers, text, booleans and None.",
    )


def _decode(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    if "tensor" in node:
        value = tensors[node["tensor"]]
        order = node.get("order", range(value.ndim))
        return value.permute([order.index(axis) for axis in range(value.ndim)])
    if "map" in node:
        return {key: _decode(item, tensors) for key, item in node["map"]}
    if "tuple" in node:
        return tuple(_decode(item, tensors) for item in node["tuple"])
    return [_decode(item, tensors) for item in node["list"]]


def _packed(value: Tensor) -> tuple[Tensor, list[int] | None]:
    """A contiguous CPU copy that shares no memory, and the order of its axes where the layout is a permuted one."""
    if value.layout != torch.strided:
        raise StoreError(f"a tensor of layout {value.layout} cannot be stored")
    strides = value.stride()
    # The stride of an axis of one entry says nothing: such axes go first, so that equal tensors have equal orders.
    single = [axis for axis in range(value.ndim) if value.shape[axis] == 1]
    longer = [axis for axis in range(value.ndim) if value.shape[axis] != 1]
    order = single + sorted(longer, key=lambda axis: (-strides[axis], axis))
    permuted = value.permute(order)
    if value.is_contiguous() or not permuted.is_contiguous():
        order, permuted = [], value
    copied = torch.empty(permuted.shape, dtype=permuted.dtype).copy_(permuted)
    return copied, order or None


def _digest(tree: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name}{value.dtype}{list(value.shape)}".encode())
        if value.numel():
            digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
