"""Adversarial losses and penalties at points where their values are known."""

from __future__ import annotations

import math

import torch

from methods.blocks.adversarial import discriminator_loss, generator_loss, r1_penalty


def test_undecided_logits() -> None:
    zero = torch.zeros(4, 1)
    assert math.isclose(float(discriminator_loss(zero, zero)), 2 * math.log(2), rel_tol=1e-6)
    assert math.isclose(float(generator_loss(zero)), math.log(2), rel_tol=1e-6)


def test_losses_are_the_cross_entropies() -> None:
    g = torch.Generator().manual_seed(0)
    real, fake = torch.randn(8, 1, generator=g), torch.randn(8, 1, generator=g)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(discriminator_loss(real, fake), expected)
    torch.testing.assert_close(generator_loss(fake), entropy(fake, torch.ones_like(fake)))


def test_extreme_logits_stay_finite_in_bf16() -> None:
    big = torch.full((2, 1), 1e4, dtype=torch.bfloat16)
    assert torch.isfinite(discriminator_loss(-big, big))
    assert discriminator_loss(big, -big) == 0


def test_r1_of_a_linear_function_is_its_squared_norm() -> None:
    weight = torch.randn(3 * 4 * 4, generator=torch.Generator().manual_seed(0))
    images = torch.randn(5, 3, 4, 4)
    penalty = r1_penalty(lambda x: x.flatten(1) @ weight, images)
    torch.testing.assert_close(penalty, weight.square().sum())


def test_r1_can_be_minimised() -> None:
    layer = torch.nn.Linear(6, 1)
    with torch.autocast("cpu", torch.bfloat16):
        penalty = r1_penalty(layer, torch.randn(4, 6))
    assert penalty.dtype == torch.float32
    penalty.backward()
    torch.testing.assert_close(layer.weight.grad, 2 * layer.weight.detach())
