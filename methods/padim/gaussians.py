"""One Gaussian over features for each cell of the grid (Defard et al., ICPR 2020, section III)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from harness.types import ConfigError, DataError

CELLS = 256
"""Covariances that are factorised at once."""


class CellGaussians:
    """Mean and covariance of ``dimensions`` randomly chosen channels at each cell.

    ``shrinkage`` is added to the diagonal of every covariance, which makes it invertible (equation 1 of the paper).
    Raises ConfigError for more dimensions than channels or a shrinkage that is not positive.
    """

    def __init__(self, channels: int, dimensions: int, shrinkage: float, seed: int) -> None:
        if not 1 <= dimensions <= channels:
            raise ConfigError(f"{dimensions} is not within 1 to {channels} channels", where="padim.dimensions")
        if not shrinkage > 0:
            raise ConfigError(f"{shrinkage} is not above 0", where="padim.shrinkage")
        self.shrinkage = shrinkage
        # Drawn on the CPU so that one seed gives one choice on every device.
        drawn = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
        self.chosen = drawn[:dimensions].sort().values
        self.mean = torch.empty(0, 0)
        self.whitening = torch.empty(0, 0, 0)

    def fit(self, chunks: Iterator[Tensor]) -> None:
        """Means [P,d] and whitening matrices [P,d,d] of the features [N,C,g,g] of all chunks, P = g*g, in one pass.

        Sums are float64. Raises DataError for fewer than two images, which have no covariance.
        """
        count, total, products = 0, torch.zeros(()), torch.zeros(())
        for chunk in chunks:
            x = self._vectors(chunk).double()
            if not count:
                total = x.new_zeros(x.shape[0], x.shape[2])
                products = x.new_zeros(x.shape[0], x.shape[2], x.shape[2])
            count += x.shape[1]
            total += x.sum(1)
            products.baddbmm_(x.mT, x)
        if count < 2:
            raise DataError(f"{count} image(s) have no covariance", where="padim", remedy="Train on two or more.")
        mean = total / count
        self.mean = mean.float()
        self.whitening = torch.empty(products.shape, device=products.device)
        identity = torch.eye(mean.shape[1], dtype=torch.float64, device=mean.device)
        for cells in torch.arange(len(mean), device=mean.device).split(CELLS):
            centre = mean[cells]
            covariance = (products[cells] - count * centre[:, :, None] * centre[:, None]) / (count - 1)
            factor = torch.linalg.cholesky(covariance + self.shrinkage * identity)
            self.whitening[cells] = torch.linalg.solve_triangular(factor, identity, upper=False).float()

    def score(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mahalanobis distances [N,g,g] of features [N,C,g,g] (equation 2 of the paper), and their maxima [N]."""
        # With covariance L L^T the distance is the length of L^-1 (x - mean).
        white = (self._vectors(features) - self.mean[:, None]) @ self.whitening.mT
        cells = torch.linalg.vector_norm(white, dim=2).T.reshape(len(features), *features.shape[2:])
        return cells.amax((1, 2)), cells

    def _vectors(self, features: Tensor) -> Tensor:
        """Features [N,C,g,g] as [P,N,d]: cell, image, chosen channel."""
        return features[:, self.chosen.to(features.device)].flatten(2).permute(2, 0, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """Chosen channels, means and whitening matrices."""
        return {"chosen": self.chosen, "mean": self.mean, "whitening": self.whitening}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned."""
        self.chosen, self.mean, self.whitening = state["chosen"], state["mean"], state["whitening"]
