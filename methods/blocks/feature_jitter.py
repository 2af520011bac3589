"""Feature jittering: Gaussian noise on tokens in proportion to their length (UniAD, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from harness.types import ConfigError


@dataclass(frozen=True)
class Jitter:
    """Noise of standard deviation ``alpha`` ||f|| / C per token, with ``probability`` per call (one draw per batch).

    The noise's norm is about alpha / sqrt(C) times the token's; keep that ratio, not alpha, when C changes. Raises
    ConfigError for a negative alpha or a probability outside [0,1].
    """

    alpha: float
    probability: float

    def __post_init__(self) -> None:
        if self.alpha < 0 or not 0 <= self.probability <= 1:
            raise ConfigError(
                f"alpha {self.alpha}, probability {self.probability}", where="jitter", remedy="Use >= 0 and 0 to 1."
            )

    @torch.no_grad()
    def __call__(self, tokens: Tensor, generator: Generator | None) -> Tensor:
        """Tokens [B,T,C] with noise; as they are without a generator (evaluation) or at alpha or probability 0."""
        if generator is None or not self.alpha or not self.probability:
            return tokens
        spread = torch.linalg.vector_norm(tokens, dim=-1, keepdim=True) * (self.alpha / tokens.shape[-1])
        if self.probability < 1:
            spread = spread * (torch.rand(1, generator=generator, device=tokens.device) < self.probability)
        noise = torch.empty_like(tokens, memory_format=torch.contiguous_format).normal_(generator=generator)
        return torch.addcmul(tokens, noise, spread)
