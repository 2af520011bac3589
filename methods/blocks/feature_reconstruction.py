"""Anomaly detection by rebuilding frozen features: what every such network shares (UniAD, sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import AnomalyMaps, ConfigError, Context, DataSpec, Stage, Unsupported
from methods.blocks.feature_map import FeatureMap
from methods.blocks.options import parse_options
from methods.blocks.schedule import set_rate

if TYPE_CHECKING:
    from harness.types import Batch

CHUNK = 64
"""Images scored at once."""
DROP = 0.1
"""Factor on the learning rate after the share ``lr_drop`` of the steps."""

Build = Callable[[int, int, Generator], nn.Module]
ScoreRule = Literal["max", "mean", "std"]


@dataclass(frozen=True)
class TrainingOptions:
    """Preset keys of training and scoring; ``clip`` 0 leaves gradients as they are, ``score_window`` is in pixels."""

    mode: Literal["unified", "separate"]
    lr: float
    weight_decay: float
    clip: float
    lr_drop: float
    score_rule: ScoreRule
    score_window: int


def error_map(features: Tensor, rebuilt: Tensor, size: tuple[int, int]) -> Tensor:
    """L2 norm over channels of [N,C,g,g] differences, upsampled bilinearly, corner to corner, to [N,H,W]."""
    norm = torch.linalg.vector_norm(features - rebuilt, dim=1, keepdim=True)
    return F.interpolate(norm, size=size, mode="bilinear", align_corners=True)[:, 0]


def image_score(maps: Tensor, rule: ScoreRule, window: int) -> Tensor:
    """Scores [N] of maps [N,H,W]: the maximum of the ``window``-pixel moving average, the mean, or the deviation.

    Source: UniAD, section 4.1 (max for MVTec-AD, mean for CIFAR-10).
    """
    if rule == "max":
        return F.avg_pool2d(maps[:, None], window, stride=1).amax((1, 2, 3))
    return maps.mean((1, 2)) if rule == "mean" else maps.std((1, 2), correction=0)


class FeatureReconstruction:
    """A method that trains ``build(channels, grid, generator)`` to rebuild features [B,C,g,g] and scores what is left.

    The network is called as ``network(features, generator)``: in training mode it draws noise and dropout from
    ``generator`` only; in evaluation mode it ignores it. ``per_token`` sums the squared error over channels instead of
    averaging it. In mode ``separate`` there is one network per category, trained on batches of that category, so that
    all see as many epochs as the joint one would.
    """

    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)

    def __init__(self, config: Any, data: DataSpec, context: Context, build: Build, *, per_token: bool = False) -> None:
        o = self.training = parse_options(TrainingOptions, config, "training")
        if o.score_rule == "max" and not 1 <= o.score_window <= data.resolution:
            raise ConfigError(f"{o.score_window} does not fit {data.resolution} pixels", where="training.score_window")
        self.context = context
        self.separate = o.mode == "separate"
        if self.separate:
            self.batch_groups = "category"
        self.feature_map = FeatureMap(config, context)
        self.scale = float(self.feature_map.channels if per_token else 1)
        # Weights come from the CPU so that one seed gives one network on every device.
        seeded = torch.Generator().manual_seed(context.seed)
        count = int(data.options["categories"]) if self.separate else 1
        made = [build(self.feature_map.channels, self.feature_map.grid, seeded) for _ in range(count)]
        self.networks = nn.ModuleList(made).to(context.device)
        self.optimisers = [
            torch.optim.AdamW(network.parameters(), lr=o.lr, weight_decay=o.weight_decay, fused=True)
            for network in made
        ]
        self.cache: Tensor | None = None

    def prepare(self, samples: Mapping[str, np.ndarray]) -> None:
        """Compute the features of the training split once: without augmentation every epoch sees the same ones."""
        self.cache = self.feature_map.fit(samples["image"])

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One AdamW update on the mean squared error to the clean features; ``batch["index"]`` reads the cache."""
        o, context = self.training, self.context
        clean = self.feature_map(batch["image"]) if self.cache is None else self.cache[batch["index"]]
        # The loop hands mode separate batches of one category.
        which = int(batch["category"][0]) if self.separate else 0
        network, optimiser = self.networks[which], self.optimisers[which]
        set_rate(optimiser, o.lr * (DROP if step >= o.lr_drop * context.total_steps else 1.0))
        network.train()
        with context.autocast():
            rebuilt = network(clean, context.generator)
        loss = F.mse_loss(rebuilt.float(), clean)
        optimiser.zero_grad(set_to_none=True)
        (loss * self.scale).backward()
        if o.clip:
            nn.utils.clip_grad_norm_(network.parameters(), o.clip, foreach=True)
        optimiser.step()
        return {"loss": loss.detach()}

    def features(self, images: Tensor) -> Tensor:
        """The target of reconstruction [N,C,g,g] of ``images`` float32 [N,3,H,W] in [-1,1]."""
        return torch.cat([self.feature_map(part) for part in images.split(CHUNK)])

    @torch.no_grad()
    def reconstruct(self, features: Tensor, categories: Tensor | None) -> Tensor:
        """Rebuilt features [N,C,g,g], fp32; ``categories`` int64 [N] choose the networks in mode ``separate``.

        Raises Unsupported where that mode gets no categories.
        """
        features = features.to(self.context.device)
        self.networks.eval()
        if not self.separate:
            return torch.cat([self.networks[0](part, None) for part in features.split(CHUNK)])
        if categories is None:
            raise Unsupported("mode separate needs the category of every image", where="reconstruct")
        rebuilt = torch.empty_like(features)
        labels = categories.to(features.device)
        for number, network in enumerate(self.networks):
            rows = (labels == number).nonzero()[:, 0]
            for part in rows.split(CHUNK):
                rebuilt[part] = network(features[part], None)
        return rebuilt

    @torch.no_grad()
    def anomaly(self, images: Tensor, categories: Tensor | None) -> AnomalyMaps:
        """Error maps at image resolution and their image scores; see ``error_map`` and ``image_score``."""
        features = self.features(images)
        rebuilt = self.reconstruct(features, categories)
        maps = error_map(features, rebuilt, (images.shape[2], images.shape[3]))
        return AnomalyMaps(image_score(maps, self.training.score_rule, self.training.score_window), maps)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers and the statistics of the features."""
        return {
            "networks": self.networks.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "features": self.feature_map.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned; raises StoreError where the backbone is another."""
        self.feature_map.load_state_dict(state["features"])
        self.networks.load_state_dict(state["networks"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
