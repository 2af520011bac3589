"""Checkpoints: every nested state comes back bit for bit, equal states give equal bytes, damage is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.running import checkpoint
from harness.types import StoreError

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    seed = draw(st.integers(0, 1000))
    value = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 100).to(draw(st.sampled_from(DTYPES)))
    return value.permute(draw(st.permutations(range(value.ndim))))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
STATES = st.recursive(
    SCALARS | tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(-5, 5), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        bits = [x.contiguous().reshape(-1).view(torch.uint8) for x in (a, b)]
        strides = a.numel() < 2 or 1 in a.shape or a.stride() == b.stride()
        return a.dtype == b.dtype and a.shape == b.shape and strides and torch.equal(*bits)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@example([torch.zeros(2, 1, 2).permute(1, 2, 0)])
@given(STATES)
@settings(deadline=None, max_examples=60)
def test_every_state_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "state.safetensors"
    content = checkpoint.to_bytes({"state": state})
    path.write_bytes(content)
    restored = checkpoint.load(path)
    assert same(restored, {"state": state})
    assert checkpoint.to_bytes(restored) == content


@given(st.integers(0, 10**6), st.integers(1, 255))
@settings(deadline=None, max_examples=40)
def test_any_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: int, flip: int) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    content = bytearray(checkpoint.to_bytes({"weights": torch.arange(12.0), "step": 3, "name": "x"}))
    content[place % len(content)] ^= flip
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged\.safetensors: .* Remove the file"):
        checkpoint.load(path)


@pytest.mark.parametrize("keep", [0, 4, 50, -1])
def test_a_truncated_file_is_noticed(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "state"
    path.write_bytes(checkpoint.to_bytes({"weights": torch.ones(100)})[:keep])
    with pytest.raises(StoreError):
        checkpoint.load(path)
    with pytest.raises(StoreError):
        checkpoint.load(tmp_path / "missing")


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    import safetensors.torch

    path = tmp_path / "foreign"
    safetensors.torch.save_file({"a": torch.ones(2)}, path)
    with pytest.raises(StoreError, match="not a checkpoint of this harness"):
        checkpoint.load(path)


def test_tied_and_overlapping_tensors_are_stored_apart(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    path = tmp_path / "state"
    path.write_bytes(checkpoint.to_bytes({"a": base, "b": base[2:], "c": base[:1].expand(4)}))
    restored = checkpoint.load(path)
    assert restored["b"].tolist() == [2, 3, 4, 5]
    assert restored["c"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("value", [object(), {1.5: 1}, {True: 1}, {"deep": [set()]}, b"bytes"])
def test_other_objects_are_refused_by_name(value: Any) -> None:
    with pytest.raises(StoreError, match="cannot be stored"):
        checkpoint.to_bytes({"state": value})


def test_an_optimiser_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def steps(net: torch.nn.Module, optimiser: torch.optim.Optimizer, n: int) -> None:
        for i in range(n):
            optimiser.zero_grad()
            net(torch.full((2, 3, 6, 6), 0.1 * i)).square().mean().backward()
            optimiser.step()

    def made() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = torch.nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
        return net, torch.optim.Adam(net.parameters(), lr=0.1, betas=(0.0, 0.9))

    first, first_optimiser = made()
    steps(first, first_optimiser, 3)
    path = tmp_path / "state"
    path.write_bytes(checkpoint.to_bytes({"net": first.state_dict(), "optimiser": first_optimiser.state_dict()}))
    second, second_optimiser = made()
    restored = checkpoint.load(path)
    second.load_state_dict(restored["net"])
    second_optimiser.load_state_dict(restored["optimiser"])
    steps(first, first_optimiser, 3)
    steps(second, second_optimiser, 3)
    assert torch.equal(first.weight, second.weight)  # type: ignore[arg-type]
    moments = second_optimiser.state_dict()["state"][0]["exp_avg"]
    assert moments.is_contiguous(memory_format=torch.channels_last)
