"""Training of the judges: one deterministic loop, three targets, shared augmentations.

Everything random comes from one seeded CPU generator, and the loop runs on one thread, so one machine always gives the
same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.judges.networks import DEPTH_GAIN, AttributeNet, DepthNet, PoseNet

CHUNK = 256
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Recipe:
    """How one judge is trained: ``steps`` of ``batch`` images, one-cycle learning rate with maximum ``rate``.

    ``colour`` allows channel shuffles and random gain per channel (wrong for a net that must read colours);
    ``background`` is the share of pictures composited on a random solid colour, ``noise`` the largest noise sd in
    [-1,1] units.
    """

    steps: int
    batch: int
    rate: float
    weight_decay: float = 1e-4
    colour: bool = False
    background: float = 0.5
    noise: float = 0.1
    blur: float = 0.25
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0


@dataclass(frozen=True)
class Truth:
    """Arrays of the oracle split as tensors, one row per picture.

    ``images`` float [N,3,H,W] in [-1,1]; ``coverage`` [N,1,H,W] in [0,1]; ``azimuth``, ``elevation`` [N] radians;
    ``attributes`` [N,A] standardised; ``depth`` z-depth [N,H,W], 0 where there is no object.
    """

    images: Tensor
    coverage: Tensor
    azimuth: Tensor
    elevation: Tensor
    attributes: Tensor
    depth: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def rows(self, start: int, stop: int) -> Truth:
        """Rows ``start`` to ``stop`` of every array."""
        return Truth(**{name: getattr(self, name)[start:stop] for name in self.__dataclass_fields__})


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one intra-operator thread: sums are then taken in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def to_unit(images: np.ndarray) -> Tensor:
    """uint8 [N,H,W,3] -> float32 [N,3,H,W] in [-1,1], channels last in memory."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    return pixels.to(torch.float32).mul_(1 / 127.5).sub_(1.0)


