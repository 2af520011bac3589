"""The ring buffer of all queues against one deque per class."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.types import ConfigError
from methods.blocks.class_queues import ClassQueues, below

CPU = torch.device("cpu")


def contents(queues: ClassQueues, owner: int) -> Tensor:
    """The keys of a class from the oldest to the newest."""
    count, pointer, capacity = (int(x[owner]) for x in (queues.count, queues.pointer, queues.capacity))
    return queues.keys[owner, [(pointer - count + i) % capacity for i in range(count)]]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    capacity=st.integers(1, 9),
    first=st.integers(1, 14),
    pushes=st.lists(st.integers(1, 20), min_size=1, max_size=6),
)
def test_every_queue_is_a_deque(seed: int, capacity: int, first: int, pushes: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    queues = ClassQueues(3, capacity, first, 2, CPU)
    references: list[deque[list[float]]] = [deque(maxlen=first), deque(maxlen=capacity), deque(maxlen=capacity)]
    for size in pushes:
        keys = torch.randn(size, 2, generator=generator)
        member = torch.rand(3, size, generator=generator) < 0.6
        queues.push(keys, member)
        for owner, reference in enumerate(references):
            reference.extend(key.tolist() for key, inside in zip(keys, member[owner], strict=True) if inside)
    for owner, reference in enumerate(references):
        assert contents(queues, owner).tolist() == list(reference)


def test_after_more_keys_than_it_can_hold_a_queue_has_the_last_ones() -> None:
    queues = ClassQueues(2, 4, 6, 1, CPU)
    queues.push(torch.arange(11.0)[:, None], torch.ones(2, 11, dtype=torch.bool))
    assert contents(queues, 0).flatten().tolist() == [5, 6, 7, 8, 9, 10]
    assert contents(queues, 1).flatten().tolist() == [7, 8, 9, 10]


def test_draws_come_from_the_named_queue_and_from_every_key() -> None:
    queues = ClassQueues(3, 5, 5, 1, CPU)
    member = torch.tensor([[True, True, False, False], [False, False, True, True], [False] * 4])
    queues.push(torch.arange(4.0)[:, None] + 1.0, member)
    uniform = torch.tensor([0.0, 0.49, 0.5, 1.0 - 2**-24]).expand(3, 4)
    assert queues.draw(uniform)[..., 0].tolist() == [[1, 1, 2, 2], [3, 3, 4, 4], [0, 0, 0, 0]]
    assert queues.draw(uniform, torch.tensor([1, 0, 2]))[..., 0].tolist() == [[3, 3, 4, 4], [1, 1, 2, 2], [0, 0, 0, 0]]


def test_rounding_never_leaves_the_range() -> None:
    count = torch.tensor([50_000, 3, 1, 0])
    assert below(torch.full((4,), 1.0 - 2**-24), count).tolist() == [49_999, 2, 0, 0]


def test_the_state_restores_keys_order_and_length() -> None:
    generator = torch.Generator().manual_seed(0)
    queues, copy = (ClassQueues(2, 3, 4, 2, CPU) for _ in range(2))
    for _ in range(3):
        queues.push(torch.randn(5, 2, generator=generator), torch.rand(2, 5, generator=generator) < 0.5)
    copy.load_state_dict(queues.state_dict())
    keys, member = torch.randn(2, 2, generator=generator), torch.ones(2, 2, dtype=torch.bool)
    for each in (queues, copy):
        each.push(keys, member)
    assert all(torch.equal(contents(queues, owner), contents(copy, owner)) for owner in range(2))


def test_nothing_to_push_changes_nothing() -> None:
    queues = ClassQueues(2, 3, 4, 2, CPU)
    queues.push(torch.ones(5, 2), torch.zeros(2, 5, dtype=torch.bool))
    assert queues.count.tolist() == [0, 0]
    assert not queues.keys.any()


def test_a_queue_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        ClassQueues(2, 0, 4, 2, CPU)
