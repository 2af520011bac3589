"""The layered feature spaces of LPIPS (Zhang et al. 2018, version 0.1): ``alex`` and ``vgg``.

Two weights files each, looked up on this machine and never downloaded: torchvision's classification network and the
five linear heads that ship inside the ``lpips`` package.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.metrics.errors import UnknownOption
from harness.metrics.weights import WeightsFile, read_weights
from harness.types import MissingAsset, digest_of

# ImageNet's channel statistics, moved from [0,1] to [-1,1] and rounded as published.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_PREFIX = "features."


@dataclass(frozen=True)
class _Recipe:
    """Where a network's five taps lie in torchvision's ``features`` (exclusive ends), and its two files."""

    taps: tuple[int, ...]
    trunk: WeightsFile
    heads: WeightsFile


_RECIPES = {
    "alex": _Recipe(
        (2, 5, 8, 10, 12),
        WeightsFile(
            "alexnet-owt-7be5be79.pth",
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
            "torchvision's AlexNet_Weights.IMAGENET1K_V1",
        ),
        WeightsFile(
            "alex.pth", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0", "the lpips package, v0.1"
        ),
    ),
    "vgg": _Recipe(
        (4, 9, 16, 23, 30),
        WeightsFile(
            "vgg16-397923af.pth",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
            "torchvision's VGG16_Weights.IMAGENET1K_V1",
        ),
        WeightsFile(
            "vgg.pth", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868", "the lpips package, v0.1"
        ),
    ),
}


@dataclass(frozen=True)
class LpipsSpace:
    """A network cut into stages, with one weight per channel after each; ``digest`` covers all weights."""

    name: str
    digest: str
    stages: tuple[nn.Module, ...] = field(repr=False, compare=False)
    heads: tuple[Tensor, ...] = field(repr=False, compare=False)

    @torch.no_grad()
    def layers(self, images: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
        """Feature maps [N,C,h,w] and channel weights [C] of float images [N,3,H,W] in [-1,1], shallow to deep."""
        device = self.heads[0].device
        shift, scale = (torch.tensor(v, device=device)[:, None, None] for v in (SHIFT, SCALE))
        features = (images.to(device) - shift) / scale
        maps = []
        for stage, weights in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            maps.append((features, weights))
        return maps


def lpips_space(name: str, *, weights: str | Path | None = None, device: torch.device | str = "cpu") -> LpipsSpace:
    """The space ``alex`` or ``vgg`` with the published weights.

    ``weights`` is the torchvision file or its folder (None: the weights folder). Raises UnknownOption for another name,
    MissingAsset when a file is missing or not the pinned one, or the lpips package is not installed.
    """
    recipe = _recipe(name)
    package = importlib.util.find_spec("lpips")
    if package is None or package.origin is None:
        raise MissingAsset("the lpips package is not installed", where=f"lpips[{name}]", remedy="pip install lpips")
    heads = read_weights(recipe.heads, Path(package.origin).parent / "weights" / "v0.1")
    trunk = read_weights(recipe.trunk, weights)
    digest = digest_of([name, recipe.trunk.sha256, recipe.heads.sha256, SHIFT, SCALE])
    return space_from_states(name, _tensors(trunk), _tensors(heads), digest=digest, device=device)


def space_from_states(
    name: str,
    trunk: Mapping[str, Tensor],
    heads: Mapping[str, Tensor],
    *,
    digest: str,
    device: torch.device | str = "cpu",
) -> LpipsSpace:
    """The space of given state dicts: torchvision's network, and ``lin<i>.model.1.weight`` [1,C,1,1] of the heads."""
    recipe = _recipe(name)
    features = _untrained(name)
    features.load_state_dict({k.removeprefix(_PREFIX): v for k, v in trunk.items() if k.startswith(_PREFIX)})
    # In-place rectifiers would overwrite the maps that are tapped before them.
    layers = [nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in features]
    starts = (0, *recipe.taps[:-1])
    stages = [nn.Sequential(*layers[a:b]) for a, b in zip(starts, recipe.taps, strict=True)]
    return LpipsSpace(
        name=name,
        digest=digest,
        stages=tuple(stage.to(device).eval().requires_grad_(False) for stage in stages),
        heads=tuple(heads[f"lin{i}.model.1.weight"].detach().flatten().to(device) for i in range(len(recipe.taps))),
    )


def _untrained(name: str) -> nn.Sequential:
    from torchvision import models  # slow to import, and needed by nobody else

    build = models.alexnet if name == "alex" else models.vgg16
    with torch.device("meta"):
        features = build(weights=None).features
    return features.to_empty(device="cpu")


def _recipe(name: str) -> _Recipe:
    if name not in _RECIPES:
        raise UnknownOption(f"unknown LPIPS network {name!r}", where="lpips", nearest=tuple(_RECIPES))
    return _RECIPES[name]


def _tensors(payload: bytes) -> Mapping[str, Tensor]:
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
