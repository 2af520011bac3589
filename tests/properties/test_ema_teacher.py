"""The momentum teacher against closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from methods.blocks.ema_teacher import EmaTeacher


def _net(value: float = 0.0) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    _fill(net, value)
    return net


def _fill(net: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)


def _value(teacher: EmaTeacher) -> float:
    values = torch.cat([p.flatten() for p in teacher.network.parameters()])
    assert (values == values[0]).all()
    return float(values[0])


def test_it_starts_as_a_copy_without_gradients() -> None:
    student = _net(1.0)
    teacher = EmaTeacher(student, 0.99)
    _fill(student, 2.0)
    assert _value(teacher) == 1.0
    assert not any(p.requires_grad for p in teacher.network.parameters())


def test_the_first_update_halves_and_the_momentum_then_rises_to_mu() -> None:
    student = _net(0.0)
    teacher = EmaTeacher(student, 0.9)
    _fill(student, 1.0)
    left = 1.0
    for t in range(1, 30):
        teacher.update()
        left *= min(1 - 1 / (t + 1), 0.9)
        assert _value(teacher) == pytest.approx(1 - left, abs=1e-6)
    assert teacher.updates == 29


@settings(deadline=None, max_examples=25)
@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=12), mu=st.floats(0, 1))
def test_it_stays_between_the_students_it_saw(values: list[float], mu: float) -> None:
    student = _net(values[0])
    teacher = EmaTeacher(student, mu)
    for value in values:
        _fill(student, value)
        teacher.update()
    assert min(values) - 1e-5 <= _value(teacher) <= max(values) + 1e-5


@pytest.mark.parametrize("times", [1, 2, 4])
def test_several_updates_at_once_are_several_updates(times: int) -> None:
    student = _net(0.0)
    one, many = EmaTeacher(student, 0.8), EmaTeacher(student, 0.8)
    for value in (1.0, 3.0, -2.0, 0.5):
        _fill(student, value)
        many.update(times)
        for _ in range(times):
            one.update()
        assert _value(many) == pytest.approx(_value(one), abs=1e-6)
    assert many.updates == one.updates


def test_buffers_are_copied_by_copy_only() -> None:
    student = _net(1.0)
    teacher = EmaTeacher(student, 0.0)
    student(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)) + 2)
    teacher.update()
    assert not teacher.network[1].running_mean.equal(student[1].running_mean)
    teacher.copy()
    assert teacher.network[1].running_mean.equal(student[1].running_mean)
    assert teacher.updates == 0


def test_mu_zero_follows_and_a_restored_teacher_goes_on() -> None:
    student = _net(1.0)
    teacher = EmaTeacher(student, 0.9)
    _fill(student, 4.0)
    teacher.update(3)
    twin = EmaTeacher(student, 0.9)
    twin.load_state_dict(teacher.state_dict())
    teacher.update()
    twin.update()
    assert _value(twin) == _value(teacher)
    follower = EmaTeacher(_net(0.0), 0.0)
    follower.update()
    assert _value(follower) == 0.0
