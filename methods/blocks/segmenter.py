"""A segmentation network that is trained on labels: what every method of the suite starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from harness.types import Context, DataSpec, Stage
from methods.blocks.options import parse_options
from methods.blocks.pixel_losses import PixelRule, hard_examples, mean_over_all, mean_over_valid, resized
from methods.blocks.rare_classes import row_weights
from methods.blocks.segmentation_networks import NetworkOptions, SegmentationOutput, build_network
from methods.blocks.segmentation_optimiser import OptimiserOptions, make_optimiser, rate_factor, set_rates
from methods.blocks.weak_augmentation import WeakOptions, weaken

if TYPE_CHECKING:
    from harness.types import Batch

CHUNK = 32
"""Images segmented at once."""


@dataclass(frozen=True)
class LabelOptions:
    """Preset keys of learning from labels: ``pixels`` names the cross entropy (see ``pixel_losses``), ``ohem_least`` is
    in pixels of a batch, ``rare_class_temperature`` 0 draws rows in shuffled epochs, ``rare_class_pixels`` is how many
    pixels of a class make an image one of that class."""

    pixels: PixelRule
    ohem_threshold: float
    ohem_least: int
    auxiliary_weight: float
    rare_class_temperature: float
    rare_class_pixels: int


class Segmenter:
    """Network, optimiser and schedule; by itself a method that learns from the labelled stream only.

    Its initial weights depend on the seed and the network's preset keys alone, so that all methods start alike.
    """

    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)
    networks: Sequence[str] = ("student",)

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        self.context = context
        self.classes = int(data.options["classes"])
        self.labels = parse_options(LabelOptions, config, "labels")
        self.rates = parse_options(OptimiserOptions, config, "optimiser")
        self.weak = parse_options(WeakOptions, config, "weak_augmentation")
        # Weights come from the CPU so that one seed gives one network on every device.
        seeded = torch.Generator().manual_seed(context.seed)
        options = parse_options(NetworkOptions, config, "network")
        self.network: nn.Module = build_network(options, self.classes, context, seeded)
        self.optimiser = make_optimiser(self.network, self.rates)

    def prepare(self, samples: Mapping[str, np.ndarray]) -> None:
        """Set the probabilities of labelled rows for rare-class sampling, if the preset asks for it."""
        self.weigh_rows("labelled", samples["label"])

    def weigh_rows(self, stream: str, labels: np.ndarray) -> None:
        """Draw the rows of ``stream`` by the classes in ``labels`` uint8 [N,H,W]; see ``row_weights``."""
        o = self.labels
        if o.rare_class_temperature:
            weights = row_weights(labels, self.classes, o.rare_class_temperature, o.rare_class_pixels)
            self.row_weights = {stream: weights}

    def begin(self, step: int) -> None:
        """Make ready for one update: training mode, the rate of ``step`` and no gradients."""
        o = self.rates
        self.network.train()
        set_rates(self.optimiser, o.lr * rate_factor(step, self.context.total_steps, o.warmup, o.power))
        self.optimiser.zero_grad(set_to_none=True)

    def forward(self, images: Tensor) -> SegmentationOutput:
        """The network's output in training mode, under autocast; dropout draws from the context's generator."""
        with self.context.autocast():
            return self.network(images, self.context.generator)

    def loss(self, output: SegmentationOutput, labels: Tensor) -> Tensor:
        """Cross entropy of the preset's kind on ``labels`` int64 [N,H,W], plus the auxiliary head's share."""
        total = self._cross_entropy(self.logits(output.logits, labels), labels)
        return total + self.auxiliary_loss(output, labels)

    def auxiliary_loss(self, output: SegmentationOutput, labels: Tensor) -> Tensor | float:
        """The auxiliary head's weighted cross entropy; 0.0 where the network has none."""
        if output.auxiliary is None:
            return 0.0
        return self.labels.auxiliary_weight * self._cross_entropy(self.logits(output.auxiliary, labels), labels)

    def logits(self, logits: Tensor, like: Tensor) -> Tensor:
        """Logits fp32 at the size of ``like`` [N,H,W], resampled as the network wants it."""
        return resized(logits, (like.shape[-2], like.shape[-1]), bool(self.network.align_corners))

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One update on labelled images."""
        return self.learn(batch["image"], batch["label"], step)

    def learn(self, images: Tensor, labels: Tensor, step: int) -> Mapping[str, Tensor]:
        """One update on ``images`` [N,3,H,W] and their ``labels`` [N,H,W] after weak augmentation."""
        self.begin(step)
        images, augmented = weaken(images, labels, self.weak, self.context.generator)
        assert augmented is not None
        loss = self.loss(self.forward(images), augmented)
        loss.backward()
        self.optimiser.step()
        return {"labelled_loss": loss.detach()}

    def segment(self, images: Tensor, network: str) -> Tensor:
        """Logits f32 [N,C,H,W] of the one ``network``, the student."""
        return predict(self.network, images)

    def state_dict(self) -> dict[str, Any]:
        """Network and optimiser."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        o = self.labels
        if o.pixels == "ohem":
            return hard_examples(logits, labels, o.ohem_threshold, o.ohem_least)
        return mean_over_all(logits, labels) if o.pixels == "all" else mean_over_valid(logits, labels)


@torch.no_grad()
def predict(network: nn.Module, images: Tensor) -> Tensor:
    """Logits f32 [N,C,H,W] of ``images`` [N,3,H,W] in [-1,1], in evaluation mode and without autocast."""
    network.eval()
    size = (images.shape[-2], images.shape[-1])
    corners = bool(network.align_corners)
    return torch.cat([resized(network(part).logits, size, corners) for part in images.split(CHUNK)])
