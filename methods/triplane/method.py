"""The tri-plane generator as a method of the harness: nothing but the shared block."""

from __future__ import annotations

from methods.blocks.triplane_gan import TriplaneGan


class Triplane(TriplaneGan):
    """Tri-planes rendered and, where the preset says so, upsampled (EG3D, Chan et al., CVPR 2022)."""
