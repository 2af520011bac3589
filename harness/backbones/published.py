"""Published ImageNet networks: their weights files, maps and torchvision modules."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn

from harness.backbones.efficientnet import EfficientNetB4, torchvision_names
from harness.metrics.weights import WeightsFile, read_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0,1], the training data of all these networks."""


@dataclass(frozen=True)
class Published:
    """A network with one published weights file.

    ``channels`` and ``strides`` have one entry per map, the finest first; ``build`` makes the module that yields them;
    ``translate`` brings the file's state dict to that module's names.
    """

    weights: WeightsFile
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    build: Callable[[], nn.Module]
    translate: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class Normalised(nn.Module):
    """A network behind the step from [-1,1] to standardised ImageNet colours."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor([0.5 / s for s in STD]).view(3, 1, 1))
        self.register_buffer(
            "shift", torch.tensor([(0.5 - m) / s for m, s in zip(MEAN, STD, strict=True)]).view(3, 1, 1)
        )

    def forward(self, images: Tensor) -> Iterator[Tensor]:
        """Images [B,3,H,W] in [-1,1] -> the network's maps."""
        return self.network(images * self.scale + self.shift)


class ResNetStages(nn.Module):
    """The outputs of ``layer1`` to ``layer4`` of a torchvision ResNet (after the last ReLU of each)."""

    def __init__(self, network: torchvision.models.ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.relu, self.maxpool = network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4

    def forward(self, images: Tensor) -> Iterator[Tensor]:
        """Standardised images [B,3,H,W] -> maps at strides 4, 8, 16, 32, each computed when asked for."""
        h = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            h = layer(h)
            yield h


def open_published(published: Published) -> nn.Module:
    """The network with the weights of its local file; raises MissingAsset (see ``read_weights``)."""
    payload = read_weights(published.weights)
    state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    with torch.device("meta"):  # initial weights would cost seconds and draw from the global generator
        network = published.build()
    network.load_state_dict(published.translate(state), assign=True)
    return Normalised(network).eval()


def _without_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith("fc.")}


def _resnet(name: str, file: str, sha256: str, widest: int) -> Published:
    return Published(
        weights=WeightsFile(file, sha256, "torchvision's ImageNet weights, version 1"),
        channels=(widest // 8, widest // 4, widest // 2, widest),
        strides=(4, 8, 16, 32),
        build=lambda: ResNetStages(getattr(torchvision.models, name)()),
        translate=_without_classifier,
    )


PUBLISHED = {
    "efficientnet_b4": Published(
        weights=WeightsFile(
            "efficientnet-b4-6ed6700e.pth",
            "6ed6700e361e3878dc53f285f3df4abf9f39f6da23545cac065b7dc9467a8959",
            "release 1.0 of EfficientNet-PyTorch",
        ),
        channels=(24, 32, 56, 160, 448),
        strides=(2, 4, 8, 16, 32),
        build=EfficientNetB4,
        translate=torchvision_names,
    ),
    "resnet18": _resnet(
        "resnet18",
        "resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        512,
    ),
    "resnet50": _resnet(
        "resnet50",
        "resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        2048,
    ),
    "resnet101": _resnet(
        "resnet101",
        "resnet101-63fe2227.pth",
        "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
        2048,
    ),
    "wide_resnet50_2": _resnet(
        "wide_resnet50_2",
        "wide_resnet50_2-95faca4d.pth",
        "95faca4d11227dddf8633dbb5ff6c8a9003c1aa5b8945c73834b8007b10950b8",
        2048,
    ),
}
