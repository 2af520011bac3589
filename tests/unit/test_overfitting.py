"""The discriminator's gap and the memorisation ratio on cases with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.metrics.errors import CountMismatch, EmptyInput, NonFinite, ShapeMismatch
from harness.metrics.overfitting import discriminator_gap, memorisation_ratio, nearest


@pytest.mark.parametrize(
    ("held_out", "gap"), [([3.0, 5.0], 0.0), ([1.0, 1.0, 1.0], 0.5), ([-2.0], 1.0), ([6.0], -1.0 / 3.0)]
)
def test_the_gap_runs_from_training_images_to_fakes(held_out: list[float], gap: float) -> None:
    known, fake = np.array([3.0, 5.0]), np.array([-1.0, -3.0])
    assert discriminator_gap(known, np.array(held_out), fake) == pytest.approx(gap)


def test_a_discriminator_that_separates_nothing_has_no_gap() -> None:
    assert math.isnan(discriminator_gap(np.ones(2), np.zeros(3), np.ones(5)))


@pytest.mark.parametrize(
    ("values", "error"),
    [(np.zeros(0), EmptyInput), (np.zeros((2, 1)), ShapeMismatch), (np.array([1.0, np.nan]), NonFinite)],
)
def test_the_gap_refuses_what_are_no_logits(values: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error):
        discriminator_gap(values, np.ones(2), np.zeros(2))


def test_copies_of_training_images_have_ratio_zero() -> None:
    known, others = torch.tensor([[0.0, 0.0], [10.0, 0.0]]), torch.tensor([[0.0, 4.0], [10.0, 2.0]])
    assert memorisation_ratio(known, known, others) == 0.0
    # (0,1): 1 from the known, 3 from the others; (10,1): 1 and 1
    assert memorisation_ratio(torch.tensor([[0.0, 1.0], [10.0, 1.0]]), known, others) == pytest.approx(2 / 4)
    assert math.isnan(memorisation_ratio(others, known, others))


def test_the_ratio_needs_equally_many_images_on_both_sides() -> None:
    with pytest.raises(CountMismatch, match="2 training rows and 3 held-out"):
        memorisation_ratio(torch.zeros(4, 2), torch.ones(2, 2), torch.ones(3, 2))


def test_the_nearest_row_is_named() -> None:
    distance, index = nearest(torch.tensor([[0.0], [9.0]]), torch.tensor([[8.0], [1.0]]))
    assert (distance.tolist(), index.tolist()) == ([1.0, 1.0], [1, 0])
