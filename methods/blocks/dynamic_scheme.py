"""The options of a dynamic discriminator beyond those of its base, and what they leave to the scheme (DynamicD)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.types import ConfigError
from methods.blocks.dynamic_width import Resample, Rescale, Schedule, Select, WidthOptions
from methods.blocks.options import parse_options
from methods.blocks.width_layout import Reading

Scheme = Literal["none", "increase", "decrease", "constant"]


@dataclass(frozen=True)
class DynamicOptions:
    """One field per key; methods/dynamicd/README.md explains each. None and ``auto`` take what the scheme says."""

    scheme: Scheme
    r_start: float | None
    r_end: float | None
    schedule: Schedule
    select: Literal["auto", Select]
    resample: Resample
    keepd: int | None
    decrease_keepd: int
    keepin: Reading
    rescale: Rescale
    rescale_logits: bool
    mask_bias: bool
    impl: Literal["auto", "mask", "slice"]
    adam_state: Literal["shared", "fresh"]
    update_interval: int


_RATIOS: dict[Scheme, tuple[float, float]] = {"increase": (0.5, 1.0), "decrease": (1.0, 0.5), "constant": (0.5, 0.5)}


def parse_dynamic(config: Any, method: str) -> tuple[DynamicOptions, WidthOptions | None]:
    """The keys of ``config`` and the width they stand for, None for scheme ``none``.

    Raises ConfigError for values that cannot work together.
    """
    o = parse_options(DynamicOptions, config, method)
    if o.update_interval < 1:
        raise ConfigError(f"must be positive, got {o.update_interval}", where=f"{method}.update_interval")
    for name in ("r_start", "r_end"):
        value = getattr(o, name)
        if value is not None and not 0.0 < value <= 1.0:
            raise ConfigError(f"must be in (0, 1], got {value}", where=f"{method}.{name}")
    if o.scheme == "none":
        return o, None
    first, last = _RATIOS[o.scheme]
    start = first if o.r_start is None else o.r_start
    if o.scheme == "constant":
        last = start
        if o.r_end not in (None, start):
            raise ConfigError("differs from r_start", where=f"{method}.r_end", remedy="Leave it out.")
    end = last if o.r_end is None else o.r_end
    if (o.scheme == "increase" and start > end) or (o.scheme == "decrease" and start < end):
        raise ConfigError(f"{o.scheme} cannot go from {start:g} to {end:g}", where=f"{method}.scheme")
    shrinking = o.scheme == "decrease"
    select: Select = o.select if o.select != "auto" else "random" if shrinking else "prefix"
    if o.impl == "slice" and select == "random":
        raise ConfigError(
            "independent random masks cannot be sliced: every channel is live in some layer",
            where=f"{method}.impl",
            remedy="Use select=random_consistent or impl=mask.",
        )
    if o.rescale_logits and select != "random":
        raise ConfigError(f"select={select} does not attenuate logits", where=f"{method}.rescale_logits")
    width = WidthOptions(
        r_start=start,
        r_end=end,
        schedule=o.schedule,
        select=select,
        resample=o.resample,
        keepd=o.keepd if o.keepd is not None else o.decrease_keepd if shrinking else -1,
        reading=o.keepin,
        rescale=o.rescale,
        rescale_logits=o.rescale_logits,
        mask_bias=o.mask_bias,
        sliced=o.impl == "slice" or (o.impl == "auto" and select != "random"),
        update_interval=o.update_interval,
    )
    return o, width
