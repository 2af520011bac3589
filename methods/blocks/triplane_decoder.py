"""From plane features to raw density and colour: linear, activation, linear (EG3D, section 4.1)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from methods.blocks.equalised import EqualLinear


class TriplaneDecoder(nn.Module):
    """The same for every point and direction: [B,C,P] to raw densities [B,P] and colours [B,P,``outputs``].

    The input is multiplied by ``scale``. Colours are sigmoid(``colour_gain`` raw) (1 + 2 m) - m with m the
    ``colour_margin``, so that black and white can be reached.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        outputs: int,
        generator: Generator,
        *,
        activation: Literal["softplus", "lrelu"],
        scale: float,
        colour_gain: float,
        colour_margin: float,
    ) -> None:
        super().__init__()
        kind: Literal["linear", "lrelu"] = "lrelu" if activation == "lrelu" else "linear"
        self.hidden = EqualLinear(inputs, width, generator, activation=kind)
        self.out = EqualLinear(width, 1 + outputs, generator)
        self.activation = activation
        self.scale = scale
        self.colour_gain, self.colour_margin = colour_gain, colour_margin

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Both results in float32; the linear layers run in the autocast dtype."""
        batch, channels, count = features.shape
        rows = features.transpose(1, 2).reshape(-1, channels)
        # The scale is folded into the weights, which spares a pass over the points.
        x = self.hidden(rows, self.hidden.weight * (self.hidden.weight_gain * self.scale))
        x = F.softplus(x) if self.activation == "softplus" else x
        raw = self.out(x).view(batch, count, -1).float()
        margin = self.colour_margin
        colour = torch.sigmoid(raw[..., 1:] * self.colour_gain) * (1 + 2 * margin) - margin
        return raw[..., 0], colour
