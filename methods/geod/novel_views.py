"""The third task of GeoD: the same scene from a second camera has to agree with the first (dossier, 3.6).

How the paper builds it is not known to us; the three forms are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor

from harness.cameras import look_at
from harness.types import Cameras, Context, PosePrior, SceneRenders
from methods.blocks.geometry_head import GeometryHead
from methods.blocks.view_warp import seen_from, view_difference
from methods.geod.guidance import rendered_geometry, resized
from methods.geod.options import Options
from methods.geod.view_network import ViewNetwork

STREAM = 3 << 40  # random numbers of its own, so that the base's stay as they are


class NovelViews:
    """Draws second cameras and compares views; ``learned`` also trains a network on real images to predict them."""

    def __init__(self, options: Options, prior: PosePrior, context: Context) -> None:
        self.options, self.prior, self.context = options, prior, context
        self.generator = Generator().manual_seed(STREAM + context.seed)
        self.network: ViewNetwork | None = None
        if options.nvs == "learned":
            seeded = Generator().manual_seed(STREAM + context.seed)
            self.network = ViewNetwork(options.nvs_width, seeded).to(context.device)
            self.network.requires_grad_(False)
            self.optimiser = torch.optim.Adam(self.network.parameters(), lr=options.nvs_lr)

    def second(self, cameras: Cameras) -> Cameras:
        """Another camera for each: from the prior, or turned by up to ``nvs_degrees`` (half as much in elevation)."""
        n, degrees = len(cameras), self.options.nvs_degrees
        if not degrees:
            return self.context.sample_cameras(n, self.generator)
        turn = (torch.rand(2, n, generator=self.generator) * 2 - 1).to(cameras.azimuth.device).mul(degrees).deg2rad()
        return look_at(cameras.azimuth + turn[0], cameras.elevation + turn[1] / 2, self.prior)

    def loss(self, scene: SceneRenders, head: GeometryHead) -> tuple[Tensor, Tensor]:
        """L_nvs of a generator step, in intensities of [-1,1], and the share of the first views that it looks at."""
        o = self.options
        with aside(self.context.generator, self.generator):
            other = scene.again(self.second(scene.cameras))
        if self.network is not None:
            return self._predicted(scene, other), scene.rgb.new_ones(())
        size = (scene.depth.shape[1], scene.depth.shape[2])
        depth, mask = rendered_geometry(scene, size, o.opaque, o.mask_erosion)
        if o.nvs == "warp_disc_depth":
            depth = self._read_depth(scene, head, depth, mask)
        loss, used = view_difference(
            resized(scene.rgb, size),
            depth,
            mask,
            scene.cameras,
            other.cameras,
            resized(other.rgb, size),
            other.depth,
            o.nvs_tolerance,
        )
        return loss, used.float().mean()

    @torch.no_grad()
    def _read_depth(self, scene: SceneRenders, head: GeometryHead, depth: Tensor, mask: Tensor) -> Tensor:
        """The head's depth of the first view, brought to the scale of the rendered one: a head's scale is free."""
        with self.context.autocast():
            seen = head.depth(scene.rgb)
        seen = resized(seen[:, None], (depth.shape[1], depth.shape[2]))[:, 0]
        ratio = torch.where(mask, depth.log() - seen.log(), 0.0).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
        return seen * ratio.exp()[:, None, None]

    def _predicted(self, scene: SceneRenders, other: SceneRenders) -> Tensor:
        assert self.network is not None
        with self.context.autocast():
            made = self.network(other.rgb, relative_pose(other.cameras, scene.cameras))
            loss = (made.float() - scene.rgb).abs().mean()
            if self.options.nvs_features:
                gap = self.network.features(made).float() - self.network.features(scene.rgb).float()
                loss = loss + self.options.nvs_features * gap.abs().mean()
        return loss

    # ------------------------------------------------------------------------------------ learning from real images
    def learn(self, images: Tensor, head: GeometryHead) -> Mapping[str, Tensor]:
        """Train the network to undo turns of real images [B,3,H,W], made with the depth that ``head`` reads there."""
        if self.network is None:
            return {}
        here = self.context.sample_cameras(len(images), self.generator)
        there = self.second(here)
        with torch.no_grad(), self.context.autocast():
            seen = head.geometry(images)
        size = (images.shape[2], images.shape[3])
        depth, mask = resized(seen.depth[:, None], size)[:, 0], resized(seen.mask, size)[:, 0] > 0.5
        # Beside the object the head's depth means nothing: there the picture turns like a plane through the origin.
        turned, _ = seen_from(images, torch.where(mask, depth.float(), self.prior.radius), here, there)
        self.network.requires_grad_(True)
        self.optimiser.zero_grad(set_to_none=True)
        with self.context.autocast():
            made = self.network(turned, relative_pose(there, here))
        loss = (made.float() - images).abs().mean()
        loss.backward()
        self.optimiser.step()
        self.network.requires_grad_(False)
        return {"nvs_real": loss.detach()}

    # ---------------------------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """Random state and, where there is one, the network with its optimiser."""
        state: dict[str, Any] = {"generator": self.generator.get_state()}
        if self.network is not None:
            state |= {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.generator.set_state(state["generator"].cpu())
        if self.network is not None:
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])


@contextmanager
def aside(generator: Generator, other: Generator) -> Iterator[None]:
    """Whatever draws from ``generator`` meanwhile draws from a stream seeded by ``other``; its own stays where it was.

    So the base goes on with the latents, cameras and jitter that it has without the third task.
    """
    state = generator.get_state()
    generator.manual_seed(int(torch.randint(1 << 62, (), generator=other)))
    try:
        yield
    finally:
        generator.set_state(state)


def relative_pose(source: Cameras, target: Cameras) -> Tensor:
    """The first two rows of the rotation from source to target axes minus those of the identity, [N,6]."""
    # Element-wise: a matrix product would be rounded to bfloat16 under autocast.
    rotation = (target.cam2world[:, :3, :3, None] * source.cam2world[:, :3, None, :3]).sum(1)
    return (rotation - torch.eye(3, device=rotation.device))[:, :2].flatten(1)
