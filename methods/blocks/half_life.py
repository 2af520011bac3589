"""The moving average of StyleGAN2-ADA: a half life in images, shorter while few were seen (Karras et al. 2020b)."""

from __future__ import annotations

from methods.blocks.ema import Ema, M, decay_of_half_life


class HalfLifeEma(Ema[M]):
    """An averaged copy whose weights count half after ``images`` images; ``ramp`` > 0 shortens that to at most ``ramp``
    times the images seen before the step, so that the first update copies the live network."""

    def __init__(self, live: M, images: float, batch_size: int, ramp: float = 0.0) -> None:
        super().__init__(live, decay_of_half_life(images, batch_size), warmup=0)
        self.images, self.batch_size, self.ramp = images, batch_size, ramp

    def weight(self, step: int) -> float:
        """Decay used by the update after ``step`` earlier updates."""
        if not self.ramp:
            return self.decay
        return decay_of_half_life(min(self.images, self.ramp * step * self.batch_size), self.batch_size)
