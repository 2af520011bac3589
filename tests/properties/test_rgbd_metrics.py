"""Card-driven and own properties of the metrics of images with depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import binned_depth, rgbd_structure, rotation
from harness.metrics.rotation import RotationErrors, rotate, rotation_errors
from tests.properties.card_properties import Pair, Subject, properties_of

FOCAL, THETA = 1.0, 0.2
FEW = settings(deadline=None, max_examples=15)
seeds = st.integers(0, 2**32 - 1)


def single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


@st.composite
def depths(draw: st.DrawFn) -> Pair:
    rng = np.random.default_rng(draw(seeds))
    shape = draw(st.integers(1, 4)), draw(st.integers(4, 7)), draw(st.integers(4, 7))
    return single(rng.uniform(0.5, 1.0, shape)), single(rng.uniform(0.5, 1.0, shape))


@st.composite
def pictures(draw: st.DrawFn) -> Pair:
    rng = np.random.default_rng(draw(seeds))
    shape = draw(st.integers(1, 4)), 3, draw(st.integers(4, 7)), draw(st.integers(4, 7))
    return single(rng.uniform(-0.5, 0.5, shape)), single(rng.uniform(-0.5, 0.5, shape))


@st.composite
def pictures_and_depths(draw: st.DrawFn) -> Pair:
    images, _ = draw(pictures())
    return images, single(np.random.default_rng(draw(seeds)).uniform(0.5, 2.0, images[:, 0].shape))


@st.composite
def logits_and_depths(draw: st.DrawFn) -> Pair:
    images, _ = draw(pictures())
    return single(4 * images), single(np.random.default_rng(draw(seeds)).uniform(-1.2, 1.2, images[:, 0].shape))


def _same_walls(images: np.ndarray | torch.Tensor) -> np.ndarray:
    """Depths that depend on the place in the picture alone, so that permuted pictures keep theirs."""
    wave = 0.7 + 0.2 * np.sin(np.arange(images.shape[-1]) + np.arange(images.shape[-2])[:, None])
    return np.broadcast_to(wave, tuple(images[:, 0].shape)).copy()


class Errors:
    """One column as a function of two views; ``rgb`` takes pictures in front of fixed depths."""

    def __init__(self, column: str) -> None:
        self.column, self.rgb = column, "rgb" in column or column == "warp_psnr"

    def add(self, errors: RotationErrors, x: np.ndarray, y: np.ndarray) -> None:
        if not len(x):
            return
        if self.rgb:
            errors.update(_same_walls(x), _same_walls(x), np.full(len(x), THETA), x, y)
        else:
            errors.update(x, y, np.full(len(x), THETA))

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        errors = RotationErrors(focal=FOCAL)
        if self.rgb:
            walls = _same_walls(x) if x.ndim == 4 else np.ones((1, 4, 4))
            errors.update(walls, walls, np.full(len(walls), THETA), x, y)
        else:
            errors.update(x, y, np.full(len(x), THETA))
        return errors.compute()[self.column]

    def merged(self, parts: Sequence[Pair]) -> float:
        whole = RotationErrors(focal=FOCAL)
        for x, y in parts:
            part = RotationErrors(focal=FOCAL)
            self.add(part, x, y)
            whole.merge(part)
        return whole.compute()[self.column]

    def batched(self, x: np.ndarray, y: np.ndarray, size: int) -> float:
        errors = RotationErrors(focal=FOCAL)
        for start in range(0, len(x), size):
            self.add(errors, x[start : start + size], y[start : start + size])
        return errors.compute()[self.column]


def _rotation(column: str) -> type:
    errors = Errors(column)
    card = next(card for card in rotation.CARDS if card.name == column)
    return properties_of(
        Subject(
            card,
            errors,
            pictures() if errors.rgb else depths(),
            merged=errors.merged,
            batched=errors.batched,
            paired=True,
            single=1e-4,
        )
    )


TestDepthError = _rotation("e_depth")
TestRgbError = _rotation("e_rgb")
TestDepthGain = _rotation("gain_depth")
TestRgbGain = _rotation("gain_rgb")
TestMaskShare = _rotation("mask_share")
TestWarpPsnr = _rotation("warp_psnr")


def _edges(x: np.ndarray, y: np.ndarray) -> float:
    return float(rgbd_structure.edge_correlation(x, y))


def _cross_entropy(x: np.ndarray, y: np.ndarray) -> float:
    return float(binned_depth.binned_cross_entropy(x, y))


TestEdges = properties_of(
    Subject(
        rgbd_structure.EDGE_CORRELATION,
        _edges,
        pictures_and_depths(),
        paired=True,
        skip=frozenset({"asymmetric"}),
    )
)
TestCrossEntropy = properties_of(
    Subject(
        binned_depth.CROSS_ENTROPY,
        _cross_entropy,
        logits_and_depths(),
        paired=True,
        skip=frozenset({"asymmetric"}),
    )
)


@FEW
@given(seed=seeds, theta=st.floats(-0.3, 0.3), scale=st.floats(0.3, 3.0))
def test_the_scale_of_the_scene_is_free(seed: int, theta: float, scale: float) -> None:
    depth = torch.from_numpy(np.random.default_rng(seed).uniform(0.4, 1.0, (2, 6, 6)))
    angle = torch.full((2,), theta, dtype=torch.float64)
    one, other = rotate(depth, angle, focal=6.0), rotate(depth * scale, angle, focal=6.0)
    torch.testing.assert_close(one.grid, other.grid, rtol=0, atol=1e-9)
    torch.testing.assert_close(one.z * scale, other.z)


@FEW
@given(seed=seeds, theta=st.floats(-0.3, 0.3))
def test_mirrored_views_turn_the_other_way(seed: int, theta: float) -> None:
    rng = np.random.default_rng(seed)
    depth, depth_2 = (rng.uniform(0.4, 1.0, (2, 6, 6)) for _ in range(2))
    images, images_2 = (rng.uniform(-1, 1, (2, 3, 6, 6)) for _ in range(2))
    angle = np.full(2, theta)
    one = rotation_errors(depth, depth_2, angle, focal=1.0, images=images, images_2=images_2)
    views = [np.ascontiguousarray(side[..., ::-1]) for side in (depth, depth_2, images, images_2)]
    other = rotation_errors(views[0], views[1], -angle, focal=1.0, images=views[2], images_2=views[3])
    assert other == pytest.approx(one, rel=1e-6)
