"""Geometry heads behind their one interface, and the depth losses that they learn by."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from harness.priors import named_prior
from harness.types import DataError
from methods.blocks.depth_losses import bin_loss, log_depth_loss
from methods.blocks.depth_normals import ray_slopes
from methods.blocks.geometry_head import GeometryHead, SceneHead, SupervisedHead
from methods.blocks.inverse_head import InverseHead, InverseWeights
from methods.blocks.inverse_losses import PerceptualFeatures
from methods.blocks.inverse_networks import InverseSizes
from methods.blocks.inverse_rendering import canonical_depth, pose_of, view_depth

PRIOR = named_prior("wide60")
SIZE = 16
WIDTHS = (8, 16, 16)


def _inverse(generator: Generator) -> InverseHead:
    weights = InverseWeights(perceptual=0.3, smoothness=0.01)
    features = PerceptualFeatures("random")
    return InverseHead(PRIOR, generator, InverseSizes(SIZE, 8, 16, 8), weights=weights, features=features)


HEADS: dict[str, Callable[[Generator], GeometryHead]] = {
    "supervised": lambda generator: SupervisedHead(PRIOR, generator, WIDTHS),
    "scene": lambda generator: SceneHead(PRIOR, generator, WIDTHS),
    "bins": lambda generator: SceneHead(PRIOR, generator, WIDTHS, bins=10),
    "inverse": _inverse,
}


def _build(name: str, seed: int = 0) -> GeometryHead:
    return HEADS[name](Generator().manual_seed(seed))


def _balls(n: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images [n,3,S,S] of lit balls of random place and size, and their z-depth [n,S,S], 0 where they are missed."""
    draws = torch.rand(n, 4, 1, 1, generator=Generator().manual_seed(seed))
    x, y = ray_slopes(SIZE, SIZE, PRIOR.fov)
    rays = torch.stack(torch.broadcast_tensors(x, y[:, None], torch.ones(SIZE, SIZE)))[None]
    centre = torch.cat((draws[:, :2] * 0.4 - 0.2, PRIOR.radius + 0 * draws[:, :1]), 1)
    square, along = rays.square().sum(1), (rays * centre).sum(1)
    root = along.square() - square * (centre.square().sum(1) - (0.5 + 0.4 * draws[:, 2]).square())
    depth = torch.where(root > 0, (along - root.clamp(min=0).sqrt()) / square, 0.0)
    light = (centre - depth[:, None] * rays)[:, 2] * (0.6 + 0.4 * draws[:, 3])
    return torch.where(depth > 0, light, -0.5)[:, None].expand(-1, 3, -1, -1).contiguous(), depth


@pytest.mark.parametrize("name", HEADS)
def test_shapes_and_ranges_of_what_a_head_reads(name: str) -> None:
    images, _ = _balls()
    head = _build(name)
    depth, (normals, mask) = head.depth(images), head.normals(images)
    assert depth.shape == (8, SIZE, SIZE)
    assert depth.dtype == torch.float32
    assert (depth > 1).all()
    assert (depth < 10).all()
    assert normals.shape == (8, 3, SIZE, SIZE)
    assert mask.shape == (8, 1, SIZE, SIZE)
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(8, SIZE, SIZE), atol=1e-3, rtol=0)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert mask[:, :, 0].sum() == mask[:, :, :, -1].sum() == 0
    assert not mask.requires_grad
    confidence = head.confidence(images)
    assert (confidence is not None) == (name == "inverse")
    assert confidence is None or (confidence.shape == (8, 1, SIZE, SIZE) and (confidence > 0).all())


