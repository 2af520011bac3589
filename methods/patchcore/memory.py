"""A memory bank of normal patch features and the distance to it (Roth et al., CVPR 2022, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.types import ConfigError
from methods.patchcore.coreset import greedy_coreset, random_projection
from methods.patchcore.neighbours import nearest


@dataclass(frozen=True)
class Options:
    """Preset keys of PatchCore itself; README.md explains each."""

    neighbourhood: int
    coreset: float
    projection: int
    reweight: bool
    neighbours: int


class MemoryBank:
    """A coreset [M,C] of locally averaged features. Raises ConfigError for options that cannot work."""

    def __init__(self, options: Options, seed: int) -> None:
        o = self.options = options
        if not 0 < o.coreset <= 1:
            raise ConfigError(f"{o.coreset} is not a fraction above 0", where="patchcore.coreset")
        if o.neighbourhood < 1 or o.neighbourhood % 2 == 0:
            raise ConfigError(f"{o.neighbourhood} is not odd and positive", where="patchcore.neighbourhood")
        if o.reweight and o.neighbours < 2:
            raise ConfigError(f"{o.neighbours} is below 2", where="patchcore.neighbours", remedy="Or reweight=false.")
        self.seed = seed
        self.memory = torch.empty(0, 0)

    def fit(self, chunks: Iterator[Tensor]) -> None:
        """Keep the share ``coreset`` of the patch features of all chunks [N,C,g,g]; 1 keeps all."""
        patches = torch.cat([self._patches(chunk) for chunk in chunks])
        count = max(1, round(self.options.coreset * len(patches)))
        if count < len(patches):
            # Drawn on the CPU and anew, so that one seed gives one coreset on every device and in every fit.
            generator = torch.Generator().manual_seed(self.seed)
            searched = random_projection(patches, self.options.projection, generator)
            start = int(torch.randint(len(patches), (1,), generator=generator))
            patches = patches[greedy_coreset(searched, count, start)]
        self.memory = patches

    def score(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Distances [N,g,g] of the patches of features [N,C,g,g] to the memory, and scores [N] of the images.

        A score is the largest distance of the image (equation 6 of the paper), with ``reweight`` times a weight.
        """
        patches = self._patches(features)
        distances, indices = nearest(patches, self.memory)
        scores, far = distances.view(len(features), -1).max(1)
        if self.options.reweight:
            rows = far + torch.arange(len(features), device=far.device) * (len(patches) // len(features))
            scores = scores * self._weights(patches[rows], indices[rows], scores)
        return scores, distances.view(len(features), *features.shape[2:])

    def _weights(self, patches: Tensor, indices: Tensor, distances: Tensor) -> Tensor:
        """Weights [N] of equation 7: nearly 1 where the neighbours of the nearest memory are far from the patch."""
        count = min(self.options.neighbours, len(self.memory))
        around = torch.cdist(self.memory[indices], self.memory).topk(count, largest=False).indices
        spread = torch.linalg.vector_norm(patches[:, None] - self.memory[around], dim=2)
        return 1.0 - torch.exp(distances - spread.logsumexp(1))

    def _patches(self, features: Tensor) -> Tensor:
        """Features [N,C,g,g] averaged over the neighbourhood of each cell, as [N*g*g,C]."""
        size = self.options.neighbourhood
        averaged = F.avg_pool2d(features, size, stride=1, padding=size // 2, count_include_pad=False)
        return averaged.permute(0, 2, 3, 1).flatten(0, 2)

    def state_dict(self) -> dict[str, Tensor]:
        """The memory."""
        return {"memory": self.memory}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned."""
        self.memory = state["memory"]
