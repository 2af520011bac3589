"""StyleGAN2(-ADA) as a method of the harness: nothing but the shared block."""

from __future__ import annotations

from methods.blocks.style_gan import StyleGAN


class StyleGAN2(StyleGAN):
    """The 2D backbone (Karras et al., CVPR 2020; adaptive augmentation: NeurIPS 2020)."""
