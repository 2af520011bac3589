"""Steps that are taken back: bit for bit, also where state appears only after the first step."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.blocks.virtual_steps import Rewind, Snapshot, Soup

OPTIMISERS = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.1),
    "adamw fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "plain sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def step(model: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad()
    model(images).square().sum().backward()
    optimiser.step()


def everything(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    return copy.deepcopy({"network": model.state_dict(), "optimiser": optimiser.state_dict()})


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


@pytest.mark.parametrize("kind", OPTIMISERS)
@pytest.mark.parametrize("before", [0, 2])
def test_a_rewound_network_is_the_one_it_was(kind: str, before: int) -> None:
    model = network()
    optimiser = OPTIMISERS[kind](model.parameters())
    for seed in range(before):
        step(model, optimiser, seed)
    was = everything(model, optimiser)
    rewind = Rewind(model, optimiser, everything=True)
    rewind.take()
    for seed in range(3):
        step(model, optimiser, 10 + seed)
    assert not equal(was, everything(model, optimiser))
    rewind.restore()
    assert equal(was, everything(model, optimiser))


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_a_rewound_network_goes_on_as_if_nothing_had_been(kind: str) -> None:
    model, twin = network(), network()
    optimiser, twins = OPTIMISERS[kind](model.parameters()), OPTIMISERS[kind](twin.parameters())
    rewind = Rewind(model, optimiser, everything=True)
    for seed in range(3):
        rewind.take()
        for virtual in range(2):
            step(model, optimiser, 100 * seed + virtual)
            rewind.restore()
        step(model, optimiser, seed)
        step(twin, twins, seed)
    assert equal(everything(model, optimiser), everything(twin, twins))


def test_only_the_parameters_go_back_where_asked() -> None:
    model = network()
    optimiser = OPTIMISERS["adamw"](model.parameters())
    step(model, optimiser, 0)
    rewind = Rewind(model, optimiser, everything=False)
    rewind.take()
    parameters = copy.deepcopy(list(model.parameters()))
    buffers, moments = copy.deepcopy(dict(model.named_buffers())), copy.deepcopy(optimiser.state_dict())
    step(model, optimiser, 1)
    rewind.restore()
    assert all(map(torch.equal, parameters, model.parameters()))
    assert not equal(buffers, dict(model.named_buffers()))
    assert not equal(moments, optimiser.state_dict())


def test_an_optimiser_loaded_from_a_checkpoint_is_rewound_too() -> None:
    model = network()
    optimiser = OPTIMISERS["adamw"](model.parameters())
    rewind = Rewind(model, optimiser, everything=True)
    step(model, optimiser, 0)
    rewind.take()
    optimiser.load_state_dict(copy.deepcopy(optimiser.state_dict()))  # puts other tensors in place of the old ones
    rewind.take()
    was = everything(model, optimiser)
    step(model, optimiser, 1)
    rewind.restore()
    assert equal(was, everything(model, optimiser))


def test_buffers_are_allocated_once() -> None:
    tensors = [torch.ones(3), torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.int64)]
    snapshot = Snapshot()
    snapshot.take(tensors)
    places = [kept.data_ptr() for group in snapshot._kept for kept in group]
    for tensor in tensors:
        tensor.mul_(2)
    snapshot.take(tensors)
    assert places == [kept.data_ptr() for group in snapshot._kept for kept in group]
    for tensor in tensors:
        tensor.zero_()
    snapshot.restore()
    assert all((tensor == 2).all() for tensor in tensors)


def test_the_soup_is_the_mean_of_what_was_added() -> None:
    tensor = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    soup = Soup([tensor])
    for value in (torch.tensor([3.0, 0.0]), torch.tensor([5.0, 8.0])):
        tensor.data.copy_(value)
        soup.add()
    soup.pour()
    assert tensor.tolist() == [4.0, 4.0]
    tensor.data.fill_(7.0)
    soup.add()
    tensor.data.zero_()
    soup.pour()
    assert tensor.tolist() == [7.0, 7.0]  # nothing of the first soup is left
