"""UniAD's own preset keys; those of features, training and stacks belong to methods/blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.types import ConfigError
from methods.blocks.feature_jitter import Jitter
from methods.blocks.options import parse_options
from methods.blocks.query_transformer import Decoder, Mask, Place


@dataclass(frozen=True)
class Options:
    """One field per preset key; README.md explains each. ``mask_window`` None means no mask at all."""

    decoder: Decoder
    residual: bool
    mask_window: int | None
    mask_places: tuple[Place, ...]
    jitter_alpha: float
    jitter_prob: float
    loss: Literal["element", "token"]

    @property
    def mask(self) -> Mask | None:
        return None if self.mask_window is None else Mask(self.mask_window, self.mask_places)

    @property
    def jitter(self) -> Jitter:
        return Jitter(self.jitter_alpha, self.jitter_prob)


def parse(config: Any) -> Options:
    """Options of ``config``; ``mask_window`` is a number of cells or the word none. Raises ConfigError."""
    window = config["mask_window"]
    options = parse_options(Options, {**config, "mask_window": None if window == "none" else window}, "uniad")
    if options.mask_window is not None and options.mask_window < 0:
        raise ConfigError(f"{options.mask_window} is below 0", where="uniad.mask_window", nearest=("none",))
    return options
