"""The objectives of HoloGAN (section 3.5): adversarial, identity, style and, as an option, pose recognition."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.blocks.adversarial import discriminator_loss, generator_loss
from methods.hologan.discriminator import HoloDiscriminator, Verdict
from methods.hologan.options import Options


def recognition_loss(
    discriminator: HoloDiscriminator, flat: Tensor, latents: Tensor, code: Tensor, options: Options
) -> Tensor:
    """Identity regulariser E||z - F(G(z, theta))||^2 (mean over batch and dimensions), plus the pose term if it is on.

    ``flat`` [N,F] features of fakes, ``latents`` [N,Z], ``code`` [N,3] the pose code. Added to both objectives.
    """
    total = flat.new_zeros(())
    if options.identity_weight:
        total = total + options.identity_weight * (discriminator.latent(flat) - latents).square().mean()
    if options.recognise_pose:
        total = total + options.recognise_pose * (discriminator.pose(flat) - code).square().mean()
    return total


def style_loss_d(real: Verdict, fake: Verdict) -> Tensor:
    """Sum over levels of the style heads' real/fake cross-entropies."""
    losses = [discriminator_loss(r, f) for r, f in zip(real.styles, fake.styles, strict=True)]
    return torch.stack(losses).sum() if losses else real.logit.new_zeros(())


def style_loss_g(fake: Verdict) -> Tensor:
    """L_style of the paper for the generator: sum over levels of E[-log D_l(G(z))]; the released code leaves it out."""
    losses = [generator_loss(style) for style in fake.styles]
    return torch.stack(losses).sum() if losses else fake.logit.new_zeros(())
