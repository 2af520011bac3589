"""FST's own preset keys; those of network, augmentation and self-training belong to methods/blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.types import ConfigError
from methods.blocks.options import parse_options

MOST_STEPS = 4


@dataclass(frozen=True)
class Options:
    """One field per preset key; README.md explains each. ``mu_virtual`` None is the teacher's own momentum."""

    variant: Literal["deep", "wide"]
    K: int
    N: int
    mu_virtual: float | None
    teacher_rollback: bool
    restore: Literal["parameters", "all"]
    virtual_batch: Literal["published", "same", "future"]
    virtual_loss: Literal["full", "labelled", "unlabelled"]
    teacher_init_update: bool
    first_update: bool
    last_update: bool
    momentum_clock: Literal["passes", "iterations"]
    reuse_labelled_grad: bool

    @property
    def steps(self) -> int:
        """Virtual steps per iteration."""
        return self.K if self.variant == "deep" else self.N

    @property
    def ahead(self) -> int:
        """Future batches per iteration."""
        published = "future" if self.variant == "wide" else "same"
        batch = published if self.virtual_batch == "published" else self.virtual_batch
        return self.steps if batch == "future" else 0


def parse(config: Any) -> Options:
    """Options of ``config``; ``mu_virtual`` is a number or the word same. Raises ConfigError naming the key."""
    virtual = config["mu_virtual"]
    o = parse_options(Options, {**config, "mu_virtual": None if virtual == "same" else virtual}, "fst")
    for key, value, least in (("K", o.K, 0), ("N", o.N, 1)):
        if not least <= value <= MOST_STEPS:
            raise ConfigError(f"{value} is not in {least} to {MOST_STEPS}", where=f"fst.{key}")
    if o.mu_virtual is not None and not 0 <= o.mu_virtual <= 1:
        raise ConfigError(f"{o.mu_virtual} is not in 0 to 1", where="fst.mu_virtual", nearest=("same",))
    if o.steps == 0 and not (o.teacher_init_update or o.last_update):
        raise ConfigError("nothing moves the teacher", where="fst.teacher_init_update", remedy="Set K to 1 or more.")
    _refuse(config, {"teacher": "ema", "teacher_speed": 1, "repeats": 1}, "FST moves its teacher itself")
    if o.reuse_labelled_grad:
        wanted: dict[str, Any] = {"variant": "deep", "K": 1, "restore": "all", "virtual_loss": "full"}
        wanted |= {"joint_forward": False, "scale": [], "flip": 0, "crop": [], "dropout": 0}
        why = "reuse_labelled_grad needs the real step's labelled pass to be the virtual one's"
        _refuse(config, wanted, why)
        if o.ahead:
            raise ConfigError(f"{why}, on the same batch", where="fst.virtual_batch", nearest=("same",))
        if config["network"] == "daformer":
            raise ConfigError(f"{why}, and drop path is drawn anew", where="fst.network")
    return o


def _refuse(config: Any, wanted: Mapping[str, Any], why: str) -> None:
    for key, value in wanted.items():
        given = config[key]
        if (list(given) if isinstance(value, list) else given) != value:
            raise ConfigError(f"is {given!r}; {why}", where=f"fst.{key}", remedy=f"Set it to {value!r}.")
