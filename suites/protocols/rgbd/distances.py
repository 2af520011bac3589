"""Distances between the set of generated depth maps and held-out real ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.metrics.card import column_name
from harness.metrics.depth_space import FID_DEPTH, KID_DEPTH, SPACE, depth_statistics
from harness.metrics.features import FeatureSpace
from harness.metrics.fid import frechet_distance
from harness.metrics.kid import kernel_distance_full
from harness.metrics.resize import to_uint8
from suites.protocols.generation.sheet import Sheet


def columns(n: int) -> tuple[str, ...]:
    """The columns that every generator has."""
    return tuple(column_name(card, SPACE, {"n": n}) for card in (FID_DEPTH, KID_DEPTH))


def score_depth_maps(sheet: Sheet, fake: NDArray, real: NDArray, published: Sequence[FeatureSpace]) -> None:
    """Score coded depths d [n,H,W] against as many real ones, in ``depth-stat`` and in published image spaces.

    The latter see the depth as a grey picture of three channels, as the paper's protocol has it.
    """
    maps = torch.from_numpy(fake).double(), torch.from_numpy(real).double()
    fake_rows, real_rows = (depth_statistics(side) for side in maps)
    fid, kid = columns(len(fake))
    sheet.put(fid, frechet_distance(fake_rows, real_rows))
    sheet.put(kid, kernel_distance_full(fake_rows, real_rows)[0])
    for space in published:
        resize = {} if space.resize == "none" else {"resize": space.resize}
        protocol: dict[str, str | int | float] = {"n": len(fake), **resize}
        fake_rows, real_rows = (space(_grey(side)) for side in maps)
        sheet.put(column_name(FID_DEPTH, space.name, protocol), frechet_distance(fake_rows, real_rows))
        sheet.put(column_name(KID_DEPTH, space.name, protocol), kernel_distance_full(fake_rows, real_rows)[0])


def _grey(maps: Tensor) -> Tensor:
    return to_uint8(maps.float().clamp(-1, 1), value_range=(-1.0, 1.0))[:, None].expand(-1, 3, -1, -1).contiguous()
