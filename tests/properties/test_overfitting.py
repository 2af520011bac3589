"""Invariances that the cards of the overfitting metrics declare."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.overfitting import discriminator_gap, memorisation_ratio

seeds = st.integers(0, 2**16)


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape) for shape in shapes]


@settings(deadline=None, max_examples=40)
@given(seeds, st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_the_gap_ignores_scale_shift_and_order(seed: int, scale: float, shift: float) -> None:
    known, held, fake = drawn(seed, (7,), (5,), (9,))
    known += 4.0  # apart from the fakes, or rounding is divided by nothing
    gap = discriminator_gap(known, held, fake)
    moved = discriminator_gap(scale * known[::-1] + shift, scale * held + shift, scale * fake[::-1] + shift)
    np.testing.assert_allclose(moved, gap, rtol=1e-8)


@settings(deadline=None, max_examples=40)
@given(seeds, st.floats(0.1, 10.0))
def test_the_ratio_ignores_scale_shift_rotation_and_order(seed: int, scale: float) -> None:
    fake, known, others, turn = drawn(seed, (6, 3), (4, 3), (4, 3), (3, 3))
    rotation = np.linalg.qr(turn)[0]
    before = memorisation_ratio(fake, known, others)
    after = memorisation_ratio(*(scale * rows[::-1] @ rotation + 2.0 for rows in (fake, known, others)))
    np.testing.assert_allclose(after, before, rtol=1e-8)
    assert before > 0


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_inputs_stay_and_single_precision_agrees(seed: int) -> None:
    rows = [torch.from_numpy(array) for array in drawn(seed, (6, 3), (4, 3), (4, 3))]
    kept = [row.clone() for row in rows]
    double = memorisation_ratio(*rows)
    np.testing.assert_allclose(memorisation_ratio(*(row.float() for row in rows)), double, rtol=1e-5)
    assert all(torch.equal(row, before) for row, before in zip(rows, kept, strict=True))