def augment(images: Tensor, coverage: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random backgrounds, gain and offset, noise and blur; geometry is left alone.

    Images [B,3,H,W], coverage [B,1,H,W] -> [B,3,H,W]. Every picture draws its own background, gain and noise level;
    channel order and blur are drawn per batch, which keeps the loop free of per-sample work.
    """
    n = len(images)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    solid = uniform(n, 3, 1, 1) * 2 - 1
    swap = (uniform(n, 1, 1, 1) < recipe.background).to(images.dtype)
    images = images + swap * (1 - coverage) * (solid - images)
    if recipe.colour:
        images = images[:, torch.randperm(3, generator=generator)]
        images = images * (0.7 + 0.6 * uniform(n, 3, 1, 1)) + 0.3 * (uniform(n, 3, 1, 1) - 0.5)
    if float(uniform(1)) < recipe.blur:
        soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        images = images + (0.3 + 0.6 * uniform(n, 1, 1, 1)) * (soft - images)
    level = recipe.noise * uniform(n, 1, 1, 1) ** 2
    return images + level * torch.randn(images.shape, generator=generator)


def pose_loss(outputs: Tensor, batch: Truth) -> Tensor:
    """Squared error of (sin azimuth, cos azimuth, elevation)."""
    target = torch.stack([batch.azimuth.sin(), batch.azimuth.cos(), batch.elevation], dim=1)
    return F.mse_loss(outputs, target)


def attribute_loss(outputs: Tensor, batch: Truth) -> Tensor:
    """Squared error of the standardised attributes."""
    return F.mse_loss(outputs, batch.attributes)


def depth_loss(outputs: Tensor, batch: Truth) -> Tensor:
    """Mean absolute error of the scaled log-depth over the object's pixels; ``batch.depth`` in camera distances."""
    inside = (batch.depth > 0) & (batch.coverage[:, 0] > 0.5)
    target = torch.log(torch.where(inside, batch.depth, 1.0)) * DEPTH_GAIN
    return ((outputs - target).abs() * inside).sum() / inside.sum().clamp(min=1)


def mirrored(batch: Truth, flip: Tensor, signs: Tensor) -> Truth:
    """Mirror the pictures where ``flip`` [B] is true: azimuth changes sign, and so do attributes with sign -1.

    Right for the left-right symmetric classes of family ``objects``; the sign of each attribute comes with the data.
    """
    image = flip[:, None, None, None]
    return Truth(
        images=torch.where(image, batch.images.flip(3), batch.images),
        coverage=torch.where(image, batch.coverage.flip(3), batch.coverage),
        azimuth=torch.where(flip, -batch.azimuth, batch.azimuth),
        elevation=batch.elevation,
        attributes=torch.where(flip[:, None], batch.attributes * signs, batch.attributes),
        depth=torch.where(flip[:, None, None], batch.depth.flip(2), batch.depth),
    )


def fit(
    net: nn.Module,
    loss: Callable[[Tensor, Truth], Tensor],
    truth: Truth,
    signs: Tensor,
    recipe: Recipe,
) -> None:
    """Train ``net`` in place on one thread; the same inputs give the same weights.

    ``signs`` [A] says which attributes change sign under mirroring.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, foreach=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.rate, total_steps=max(recipe.steps, 2), pct_start=0.25, cycle_momentum=False
    )
    net.train().to(memory_format=torch.channels_last)
    for _ in range(recipe.steps):
        index = torch.randint(len(truth), (recipe.batch,), generator=generator)
        batch = Truth(**{name: getattr(truth, name)[index] for name in Truth.__dataclass_fields__})
        batch = mirrored(batch, torch.rand(recipe.batch, generator=generator) < 0.5, signs)
        images = augment(batch.images, batch.coverage, recipe, generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
            outputs = net(images.contiguous(memory_format=torch.channels_last))
        optimiser.zero_grad(set_to_none=True)
        loss(outputs.float(), batch).backward()
        optimiser.step()
        schedule.step()
    net.eval()


@torch.no_grad()
def chunked(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply ``function`` to slices of 256 pictures and concatenate: memory stays bounded."""
    parts = [function(part.contiguous(memory_format=torch.channels_last)) for part in images.split(CHUNK)]
    return torch.cat(parts)


def initialise(make: Callable[[], Net], seed: int) -> Net:
    """Build a network with weights drawn from ``seed``, without touching the global generator afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def held_out_report(
    pose: PoseNet, attributes: AttributeNet, depth: DepthNet, truth: Truth, names: tuple[str, ...]
) -> dict[str, float]:
    """Scores of the three judges on pictures that they never saw; angles in degrees.

    ``names`` label the columns of ``truth.attributes``; their coefficient of determination is ``r2/<name>``. SIDE needs
    no common unit, so that ``truth.depth`` may be in camera distances.
    """
    azimuth, elevation = PoseNet.angles(chunked(pose, truth.images).double())
    wrapped = torch.remainder(azimuth - truth.azimuth.double() + torch.pi, 2 * torch.pi) - torch.pi
    report = {
        "azimuth_mae_deg": float(wrapped.abs().mean().rad2deg()),
        "elevation_mae_deg": float((elevation - truth.elevation.double()).abs().mean().rad2deg()),
    }
    residual = (chunked(attributes, truth.images) - truth.attributes).double().square().sum(0)
    total = (truth.attributes - truth.attributes.mean(0)).double().square().sum(0)
    r2 = 1 - residual / total.clamp(min=1e-12)
    report |= {f"r2/{name}": float(value) for name, value in zip(names, r2.tolist(), strict=True)}
    report["r2_mean"] = float(r2.mean())
    inside = (truth.depth > 0) & (truth.coverage[:, 0] > 0.5)
    delta = torch.where(
        inside, torch.log(chunked(depth.depth, truth.images) / truth.depth.clamp(min=1e-6)), 0.0
    ).double()
    count = inside.sum((1, 2)).clamp(min=1)
    first, second = delta.sum((1, 2)) / count, delta.square().sum((1, 2)) / count
    report["depth_side_x100"] = float(100 * (second - first.square()).clamp(min=0).sqrt()[inside.any(2).any(1)].mean())
    return report
