"""The plain transformer baseline of the identical-shortcut study as a method of the harness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Generator

from harness.types import Context, DataSpec
from methods.blocks.feature_reconstruction import FeatureReconstruction
from methods.blocks.options import parse_options
from methods.blocks.query_transformer import Decoder, QueryTransformer, StackOptions

Query = Literal["none", "first_layer", "layerwise"]
DECODERS: dict[Query, Decoder] = {
    "none": "none_query",
    "first_layer": "first_layer_query",
    "layerwise": "layerwise_query",
}


@dataclass(frozen=True)
class Options:
    """``query``: none, or where the decoder reads a learned map."""

    query: Query


class ReconTransformer(FeatureReconstruction):
    """Rebuilds frozen features with a transformer without mask and jitter (You et al., 2022, section 3.1)."""

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        decoder = DECODERS[parse_options(Options, config, "recon_transformer").query]
        stack = parse_options(StackOptions, config, "recon_transformer")

        def build(channels: int, grid: int, generator: Generator) -> QueryTransformer:
            return QueryTransformer(stack, channels, grid, generator, decoder=decoder)

        super().__init__(config, data, context, build)
