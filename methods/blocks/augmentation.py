"""What a discriminator sees instead of an image: the choice between no augmentation, ADA, a fixed p and DiffAugment."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from harness.types import ConfigError
from methods.blocks.augmentation_ada import PipeAugmentation
from methods.blocks.diff_augment import DiffAugment

KINDS = ("none", "ada", "diffaug", "fixed")


class Augmentation(Protocol):
    """Random differentiable transforms of everything that a discriminator judges, real or generated.

    ``probability`` is a scalar tensor: how likely each transform of a sample is now.
    """

    probability: Tensor

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Transformed ``images`` f32 [N,C,H,W] in [-1,1] (the result may leave the range), C = 1, 3 or 4.

        Derivatives of every order pass through. A fourth channel (depth) moves with the pixels and keeps its values.
        All draws come from ``generator``; each row has its own and depends on no other row.
        """

    def observe(self, logits_real: Tensor) -> None:
        """Take note of the logits [N] of a batch of augmented real images."""

    def update(self, step: int, batch_size: int) -> None:
        """Close training step ``step`` (counted from 0), which has shown ``batch_size`` real images."""

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""


class NoAugmentation:
    """Images as they are."""

    def __init__(self, device: torch.device) -> None:
        self.probability = torch.zeros((), dtype=torch.float64, device=device)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """``images`` themselves; nothing is drawn."""
        return images

    def observe(self, logits_real: Tensor) -> None:
        """Nothing to adapt."""

    def update(self, step: int, batch_size: int) -> None:
        """Nothing to adapt."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


def build_augmentation(
    kind: str,
    *,
    device: torch.device | str,
    pipe: str = "bgc",
    probability: float = 0.0,
    target: float = 0.6,
    speed_images: int = 500_000,
    policy: str = "color,translation,cutout",
) -> Augmentation:
    """The augmentation called ``kind``, living on ``device``.

    ``none``; ``diffaug``: the transforms of ``policy``, always; ``fixed``: ``pipe`` at constant ``probability``;
    ``ada``: ``pipe`` at a probability that starts at ``probability`` and follows the discriminator's overfitting
    (``target``, ``speed_images``). Raises ConfigError for an unknown word or a value out of range.
    """
    place = torch.device(device)
    if kind == "none":
        return NoAugmentation(place)
    if kind == "diffaug":
        return DiffAugment(policy, place)
    if kind == "fixed":
        return PipeAugmentation(pipe, probability, place)
    if kind == "ada":
        if speed_images <= 0:
            raise ConfigError(f"{speed_images} is not positive", where="augmentation.speed_images")
        return PipeAugmentation(pipe, probability, place, target=target, speed_images=speed_images)
    nearest = difflib.get_close_matches(kind, KINDS, n=2)
    raise ConfigError(f"{kind!r} is not one of {', '.join(KINDS)}", where="augmentation", nearest=nearest)
