"""Frozen features of an image on one grid: backbone stages, rectified, resized, concatenated and standardised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.backbones import open_backbone
from harness.types import ConfigError, Context, DataError, StoreError
from methods.blocks.options import parse_options

CHUNK = 64
"""Images that go through the backbone at once outside training."""
LEAST_SPREAD = 0.01
"""Channels that hardly vary are divided by at least this share of the mean spread, so that noise is not blown up."""


@dataclass(frozen=True)
class FeatureOptions:
    """Preset keys of the features: ``stages`` count from 1; ``pool`` resizes each stage to ``grid`` x ``grid``."""

    backbone: str
    stages: tuple[int, ...]
    grid: int
    rectify: bool
    pool: Literal["bilinear", "average"]
    standardise: Literal["none", "channel"]


def resize(maps: Tensor, grid: int, pool: Literal["bilinear", "average"]) -> Tensor:
    """Maps [B,C,h,w] on ``grid`` x ``grid`` cells.

    ``bilinear`` samples corner to corner without a low-pass (UniAD's neck), ``average`` takes the mean of each cell.
    """
    if pool == "average":
        return F.adaptive_avg_pool2d(maps, grid)
    return F.interpolate(maps, size=(grid, grid), mode="bilinear", align_corners=True)


class FeatureMap:
    """Images [B,3,H,W] in [-1,1] to features [B,C,g,g] of a frozen backbone; nothing here is trained by gradients.

    ``config`` holds the keys of ``FeatureOptions`` beside others. Raises ConfigError for stages the backbone lacks,
    MissingAsset where its weights are not on this machine.
    """

    def __init__(self, config: Any, context: Context) -> None:
        o = self.options = parse_options(FeatureOptions, config, "features")
        if o.grid < 1:
            raise ConfigError(f"{o.grid} is below 1", where="features.grid")
        self.backbone = open_backbone(o.backbone, context.assets, device=context.device, stages=o.stages)
        self.device = context.device
        self.grid = o.grid
        self.channels = sum(self.backbone.channels)
        self.mean = torch.zeros(self.channels, 1, 1, device=self.device)
        self.spread = torch.ones(self.channels, 1, 1, device=self.device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return (self._raw(images) - self.mean) / self.spread

    def _raw(self, images: Tensor) -> Tensor:
        o, maps = self.options, self.backbone.stages(images.to(self.device))
        return torch.cat([resize(F.relu(m) if o.rectify else m, o.grid, o.pool) for m in maps], dim=1)

    @torch.no_grad()
    def fit(self, images: NDArray[np.uint8]) -> Tensor:
        """Take mean and standard deviation over images and cells, where the preset asks for them, and return the
        features [N,C,g,g] of ``images`` uint8 [N,H,W,3] as ``__call__`` gives them: what training reads.

        Raises DataError for an empty split.
        """
        if not len(images):
            raise DataError("the training split is empty", where="features")
        chunks = range(0, len(images), CHUNK)
        features = torch.cat([self._raw(as_float(images[i : i + CHUNK])) for i in chunks])
        if self.options.standardise == "channel":
            self._measure(features)
        return features.sub_(self.mean).div_(self.spread)

    def _measure(self, features: Tensor) -> None:
        parts = features.split(CHUNK)
        cells = len(features) * self.grid**2
        mean = torch.stack([part.double().sum((0, 2, 3)) for part in parts]).sum(0) / cells
        centred = [(part.double() - mean[:, None, None]).square().sum((0, 2, 3)) for part in parts]
        spread = (torch.stack(centred).sum(0) / cells).sqrt()
        spread = spread.clamp_min(LEAST_SPREAD * float(spread.mean()) or 1.0)
        self.mean, self.spread = mean.float()[:, None, None], spread.float()[:, None, None]

    def state_dict(self) -> dict[str, Any]:
        """Statistics, and the digest of the backbone they belong to."""
        return {"mean": self.mean, "spread": self.spread, "backbone": self.backbone.digest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned. Raises StoreError where the backbone's weights are others."""
        if state["backbone"] != self.backbone.digest:
            raise StoreError(
                f"trained on features of {state['backbone'][:12]}, the backbone here is {self.backbone.digest[:12]}",
                where=self.options.backbone,
                remedy="Bring the backbone's file of the training machine, or train again.",
            )
        self.mean, self.spread = state["mean"].to(self.device), state["spread"].to(self.device)


def as_float(images: NDArray[np.uint8]) -> Tensor:
    """Bytes [N,H,W,3] to float32 [N,3,H,W] in [-1,1], as the training loop's batches are."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
