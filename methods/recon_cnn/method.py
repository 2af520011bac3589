"""The convolutional baseline of the identical-shortcut study as a method of the harness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Generator

from harness.types import Context, DataSpec
from methods.blocks.feature_jitter import Jitter
from methods.blocks.feature_reconstruction import FeatureReconstruction
from methods.blocks.options import parse_options
from methods.recon_cnn.network import ConvolutionStack


@dataclass(frozen=True)
class Options:
    """Preset keys of the network; README.md explains each."""

    width: int
    layers: int
    norm: Literal["batch", "none"]
    jitter_alpha: float


class ReconCNN(FeatureReconstruction):
    """Rebuilds frozen features from their surroundings (You et al., NeurIPS 2022, section 3.1)."""

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        o = parse_options(Options, config, "recon_cnn")
        jitter = Jitter(o.jitter_alpha, 1.0)

        def build(channels: int, grid: int, generator: Generator) -> ConvolutionStack:
            return ConvolutionStack(channels, o.width, o.layers, o.norm == "batch", jitter, generator)

        super().__init__(config, data, context, build)
