"""Properties of the pure functions behind protocol generation_3d: mirroring, augmentation, tiles, poses."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.judges.training import Recipe, Truth, augment, mirrored
from harness.types import PosePrior
from suites.protocols.generation.pictures import tile
from suites.protocols.generation.sheet import channels_first
from suites.protocols.generation.sizes import neighbours, sweep, tilt

few = settings(deadline=None, max_examples=25)
SEEDS = st.integers(0, 2**31)
PRIORS = st.builds(
    PosePrior,
    st.just("any"),
    st.sampled_from(["uniform", "gauss"]),
    st.tuples(st.floats(-1, 1), st.floats(0.05, 1.5)),
    st.tuples(st.floats(-0.5, 0.5), st.floats(0.05, 0.5)),
    st.just(0.5),
    st.just(4.0),
    st.just(3.0),
    st.just(5.0),
)


def truth(seed: int, n: int = 4, side: int = 6) -> Truth:
    g = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(n, *shape, generator=g)

    return Truth(random(3, side, side), random(1, side, side), random(), random(), random(5), random(side, side))


@few
@given(SEEDS, st.lists(st.booleans(), min_size=4, max_size=4))
def test_mirroring_is_an_involution_and_touches_only_the_chosen_rows(seed: int, chosen: list[bool]) -> None:
    batch, flip, signs = truth(seed), torch.tensor(chosen), torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    once = mirrored(batch, flip, signs)
    twice = mirrored(once, flip, signs)
    for name in Truth.__dataclass_fields__:
        assert torch.equal(getattr(twice, name), getattr(batch, name))
        assert torch.equal(getattr(once, name)[~flip], getattr(batch, name)[~flip])


@few
@given(SEEDS, st.booleans(), st.floats(0, 1), st.floats(0, 0.3))
def test_augmentation_repeats_itself_and_leaves_its_input(
    seed: int, colour: bool, background: float, noise: float
) -> None:
    batch = truth(seed)
    before = batch.images.clone()
    recipe = Recipe(1, 4, 1e-3, colour=colour, background=background, noise=noise)
    made = [augment(batch.images, batch.coverage, recipe, torch.Generator().manual_seed(seed)) for _ in range(2)]
    assert torch.equal(*made)
    assert torch.equal(batch.images, before)
    assert made[0].shape == before.shape
    assert bool(made[0].isfinite().all())


@few
@given(SEEDS, st.integers(1, 3), st.integers(1, 4), st.integers(1, 80))
def test_tiles_hold_every_pixel_equally_often(seed: int, rows: int, columns: int, side: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (rows, columns, side, side, 3)).astype(np.uint8)
    sheet = tile(images)
    factor = sheet.shape[0] // (rows * side)
    assert sheet.shape == (rows * side * factor, columns * side * factor, 3)
    assert side * factor >= 64 or side >= 64
    assert int(sheet.astype(np.int64).sum()) == factor**2 * int(images.astype(np.int64).sum())
    corner = sheet[:: side * factor, :: side * factor]
    assert np.array_equal(corner, images[:, :, 0, 0])


@few
@given(PRIORS, st.integers(2, 15))
def test_commanded_poses_are_even_and_inside_the_prior(prior: PosePrior, count: int) -> None:
    reach = 2.0 if prior.kind == "gauss" else 1.0
    for angles, (centre, spread) in (
        (sweep(prior, count), prior.azimuth),
        (tilt(prior, count), prior.elevation),
        (neighbours(prior, count), prior.azimuth),
    ):
        if spread * reach >= math.pi:
            continue
        assert angles.dtype == np.float32
        assert len(angles) == count
        assert np.allclose(angles.mean(), centre, atol=1e-5)
        assert float(np.abs(angles - centre).max()) <= spread * reach + 1e-5
        assert np.allclose(np.diff(angles), np.diff(angles)[0], atol=1e-5)


@few
@given(SEEDS, st.integers(1, 3), st.integers(1, 3))
def test_channels_first_flattens_in_order(seed: int, first: int, second: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (first, second, 4, 5, 3)).astype(np.uint8)
    flat = channels_first(images)
    assert flat.shape == (first * second, 3, 4, 5)
    assert np.array_equal(flat.permute(0, 2, 3, 1).numpy(), images.reshape(-1, 4, 5, 3))
