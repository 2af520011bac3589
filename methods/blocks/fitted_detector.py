"""Anomaly detectors that are fitted in one pass to frozen features, without gradients: what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.types import AnomalyMaps, ConfigError, Context, DataError, DataSpec, Stage, Unsupported
from methods.blocks.feature_map import FeatureMap, as_float
from methods.blocks.options import parse_options
from methods.blocks.score_map import to_pixels

if TYPE_CHECKING:
    from harness.types import Batch

CHUNK = 64
"""Images that are fitted or scored at once."""


@dataclass(frozen=True)
class DetectorOptions:
    """Preset keys of every fitted detector; ``smoothing`` is in pixels of a 256-pixel image, 0 for none."""

    mode: Literal["unified", "separate"]
    smoothing: float


class Normality(Protocol):
    """A description of normal features [N,C,g,g]; its state holds tensors only."""

    def fit(self, chunks: Iterator[Tensor]) -> None: ...

    def score(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [N] of the images and [N,g,g] of their cells."""
        ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None: ...


Build = Callable[[int, int], Normality]


class FittedDetector:
    """A method whose ``prepare`` fits ``build(channels, seed)`` to the training split: all there is to learn.

    A closed form has no steps, so that ``train_step`` does nothing and the budget in images does not apply. In mode
    ``separate`` there is one description per category, each built from the same seed: what differs is the data.
    """

    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)

    def __init__(self, config: Any, data: DataSpec, context: Context, build: Build) -> None:
        o = self.detector = parse_options(DetectorOptions, config, "detector")
        if o.smoothing < 0:
            raise ConfigError(f"{o.smoothing} is below 0", where="detector.smoothing")
        self.separate = o.mode == "separate"
        self.feature_map = FeatureMap(config, context)
        count = int(data.options["categories"]) if self.separate else 1
        self.models = [build(self.feature_map.channels, context.seed) for _ in range(count)]

    @torch.no_grad()
    def prepare(self, samples: Mapping[str, np.ndarray]) -> None:
        """Fit to ``image`` uint8 [N,H,W,3] and, in mode separate, ``category`` int32 [N].

        Raises DataError where there is nothing to fit to.
        """
        images = samples["image"]
        everything = np.arange(len(images))
        standardised = self.feature_map.options.standardise != "none"
        cached = self.feature_map.fit(images) if standardised else None
        for number, model in enumerate(self.models):
            rows = np.flatnonzero(samples["category"] == number) if self.separate else everything
            if not len(rows):
                raise DataError("no training image", where=f"category {number}" if self.separate else "training split")
            model.fit(self._features(images, cached, rows))

    def _features(self, images: np.ndarray, cached: Tensor | None, rows: np.ndarray) -> Iterator[Tensor]:
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            if cached is None:
                # Without statistics there is no need to hold the features of all images, which may not fit.
                yield self.feature_map(as_float(images[part]))
            else:
                yield cached[torch.from_numpy(part).to(cached.device)]

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """Nothing to do: the fit is complete. The log says so."""
        return {"fitted": torch.ones(())}

    @torch.no_grad()
    def anomaly(self, images: Tensor, categories: Tensor | None) -> AnomalyMaps:
        """Scores of images float32 [N,3,H,W] in [-1,1] and their maps.

        ``categories`` int64 [N] choose the description in mode separate. Raises Unsupported where it gets none.
        """
        if self.separate and categories is None:
            raise Unsupported("mode separate needs the category of every image", where="anomaly")
        device = self.feature_map.device
        scores = torch.empty(len(images), device=device)
        maps = torch.empty(len(images), *images.shape[2:], device=device)
        for number, model in enumerate(self.models):
            rows = torch.arange(len(images))
            if self.separate and categories is not None:
                rows = rows[categories.cpu() == number]
            for part in rows.split(CHUNK) if len(rows) else ():
                scored, cells = model.score(self.feature_map(images[part.to(images.device)]))
                where = part.to(device)
                scores[where] = scored
                maps[where] = to_pixels(cells, (images.shape[2], images.shape[3]), self.detector.smoothing)
        return AnomalyMaps(scores, maps)

    def state_dict(self) -> dict[str, Any]:
        """What was fitted, and the statistics of the features."""
        return {"models": [model.state_dict() for model in self.models], "features": self.feature_map.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned; raises StoreError where the backbone is another."""
        self.feature_map.load_state_dict(state["features"])
        for model, saved in zip(self.models, state["models"], strict=True):
            model.load_state_dict({name: tensor.to(self.feature_map.device) for name, tensor in saved.items()})
