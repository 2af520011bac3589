"""PaDiM as a method of the harness: Gaussians over frozen features, fitted in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.types import Context, DataSpec
from methods.blocks.fitted_detector import FittedDetector
from methods.blocks.options import parse_options
from methods.padim.gaussians import CellGaussians


@dataclass(frozen=True)
class Options:
    """Preset keys of PaDiM itself; README.md explains each."""

    dimensions: int
    shrinkage: float


class PaDiM(FittedDetector):
    """Mahalanobis distance to the Gaussian of a feature's position (Defard et al., ICPR 2020)."""

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        o = parse_options(Options, config, "padim")

        def build(channels: int, seed: int) -> CellGaussians:
            return CellGaussians(channels, o.dimensions, o.shrinkage, seed)

        super().__init__(config, data, context, build)
