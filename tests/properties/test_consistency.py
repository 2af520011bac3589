"""Properties of the multi-view metrics on random cameras and depth maps."""

from __future__ import annotations

import math
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import cameras as cam
from harness.metrics import consistency
from harness.metrics.consistency import (
    CARDS,
    cycle_displacement,
    depth_reprojection_error,
    reprojection_error,
    warping_error,
)
from harness.types import Cameras

MODEST = settings(deadline=None, max_examples=25)
PRIOR = cam.PRIORS["wide60"]
RANGES = {card.name: card.range for card in CARDS}
Scene = tuple[torch.Tensor, torch.Tensor, Cameras, torch.Tensor]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Random images and bumpy foreground depths seen from random cameras, and random pairs of views."""
    n, side = draw(st.integers(2, 4)), draw(st.integers(4, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))
    cameras = cam.sample_cameras(PRIOR, n, generator)
    images = 2 * torch.rand(n, 3, side, side, generator=generator, dtype=torch.float64) - 1
    depth = 3.6 + torch.rand(n, side, side, generator=generator, dtype=torch.float64)
    depth[torch.rand(n, side, side, generator=generator) < 0.2] = 0
    pairs = torch.randint(n, (draw(st.integers(1, 5)), 2), generator=generator)
    depth[:, 0, 0] = 4
    return images, depth, cameras, pairs


def scores(images: torch.Tensor, depth: torch.Tensor, cameras: Cameras, pairs: torch.Tensor) -> dict[str, float]:
    return {
        "reproj_mse": reprojection_error(images, depth, cameras, pairs=pairs, norm="l2")["value"],
        "reproj_l1": reprojection_error(images, depth, cameras, pairs=pairs, norm="l1")["value"],
        "depth_reproj": depth_reprojection_error(depth, cameras, pairs=pairs),
        "cycle_px": cycle_displacement(depth, cameras, pairs=pairs),
    }


def assert_close(one: dict[str, float], two: dict[str, float], rel: float) -> None:
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=rel, atol=1e-9, err_msg=name)


@MODEST
@given(scenes())
def test_values_lie_in_their_range(scene: Scene) -> None:
    for name, value in scores(*scene).items():
        low, high = RANGES[name]
        assert math.isnan(value) or low <= value <= high


@MODEST
@given(scenes(), st.floats(0.01, 9))
def test_the_depth_of_empty_space_does_not_matter(scene: Scene, fog: float) -> None:
    images, depth, cameras, pairs = scene
    opacity = (depth > 0).double()
    filled = torch.where(depth > 0, depth, fog)
    for norm in ("l1", "l2"):
        one, two = (
            reprojection_error(images, z, cameras, pairs=pairs, opacity=opacity, norm=norm)  # type: ignore[arg-type]
            for z in (depth, filled)
        )
        np.testing.assert_array_equal(list(one.values()), list(two.values()))
    for measure in (depth_reprojection_error, cycle_displacement):
        one, two = (measure(z, cameras, pairs=pairs, opacity=opacity) for z in (depth, filled))
        np.testing.assert_array_equal(one, two)


@MODEST
@given(scenes(), st.randoms(use_true_random=False))
def test_order_of_pairs_and_numbering_of_views_do_not_matter(scene: Scene, random) -> None:
    images, depth, cameras, pairs = scene
    order = list(range(len(cameras)))
    random.shuffle(order)
    renamed = torch.argsort(torch.tensor(order))[pairs].flip(0)
    moved = scores(images[order], depth[order], cam.select(cameras, order), renamed)
    assert_close(scores(*scene), moved, rel=1e-9)


@MODEST
@given(scenes())
def test_repeating_all_pairs_changes_nothing(scene: Scene) -> None:
    images, depth, cameras, pairs = scene
    assert_close(scores(*scene), scores(images, depth, cameras, torch.cat((pairs, pairs))), rel=1e-9)


@MODEST
@given(scenes(), st.floats(0.25, 4))
def test_scaling_the_world_changes_nothing(scene: Scene, factor: float) -> None:
    images, depth, cameras, pairs = scene
    factor = 2.0 ** round(math.log2(factor))  # exact in float32: the visibility test has a threshold
    pose = cameras.cam2world.clone()
    pose[:, :3, 3] *= factor
    grown = replace(cameras, cam2world=pose, near=factor * cameras.near, far=factor * cameras.far)
    assert_close(scores(*scene), scores(images, factor * depth, grown, pairs), rel=1e-9)


@MODEST
@given(scenes())
def test_a_view_agrees_with_itself(scene: Scene) -> None:
    images, depth, cameras, _ = scene
    depth = depth.clamp_min(3)
    pairs = torch.arange(len(cameras))[:, None].expand(-1, 2)
    own = scores(images, depth, cameras, pairs)
    assert own["reproj_mse"] == own["reproj_l1"] == own["cycle_px"] == 0.0
    assert own["depth_reproj"] < 1e-14


@MODEST
@given(scenes())
def test_blocks_do_not_matter(scene: Scene) -> None:
    base = scores(*scene)
    with patch.object(consistency, "BLOCK_PIXELS", 1):
        assert_close(base, scores(*scene), rel=1e-12)


@MODEST
@given(scenes(), st.floats(0.1, 5))
def test_warping_error_scales_with_colour_and_ignores_unmasked_pixels(scene: Scene, factor: float) -> None:
    images, depth, _, pairs = scene
    side = depth.shape[1]
    generator = torch.Generator().manual_seed(side)
    coords = torch.rand(len(pairs), side, side, 3, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    mask = torch.rand(len(pairs), side, side, generator=generator) < 0.5
    mask[0, 0, 0] = True
    base = warping_error(images, depth, coords, mask, pairs=pairs)
    np.testing.assert_allclose(
        warping_error(factor * images, depth, coords, mask, pairs=pairs)["rgb"], factor * base["rgb"], rtol=1e-9
    )
    elsewhere = torch.where(mask[..., None], coords, 0.5)
    assert warping_error(images, depth, elsewhere, mask, pairs=pairs) == base
