"""StyleGAN2: its class-conditional form, how it is sampled and asked, and its state."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.cameras import look_at
from harness.running import checkpoint
from harness.types import DataSpec, Discriminates, HasStyles
from methods.blocks.style_gan import StyleGAN
from tests.gan_bench import PRIOR, build, context, images, train


def _seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


# -------------------------------------------------------------------------------------------------- conditional
def _conditional() -> Any:
    config = registry.methods()["stylegan2"].preset("smoke") | {"conditional": True, "augmentation": "none"}
    data = DataSpec("objects/head", 32, {}, prior=PRIOR, options={"classes": 3})
    return registry.load("stylegan2")(config, data, replace(context(), batch_size=8))


def test_conditional_form_trains_and_draws_by_class() -> None:
    method = _conditional()
    batch = images(8) | {"category": torch.arange(8) % 3}
    for step in range(2):
        assert all(math.isfinite(float(value)) for value in method.train_step(batch, step).values())
    latents = method.latents(90, _seed())
    assert latents.shape == (90, 17)
    assert set(latents[:, -1].tolist()) == {0.0, 1.0, 2.0}
    one = latents[:1].repeat(3, 1)
    one[:, -1] = torch.arange(3)
    drawn = method.sample(one, None).rgb
    assert not torch.equal(drawn[0], drawn[1])
    assert method.discriminate(drawn).shape == (3,)


def test_labels_of_fakes_are_those_of_the_batch() -> None:
    method = _conditional()
    drawn = method._drawn_labels(200, torch.tensor([0, 2, 2, 2]))
    assert set(drawn.tolist()) == {0, 2}
    assert 0.6 < float((drawn == 2).float().mean()) < 0.9


# ------------------------------------------------------------------------------------------------------- scoring
@pytest.fixture(scope="module")
def trained() -> Any:
    method = build("stylegan2", overrides={"augmentation": "none"})
    train(method, 3, 8)
    return method


def test_has_styles_and_judges(trained: StyleGAN) -> None:
    assert isinstance(trained, HasStyles)
    assert isinstance(trained, Discriminates)
    assert trained.train_images == 0
    latents = trained.latents(5, _seed())
    codes, mean = trained.styles(latents), trained.mean_style()
    assert codes.shape == (5, 8, 16)
    assert mean.shape == (8, 16)
    assert torch.equal(trained.render_styles(codes).rgb, trained.sample(latents, None).rgb)
    # Truncation 0 gives one image for all latents.
    drawn = trained.render_styles(mean + 0.0 * (codes - mean)).rgb
    torch.testing.assert_close(drawn, drawn[:1].expand_as(drawn), rtol=0, atol=1e-5)


def test_cameras_change_nothing(trained: StyleGAN) -> None:
    latents = trained.latents(4, _seed())
    drawn = trained.sample(latents, look_at(torch.linspace(-1, 1, 4), torch.zeros(4), PRIOR)).rgb
    assert torch.equal(drawn, trained.sample(latents, None).rgb)
    assert drawn.abs().max() <= 1


@pytest.mark.parametrize("n", [0, 1, 5, 8, 19])
def test_judging_works_for_any_number_of_images(trained: StyleGAN, n: int) -> None:
    pictures = images(32)["image"]
    logits = trained.discriminate(pictures[:n])
    assert logits.shape == (n,)
    assert logits.isfinite().all()
    whole = trained.discriminate(pictures)
    full = n // 8 * 8
    torch.testing.assert_close(logits[:full], whole[:full])
    assert torch.equal(logits, trained.discriminate(pictures[:n]))


def test_judging_takes_images_as_they_are() -> None:
    method = build("stylegan2", overrides={"augmentation": "fixed", "augmentation_p": 1.0})
    pictures = images(8)["image"]
    torch.testing.assert_close(method.discriminate(pictures), method.discriminator(pictures).detach())


# --------------------------------------------------------------------------------------------------------- state
def _resumed(keys: dict[str, Any], precision: str, place: Path) -> list[list[Tensor]]:
    """Weights and moments after six steps: uninterrupted, and with a new object after three."""
    one = build("stylegan2", overrides=keys, precision=precision)
    train(one, 3, 8)
    two = build("stylegan2", overrides=keys, precision=precision, seed=9)
    place.write_bytes(checkpoint.to_bytes(one.state_dict()))
    two.load_state_dict(checkpoint.load(place))
    two.context.generator.set_state(one.context.generator.get_state())
    states = []
    for method in (one, two):
        for step in range(3, 6):
            method.train_step(images(8, seed=step), step)
            method.average.update(step)
        states.append(_tensors(method.state_dict()))
    return states


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    members = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for member in members for tensor in _tensors(member)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resumed_is_uninterrupted_bit_for_bit(precision: str, tmp_path: Path) -> None:
    keys = {"augmentation": "ada", "ada_kimg": 1, "augmentation_p": 0.5}
    one, two = _resumed(keys, precision, tmp_path / "state.safetensors")
    assert len(one) == len(two)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_two_runs_of_one_seed_are_bit_identical() -> None:
    runs = [build("stylegan2", precision="bf16") for _ in range(2)]
    assert train(runs[0], 3, 8) == train(runs[1], 3, 8)


def test_bf16_drifts_from_fp32_within_bounds() -> None:
    keys = {"augmentation": "none", "path_weight": 0.0}
    pairs = [build("stylegan2", overrides=keys, precision=precision, resolution=16) for precision in ("fp32", "bf16")]
    logs = [train(method, 200, 4, 16) for method in pairs]
    for name in ("loss_d", "loss_g"):
        full, half = (sum(log[name] for log in run[-50:]) / 50 for run in logs)
        assert half == pytest.approx(full, rel=0.25, abs=0.1), name
    latents = pairs[0].latents(64, _seed())
    full, half = (method.sample(latents, None).rgb for method in pairs)
    assert (full.mean((0, 2, 3)) - half.mean((0, 2, 3))).abs().max() < 0.1
    assert float(half.std() / full.std()) == pytest.approx(1.0, abs=0.25)
