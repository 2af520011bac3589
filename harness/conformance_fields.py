"""Conformance tests of radiance fields: codes that can be inverted, a density, and guides of the generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.specimen import Nonconforming, Specimen, build, data_of, own_randomness, tensors, train

if TYPE_CHECKING:
    import torch

    from harness.types import Cameras, SceneRenders

SCENES, POINTS = 2, 257


def _codes(state: Specimen) -> str:
    import torch

    model, cameras = state.model, _cameras(state)
    latents = _latents(state)
    with own_randomness("render_codes"):
        codes, mean = model.codes(latents), model.mean_code()
        again = model.render_codes(codes, cameras)
    if len(codes) != SCENES or codes.shape[1:] != mean.shape:
        raise Nonconforming(f"codes {tuple(codes.shape)} must be [{SCENES}, *{tuple(mean.shape)}], as the mean code is")
    if not codes.isfinite().all() or codes.requires_grad:
        raise Nonconforming("codes must be finite and without a graph")
    if not again.rgb.allclose(model.sample(latents, cameras).rgb, atol=2e-3):
        raise Nonconforming("render_codes of codes(latents) is another picture than sample(latents)")
    free = codes.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(model.render_codes(free, cameras).rgb.square().sum(), [free])
    if not slope.isfinite().all() or not slope.flatten(1).abs().amax(1).gt(0).all():
        raise Nonconforming("render_codes has no finite gradient by the codes, so that nothing can be inverted")
    return f"{tuple(mean.shape)}, rendered as sampled, differentiable"


def _density(state: Specimen) -> str:
    import torch

    model, codes = state.model, state.model.codes(_latents(state))
    points = torch.rand(SCENES, POINTS, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    density = model.density(codes, points)
    if tuple(density.shape) != (SCENES, POINTS) or density.requires_grad:
        raise Nonconforming(f"density must be [{SCENES},{POINTS}] without a graph, not {tuple(density.shape)}")
    if not density.isfinite().all() or density.min() < 0:
        raise Nonconforming("density must be finite and not negative")
    part = model.density(codes[1:], points[1:, : POINTS // 2])
    if not part.allclose(density[1:, : POINTS // 2], rtol=2e-2, atol=1e-3):
        raise Nonconforming("the density of a point depends on the others of its batch")
    return f"{density.min():.3g} to {density.max():.3g} per unit of length"


def _guides(state: Specimen) -> str:
    plain, _ = build(state)
    guided, _ = build(state)
    seen: list[str] = []

    def guide(scene: SceneRenders, step: int) -> torch.Tensor:
        seen.append(_check_scene(scene))
        return 10 * scene.depth.mean() + scene.again(scene.cameras).rgb.square().mean()

    guided.guides.append(guide)
    for model in (plain, guided):
        train(state, model, 1)
    if not seen:
        raise Nonconforming("a guide was not called in a generator step")
    if all(a.equal(b) for a, b in zip(tensors(plain.state_dict()), tensors(guided.state_dict()), strict=True)):
        raise Nonconforming("a guide's loss does not reach the generator")
    return f"called with {seen[0]}, and heard"


def _check_scene(scene: SceneRenders) -> str:
    count = len(scene.cameras)
    if scene.rgb.ndim != 4 or tuple(scene.rgb.shape[:2]) != (count, 3) or not scene.rgb.requires_grad:
        raise Nonconforming(f"a guide must get rgb [B,3,H,W] with a gradient, not {tuple(scene.rgb.shape)}")
    if scene.depth.ndim != 3 or scene.depth.shape != scene.opacity.shape or len(scene.depth) != count:
        raise Nonconforming(
            f"a guide must get depth and opacity [B,h,w], not {tuple(scene.depth.shape)}, {tuple(scene.opacity.shape)}"
        )
    if not scene.depth.isfinite().all() or scene.opacity.min() < -1e-3 or scene.opacity.max() > 1.001:
        raise Nonconforming("a guide must get finite depth and opacity in [0,1]")
    return f"rgb {tuple(scene.rgb.shape)}, depth {tuple(scene.depth.shape)}"


CHECKS: tuple[tuple[str, Callable[[Specimen], str]], ...] = (
    ("codes", _codes),
    ("density", _density),
    ("guides", _guides),
)


def _latents(state: Specimen) -> torch.Tensor:
    import torch

    latents: torch.Tensor = state.model.latents(SCENES, torch.Generator().manual_seed(4))
    return latents


def _cameras(state: Specimen) -> Cameras:
    import torch

    from harness.cameras import look_at

    prior = data_of(state).prior
    assert prior is not None
    return look_at(torch.tensor([-0.4, 0.5]), torch.tensor([0.1, -0.1]), prior)
