"""Named, hashed feature spaces: what turns 8-bit images into the rows that set metrics compare."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from harness.metrics.checks import Array, require_finite
from harness.metrics.errors import EmptyInput, ShapeMismatch, UnknownOption
from harness.metrics.products import full_precision
from harness.metrics.resize import ResizeProtocol, resize_images, uint8_images
from harness.metrics.weights import WeightsFile, read_weights
from harness.types import MissingAsset, digest_of

INCEPTION = WeightsFile(
    name="weights-inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    source="release v0.2.0 of torch-fidelity",
)
PIXELS_SIZE = 32
_RANDOM_SEED = 0


@dataclass(frozen=True)
class FeatureSpace:
    """A feature network and its preprocessing: images are resized to ``input_size`` by protocol ``resize``, mapped
    linearly from 0..255 to ``input_range``, and handed to ``network`` in batches.

    ``digest`` is the SHA-256 of weights and preprocessing; equal digests mean comparable features. ``input_size`` None
    takes any size.
    """

    name: str
    digest: str
    dim: int
    input_size: int | None
    input_range: tuple[float, float]
    resize: ResizeProtocol
    network: Callable[[Tensor], Tensor] = field(repr=False, compare=False)
    device: torch.device = field(default=torch.device("cpu"), compare=False)
    batch_size: int = field(default=64, compare=False)

    @classmethod
    def from_network(
        cls,
        name: str,
        network: Callable[[Tensor], Tensor],
        *,
        dim: int,
        input_size: int | None,
        input_range: tuple[float, float] = (-1.0, 1.0),
        resize: ResizeProtocol = "none",
        weights_digest: str | None = None,
        device: torch.device | str = "cpu",
        batch_size: int = 64,
    ) -> Self:
        """Return the space of ``network``: float32 [B,3,s,s] in ``input_range`` -> float [B,dim].

        A module is moved to ``device`` and set to eval mode; its digest is that of its state dict unless
        ``weights_digest`` is given, which any other callable needs.
        """
        if isinstance(network, nn.Module):
            network = network.to(device).eval()
            weights_digest = weights_digest or weights_digest_of(network)
        if weights_digest is None:
            raise UnknownOption("a network that is not a module needs weights_digest", where=name)
        recipe = [name, weights_digest, dim, input_size, [float(end) for end in input_range], resize]
        return cls(
            name=name,
            digest=digest_of(recipe),
            dim=dim,
            input_size=input_size,
            input_range=input_range,
            resize=resize,
            network=network,
            device=torch.device(device),
            batch_size=batch_size,
        )

    @torch.no_grad()
    def __call__(self, images: Array) -> Tensor:
        """Return float32 features [N,dim] on the CPU for uint8 images [N,3,H,W]; no autocast, no TF32.

        Raises EmptyInput, ShapeMismatch (images, or a network that does not return [B,dim]), NonFinite.
        """
        batches = uint8_images(images, metric=self.name)
        if not len(batches):
            raise EmptyInput("no images", where=self.name)
        low, high = self.input_range
        parts = []
        with full_precision(self.device):
            for part in batches.split(self.batch_size):
                batch = part.to(self.device)
                batch = batch.float() if self.input_size is None else self._resized(batch)
                batch = batch.mul((high - low) / 255).add_(low)
                parts.append(self.network(batch).float().cpu())
        features = torch.cat(parts)
        if features.shape != (len(batches), self.dim):
            expected = f"[{len(batches)}, {self.dim}]"
            raise ShapeMismatch(f"the network returned {tuple(features.shape)}, expected {expected}", where=self.name)
        require_finite(features, "features", metric=self.name)
        return features

    def _resized(self, batch: Tensor) -> Tensor:
        assert self.input_size is not None
        return resize_images(batch, self.input_size, protocol=self.resize)


def feature_space(
    name: str,
    *,
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    resize: ResizeProtocol = "clean",
) -> FeatureSpace:
    """Return a feature space by name.

    ``pixels``: the image itself at 32 x 32, values in [0,1]. ``random``: an untrained convolutional net of fixed
    weights, 64-d. ``inception``: the pool features (2048-d) of FID's Inception v3 through torch-fidelity; ``weights``
    is its file or folder. ``resize`` is the protocol that brings images to the input size. Raises MissingAsset when
    the weights or the package are not on this machine, UnknownOption for another name.
    """
    match name:
        case "pixels":
            return FeatureSpace.from_network(
                name,
                nn.Flatten(),
                dim=3 * PIXELS_SIZE**2,
                input_size=PIXELS_SIZE,
                input_range=(0.0, 1.0),
                resize=resize,
                device=device,
            )
        case "random":
            return FeatureSpace.from_network(
                name, _random_network(), dim=64, input_size=32, resize=resize, device=device
            )
        case "inception":
            return FeatureSpace.from_network(
                name,
                _inception(read_weights(INCEPTION, weights)),
                dim=2048,
                input_size=299,
                input_range=(-1.0, 127 / 128),
                resize=resize,
                weights_digest=INCEPTION.sha256,
                device=device,
                batch_size=32,
            )
    raise UnknownOption(
        f"unknown feature space {name!r}",
        where="feature_space",
        nearest=get_close_matches(name, ("inception", "pixels", "random"), 1, 0.0),
        remedy="Known: inception, pixels, random. Space proc-v1 belongs to a data set: open its judges.",
    )


def weights_digest_of(module: nn.Module) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of a module's state dict, in sorted order."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{key} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _random_network() -> nn.Sequential:
    """Return convolutions with He-normal weights drawn from a fixed seed, without touching the global generator."""
    widths = (32, 64, 96, 128)
    with torch.device("meta"):
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1), nn.LeakyReLU(0.1)]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.1)]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * 16, 64))
    network.to_empty(device="cpu")
    draws = np.random.Generator(np.random.PCG64(_RANDOM_SEED))  # numpy's stream is the same on every platform
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = math.prod(parameter.shape[1:])
            scale = math.sqrt(2 / fan_in) if parameter.ndim > 1 else 0.0
            values = draws.standard_normal(tuple(parameter.shape)) * scale
            parameter.copy_(torch.from_numpy(values))
    return network


def _inception(payload: bytes) -> nn.Sequential:
    """Return torch-fidelity's Inception v3 up to the pool features, fed with float images at 299 x 299.

    Its own forward pass takes 8-bit images and resizes them by one fixed protocol; its layers stand in their order of
    use, so they are chained here after our resizer. The bytes were verified before they are unpickled.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise MissingAsset("torch-fidelity is not installed", where="inception", remedy="Install it.") from error
    with torch.random.fork_rng(devices=[]):  # its layers draw initial weights that are overwritten at once
        extractor = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=io.BytesIO(payload)
        )
    layers = [layer for name, layer in extractor.named_children() if name != "fc"]
    return nn.Sequential(*layers, nn.Flatten())
