"""Progressive growing as data: image size and fade at a training step (Karras et al. 2018, as VolumeGAN uses it)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Growth:
    """``sizes``, each twice the one before, are held for a share ``hold`` of the budget; a further share ``fade``
    brings the next one in. One size: no growing."""

    sizes: tuple[int, ...]
    hold: float
    fade: float

    def at(self, progress: float) -> tuple[int, float]:
        """Image size and the weight in (0, 1] of what belongs to it alone, at ``progress`` in [0, 1] of the budget."""
        for k, size in enumerate(self.sizes):
            start = k * (self.hold + self.fade) - self.fade  # where this size begins to fade in
            if k == len(self.sizes) - 1 or progress < start + self.fade + self.hold:
                alpha = (progress - start) / self.fade if k and self.fade else 1.0
                return size, min(1.0, max(0.0, alpha))  # rounding may step over either end
        raise AssertionError("a last size exists")
