"""Laws of the augmentations: identity at p = 0, linearity in the image, whole moves, and a probability that is one."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from methods.blocks.affine_resampling import rearrange, resample
from methods.blocks.augmentation import build_augmentation
from methods.blocks.augmentation_ada import PIPES, augment
from methods.blocks.augmentation_geometry import draw_inverse

seeds = st.integers(0, 2**31)


def _images(seed: int, channels: int, size: int) -> Tensor:
    return torch.rand(3, channels, size, size, generator=Generator().manual_seed(seed)) * 2 - 1


@given(seeds, st.sampled_from([1, 3, 4]), st.integers(4, 40), st.sampled_from(sorted(PIPES)))
@settings(deadline=None, max_examples=40)
def test_the_identity_at_zero(seed: int, channels: int, size: int, pipe: str) -> None:
    images = _images(seed, channels, size)
    made = augment(images, pipe, torch.tensor(0.0), Generator().manual_seed(seed))
    torch.testing.assert_close(made, images, atol=2e-5, rtol=0)


@given(seeds, st.sampled_from(["ada", "diffaug"]), st.floats(-2, 2), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_mixtures_of_images_become_mixtures(seed: int, kind: str, share: float, p: float) -> None:
    """An affine map of the image: its derivatives of every order are those of a constant matrix."""
    a, b = _images(seed, 4, 12), _images(seed + 1, 4, 12)
    augmentation = build_augmentation(kind, device="cpu", pipe="bgcfnc", probability=p)
    mixed, *parts = (augmentation(x, Generator().manual_seed(seed)) for x in (share * a + (1 - share) * b, a, b))
    scale = 1 + max(float(x.abs().max()) for x in parts)
    torch.testing.assert_close(mixed, share * parts[0] + (1 - share) * parts[1], atol=1e-5 * scale, rtol=1e-4)


@given(seeds, st.integers(6, 24))
@settings(deadline=None, max_examples=40)
def test_whole_moves_have_an_inverse_and_lose_no_value_without_translation(seed: int, size: int) -> None:
    images = _images(seed, 3, size)
    one = torch.tensor(1.0)
    linear, shift = draw_inverse(3, size, one, blit=True, geom=False, generator=Generator().manual_seed(seed))
    still = torch.zeros_like(shift)
    moved = rearrange(images, linear, still)
    assert torch.equal(rearrange(moved, linear.mT, still), images)
    # Translated images hold no value that the image does not hold.
    translated = rearrange(images, linear, shift).flatten(2)
    assert torch.isin(translated, images).all()


@given(seeds, st.integers(12, 32), st.integers(-4, 4), st.integers(-4, 4))
@settings(deadline=None, max_examples=40)
def test_whole_translations_are_exact_between_the_filters(seed: int, size: int, x: int, y: int) -> None:
    images = _images(seed, 1, size)
    linear, shift = torch.eye(2).expand(3, 2, 2), torch.tensor([float(x), float(y)]).expand(3, 2)
    exact = rearrange(images, linear, shift)
    torch.testing.assert_close(resample(images, linear, shift), exact, atol=2e-5, rtol=0)


@given(seeds, st.lists(st.floats(-3, 3), min_size=1, max_size=40), st.integers(1, 64))
@settings(deadline=None, max_examples=40)
def test_p_never_falls_below_zero_and_moves_by_whole_steps(seed: int, means: list[float], batch: int) -> None:
    ada = build_augmentation("ada", device="cpu")
    generator = Generator().manual_seed(seed)
    unit = batch * 4 / 500_000
    for step, mean in enumerate(means):
        before = ada.probability.item()
        ada.observe(torch.randn(batch, generator=generator) + mean)
        ada.update(step, batch)
        moved = (ada.probability.item() - before) / unit
        assert ada.probability.item() >= 0
        assert abs(moved - round(moved)) < 1e-6
        assert abs(moved) < 1.5
        assert moved == 0 or step % 4 == 3
