"""Protocol of the generators of images with depth (DepthGAN): quality of both, rotation, agreement, independence.

Every distance between sets compares ``n`` generated pictures with the first ``n`` of split ``test``. Yaw and depth are
read by judges trained on split ``oracle``; their own errors stand beside every score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.types import Context, Generates
from suites.protocols.generation.sizes import sizes
from suites.protocols.rgbd import drawing

REQUIRES: tuple[str, ...] = ("generates",)
TRAIN: tuple[str, tuple[str, ...]] = ("train", ("image", "depth_coded"))


def predict(model: Generates, dataset: Dataset, settings: Mapping[str, Any], context: Context) -> dict[str, NDArray]:
    """Draw everything that is scored from a trained model; see ``drawing.draw`` for the arrays."""
    return drawing.draw(model, dataset, sizes(settings, dataset.spec), context)
