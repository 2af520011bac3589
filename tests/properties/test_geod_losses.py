"""Bounds and invariances of what GeoD adds to a generator's loss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.geod.guidance import depth_loss, normal_loss
from methods.geod.schedule import Ramp

SEEDS = st.integers(0, 2**31 - 1)


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two fields of unit normals [2,3,6,6] and a mask bool [2,6,6]."""
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, 2, 3, 6, 6, generator=generator)
    return F.normalize(first, dim=1), F.normalize(second, dim=1), torch.rand(2, 6, 6, generator=generator) < 0.5


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_the_normal_loss_is_bounded_symmetric_and_blind_outside_its_mask(seed: int) -> None:
    a, b, mask = drawn(seed)
    loss = normal_loss(a, b, mask)
    assert 0 <= float(loss) <= 2 * math.sqrt(3) + 1e-5
    assert loss.equal(normal_loss(b, a, mask))
    assert loss.equal(normal_loss(torch.where(mask[:, None], a, 7.0), b, mask))
    assert float(normal_loss(a, a, mask)) == 0


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, factor=st.floats(0.2, 5.0))
def test_the_depth_loss_ignores_a_factor_and_what_is_masked(seed: int, factor: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = 1 + torch.rand(2, 3, 6, 6, generator=generator)
    mask = torch.rand(3, 6, 6, generator=generator) < 0.5
    loss = depth_loss(a, b, mask)
    assert float(loss) >= 0
    assert torch.allclose(loss, depth_loss(factor * a, b, mask), atol=1e-5)
    assert loss.equal(depth_loss(torch.where(mask, a, -1.0), b, mask))
    assert float(depth_loss(a, a, mask)) == 0


@settings(deadline=None, max_examples=50)
@given(
    start=st.floats(0, 1),
    rise=st.floats(0, 1),
    more=st.floats(0.01, 1),
    times=st.lists(st.floats(0, 4), min_size=2, max_size=8),
)
def test_a_ramp_rises_and_stays_within_its_ends(start: float, rise: float, more: float, times: list[float]) -> None:
    ramp = Ramp(start, start + rise, start + rise + more, 0.0, 0.5)
    inside = sorted(time for time in times if start < time < ramp.stop)
    values = [ramp.weight(time) for time in inside]
    assert values == sorted(values)
    assert all(0 <= value <= 0.5 for value in values)
    assert all(ramp.weight(time) == 0 for time in times if not start < time < ramp.stop)
