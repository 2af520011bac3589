"""What a trained method is asked for, through the capabilities it has: one call for n images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.running import devices
from harness.types import Cell, Generates, ScoresAnomalies, Segments


def inference_call(
    method: Any, batch: Mapping[str, Tensor], n: int, cell: Cell, device: torch.device
) -> tuple[str, Callable[[], object]] | None:
    """The capability's name and a call that does its work for ``n`` images; None for a method without one.

    Generators draw from fixed latents and poses of the prior, detectors and segmenters are shown images of ``batch``.
    """
    if isinstance(method, Generates):
        latents = method.latents(n, devices.generator(cell.seed, "predict", device))
        return "generate", lambda: method.sample(latents, None)
    rows = torch.arange(n, device=device) % len(batch["image"])
    images = batch["image"].to(device).index_select(0, rows)
    if isinstance(method, ScoresAnomalies):
        categories = batch["category"].to(device).index_select(0, rows) if method.separate else None
        return "detect", lambda: method.anomaly(images, categories)
    if isinstance(method, Segments):
        network = method.networks[0]

        def segment() -> Tensor:
            with torch.no_grad():
                return method.segment(images, network)

        return "segment", segment
    return None
