"""Path length regularisation against linear generators and explicit Jacobians."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.blocks.path_length import PathLength, path_lengths


def _seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def _linear(styles: Tensor, matrix: Tensor) -> Tensor:
    """Images [N,3,2,4] = A of the sum of the codes [N,L,W]."""
    return (styles.sum(1) @ matrix.T).view(-1, 3, 2, 4)


def test_linear_generator_has_the_frobenius_norm_of_its_matrix() -> None:
    matrix = torch.randn(24, 5, generator=_seed(1))
    styles = torch.randn(4000, 3, 5, generator=_seed(2)).requires_grad_(True)
    lengths = path_lengths(_linear(styles, matrix), styles, _seed(3))
    # Every one of the three codes has Jacobian A, so the mean over codes changes nothing.
    expected = matrix.square().sum() / (2 * 4)
    assert float(lengths.detach().square().mean()) == pytest.approx(float(expected), rel=0.05)


def test_lengths_equal_an_explicit_jacobian() -> None:
    weight = torch.randn(2, 3, 3, 4, 4, generator=_seed(4))

    def draw(styles: Tensor) -> Tensor:
        return torch.einsum("lwchv,nlw->nchv", weight, styles.tanh())

    styles = torch.randn(3, 2, 3, generator=_seed(5)).requires_grad_(True)
    lengths = path_lengths(draw(styles), styles, _seed(6)).detach()
    noise = torch.randn(3, 3, 4, 4, generator=_seed(6)) / 4
    for n in range(3):
        jacobian = torch.autograd.functional.jacobian(draw, styles[n : n + 1].detach())[0, :, :, :, 0]
        product = torch.einsum("chvlw,chv->lw", jacobian, noise[n])
        assert float(lengths[n]) == pytest.approx(float(product.square().sum(1).mean().sqrt()), rel=1e-5)


def test_penalty_and_running_mean() -> None:
    matrix = torch.randn(24, 5, generator=_seed(1)).requires_grad_(True)
    styles = torch.randn(6, 3, 5, generator=_seed(2)).requires_grad_(True)
    penalty = PathLength(torch.device("cpu"))
    penalty.mean = torch.tensor(0.5)
    value = penalty(_linear(styles, matrix), styles, _seed(3))
    lengths = path_lengths(_linear(styles, matrix), styles, _seed(3))
    mean = 0.5 + 0.01 * (lengths.mean() - 0.5)
    expected = (lengths - mean).square().mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(penalty.mean, mean.detach())
    assert not penalty.mean.requires_grad
    # The new mean is part of the graph, as published.
    (ours,), (plain,) = (torch.autograd.grad(v, matrix, retain_graph=True) for v in (value, expected))
    torch.testing.assert_close(ours, plain)
    (detached,) = torch.autograd.grad((lengths - mean.detach()).square().mean(), matrix)
    assert not torch.allclose(ours, detached)


def test_state_round_trip() -> None:
    one, two = PathLength(torch.device("cpu")), PathLength(torch.device("cpu"))
    one.mean = torch.tensor(1.25)
    two.load_state_dict(one.state_dict())
    assert float(two.mean) == 1.25
