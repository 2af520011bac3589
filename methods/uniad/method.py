"""UniAD as a method of the harness."""

from __future__ import annotations

from typing import Any

from torch import Generator

from harness.types import Context, DataSpec
from methods.blocks.feature_reconstruction import FeatureReconstruction
from methods.blocks.options import parse_options
from methods.blocks.query_transformer import QueryTransformer, StackOptions
from methods.uniad.options import Options, parse


class UniAD(FeatureReconstruction):
    """Rebuilds frozen features with a masked, jittered transformer that queries every layer (You et al., 2022)."""

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        options = parse(config)
        stack = parse_options(StackOptions, config, "uniad")

        def build(channels: int, grid: int, generator: Generator) -> QueryTransformer:
            return network(options, stack, channels, grid, generator)

        super().__init__(config, data, context, build, per_token=options.loss == "token")


def network(options: Options, stack: StackOptions, channels: int, grid: int, generator: Generator) -> QueryTransformer:
    """The network of a preset for features [B,channels,grid,grid]."""
    return QueryTransformer(
        stack,
        channels,
        grid,
        generator,
        decoder=options.decoder,
        mask=options.mask,
        jitter=options.jitter,
        residual=options.residual,
    )
