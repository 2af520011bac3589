"""PatchCore as a method of the harness: nearest neighbours in a coreset of frozen features."""

from __future__ import annotations

from typing import Any

from harness.types import Context, DataSpec
from methods.blocks.fitted_detector import FittedDetector
from methods.blocks.options import parse_options
from methods.patchcore.memory import MemoryBank, Options


class PatchCore(FittedDetector):
    """Distance of a patch to the nearest normal patch (Roth et al., CVPR 2022)."""

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        o = parse_options(Options, config, "patchcore")

        def build(channels: int, seed: int) -> MemoryBank:
            return MemoryBank(o, seed)

        super().__init__(config, data, context, build)
