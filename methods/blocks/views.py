"""Images as a discriminator is shown them: alone, beside a rendering of fewer rays, with a pose."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Views:
    """Images as a discriminator is shown them: ``rgb`` [N,3,R,R], ``raw`` [N,3,r,r] where it is shown both, and the
    pose ``label`` [N,25] where it is told."""

    rgb: Tensor
    raw: Tensor | None
    label: Tensor | None


def together(fakes: Views, reals: Views, group: int) -> tuple[Views, Tensor]:
    """Fakes and as many reals as one batch, and its order: entry k is image ``order[k]`` of [fakes, reals].

    The minibatch deviation takes strided groups of ``group``, or of all of an equal number; in this order none of them
    mixes fakes and reals.
    """
    n = len(fakes.rgb)
    members = min(group, n)
    order = torch.arange(2 * n, device=fakes.rgb.device).view(2, members, n // members).transpose(0, 1).reshape(-1)

    def joined(first: Tensor | None, second: Tensor | None) -> Tensor | None:
        return None if first is None or second is None else torch.cat((first, second))[order]

    return Views(
        torch.cat((fakes.rgb, reals.rgb))[order], joined(fakes.raw, reals.raw), joined(fakes.label, reals.label)
    ), order