@pytest.mark.parametrize("name", HEADS)
def test_frozen_heads_pass_gradients_to_images_and_take_none(name: str) -> None:
    head = _build(name).requires_grad_(False)
    images = _balls()[0].requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        normals, _ = head.normals(images)
    (gradient,) = torch.autograd.grad(normals[:, :2].sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", HEADS)
def test_learning_lowers_the_loss_and_its_parts_are_detached(name: str) -> None:
    images, depth = _balls(12)
    head = _build(name)
    optimiser = torch.optim.Adam(head.parameters(), 3e-3)
    totals = []
    for _ in range(12):
        with torch.autocast("cpu", torch.bfloat16):
            losses = head.learn(images, depth)
        assert not any(loss.requires_grad for part, loss in losses.items() if part != "total")
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        totals.append(float(losses["total"].detach()))
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert totals[-1] < totals[0] - 0.05


@pytest.mark.parametrize("name", HEADS)
def test_weights_follow_the_generator_and_nothing_else(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (_build(name, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert not any("features" in key for key in first)


def test_a_supervised_head_learns_the_relief_of_balls() -> None:
    head = _build("supervised")
    optimiser = torch.optim.Adam(head.parameters(), 4e-3)
    images, depth = _balls(32)
    for _ in range(80):
        optimiser.zero_grad()
        head.learn(images, depth)["total"].backward()
        optimiser.step()
    images, depth = _balls(32, seed=5)
    with torch.no_grad():
        read = head.geometry(images)
    inside = depth > 0
    assert (read.mask[:, 0] > 0).eq(inside).float().mean() > 0.95
    error = (read.depth - depth).abs()[inside].mean()
    assert error < 0.75 * (depth[inside] - depth[inside].mean()).abs().mean()


@pytest.mark.parametrize("name", ["supervised", "scene", "bins"])
def test_heads_that_learn_depth_need_it(name: str) -> None:
    images, depth = _balls()
    with pytest.raises(DataError, match="depth"):
        _build(name).learn(images, None)
    with pytest.raises(DataError, match="depth"):
        _build(name).learn(images, depth[:, ::2])


def test_an_inverse_renderer_learns_from_images_alone() -> None:
    images, depth = _balls()
    head = _build("inverse")
    torch.testing.assert_close(head.learn(images, depth)["total"], head.learn(images, None)["total"])


class Turned(torch.nn.Module):
    """A view network that says the same of every image."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.9, 0.4, 0.5, -0.5, 0.0]).expand(len(images), 6)


def test_normals_count_where_both_copies_are_seen() -> None:
    head = _build("inverse")
    assert isinstance(head, InverseHead)
    head.networks.view = Turned()
    images = torch.rand(3, 3, SIZE, SIZE, generator=Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        depth = canonical_depth(head.networks.depth(images)[:, 0], head.ranges)
        pose = pose_of(head.networks.view(images), head.ranges)
        (_, direct), (_, mirrored) = (view_depth(seen, pose, head.ranges) for seen in (depth, depth.flip(-1)))
        mask = head.geometry(images).mask
    assert 0 < mask.sum() < direct.sum()
    assert mask.equal(direct * mirrored)


def test_images_of_another_size_are_brought_to_the_inverse_renderers() -> None:
    images = torch.rand(2, 3, 2 * SIZE, 2 * SIZE)
    assert _build("inverse").depth(images).shape == (2, SIZE, SIZE)


def test_pixels_without_depth_do_not_count() -> None:
    depth = torch.tensor([[[2.0, 0.0], [4.0, 0.0]]])
    predicted = torch.tensor([[[math.log(2.0), 9.0], [math.log(4.0) + 0.5, -7.0]]])
    assert float(log_depth_loss(predicted, depth)) == pytest.approx(0.25)
    logits = torch.zeros(1, 10, 2, 2, requires_grad=True)
    assert float(bin_loss(logits, depth, 1.0, 6.0).detach()) == pytest.approx(math.log(10))
    (gradient,) = torch.autograd.grad(bin_loss(logits, depth, 1.0, 6.0), logits)
    assert (gradient[..., 1] == 0).all()
    assert gradient[0, :, 0, 0].argmin() == 2  # 2.0 lies in the third of ten bins between 1 and 6
    assert float(log_depth_loss(predicted, torch.zeros(1, 2, 2))) == 0


@pytest.mark.parametrize("name", ["scene", "bins"])
def test_a_scene_head_compares_fakes_inside_the_mask_only(name: str) -> None:
    head = _build(name).requires_grad_(False)
    assert isinstance(head, SceneHead)
    images, depth = _balls()
    images.requires_grad_()
    mask, changed = (depth > 0).float(), torch.where(depth > 0, depth, 3.7)
    rendered = changed.clone().requires_grad_()
    loss = head.compare(images, rendered, mask)
    torch.testing.assert_close(loss, head.compare(images, depth, mask))
    to_image, to_depth = torch.autograd.grad(loss, (images, rendered), allow_unused=True)
    assert to_image.abs().max() > 0
    if name == "bins":  # quantised: the generator learns through its picture alone
        assert to_depth is None
    else:
        assert to_depth.abs().max() > 0
        torch.testing.assert_close(head.compare(images, 2 * changed + 1, mask), loss)
