import copy
from typing import Any

import pytest
import torch

from harness import registry
from harness.types import ConfigError
from methods.dynamicd.options import parse
from tests.gan_bench import build, images, train

QUIET = {"augmentation": "none", "path_weight": 0.0}
OWN = {
    *("scheme", "r_start", "r_end", "schedule", "select", "resample", "keepd", "decrease_keepd", "keepin"),
    *("rescale", "rescale_logits", "mask_bias", "impl", "adam_state", "update_interval"),
}


def flat(state: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of a nested state by its path."""
    if isinstance(state, dict):
        return {k: v for key, value in state.items() for k, v in flat(value, f"{prefix}/{key}").items()}
    if isinstance(state, (list, tuple)):
        return {k: v for key, value in enumerate(state) for k, v in flat(value, f"{prefix}/{key}").items()}
    return {prefix: state}


def same(first: Any, second: Any) -> bool:
    a, b = flat(first), flat(second)
    return a.keys() == b.keys() and all(
        x.equal(b[name]) if isinstance(x, torch.Tensor) else x == b[name] for name, x in a.items()
    )


def options(**given: Any) -> Any:
    return parse({**registry.methods()["dynamicd"].preset("micro"), **given})[1]


# ----------------------------------------------------------------------------------------------------- presets
@pytest.mark.parametrize("tier", ["smoke", "micro", "small", "paper"])
def test_presets_are_those_of_stylegan2(tier: str) -> None:
    mine, base = (registry.methods()[name].preset(tier) for name in ("dynamicd", "stylegan2"))
    assert set(mine) - set(base) == OWN
    differing = {key for key in base if mine[key] != base[key]}
    assert differing == ({"augmentation", "mirror"} if tier == "paper" else set())


def test_schemes() -> None:
    rising, falling = options(), options(scheme="decrease")
    assert (rising.r_start, rising.r_end, rising.select, rising.keepd, rising.sliced) == (0.5, 1.0, "prefix", -1, True)
    assert (falling.r_start, falling.r_end, falling.select, falling.keepd) == (1.0, 0.5, "random", 4)
    assert not falling.sliced
    assert options(scheme="decrease", select="random_consistent").sliced
    assert options(scheme="decrease", r_end=0.25, select="prefix", keepd=-1).r_end == 0.25
    half = options(scheme="constant", r_start=0.75)
    assert (half.r_start, half.r_end) == (0.75, 0.75)
    assert options(scheme="none") is None


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"r_start": 0.0}, "r_start"),
        ({"r_end": 1.5}, "r_end"),
        ({"r_start": 0.9, "r_end": 0.6}, "scheme"),
        ({"scheme": "decrease", "r_start": 0.4}, "scheme"),
        ({"scheme": "constant", "r_start": 0.5, "r_end": 0.6}, "r_end"),
        ({"scheme": "decrease", "impl": "slice"}, "impl"),
        ({"rescale_logits": True}, "rescale_logits"),
        ({"update_interval": 0}, "update_interval"),
        ({"select": "suffix"}, "select"),
    ],
)
def test_settings_that_cannot_work(given: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=f"dynamicd.{where}"):
        options(**given)


# ----------------------------------------------------------------------------------------------------- training
@pytest.mark.parametrize(
    "overrides",
    [
        {"scheme": "none"},
        {"scheme": "constant", "r_start": 1.0, "impl": "mask"},
        {"scheme": "constant", "r_start": 1.0},
    ],
)
def test_at_ratio_one_training_is_that_of_stylegan2(overrides: dict[str, Any]) -> None:
    base, mine = build("stylegan2"), build("dynamicd", overrides=overrides)
    logs = train(base, 3, 8), train(mine, 3, 8)
    for a, b in zip(*logs, strict=True):
        assert a == {name: value for name, value in b.items() if name != "ratio"}
    state = mine.state_dict()
    assert state.pop("images_seen") == 3 * 8
    assert same(base.state_dict(), state)
    assert mine.discriminate(images(6)["image"]).equal(base.discriminate(images(6)["image"]))


def test_arms_stay_paired_with_stylegan2() -> None:
    base, mine = build("stylegan2", overrides=QUIET), build("dynamicd", overrides={**QUIET, "scheme": "decrease"})
    base.train_step(images(8), 0)
    log = mine.train_step(images(8), 0)
    assert log["ratio"] == 1.0
    for method in (base, mine):
        method.train_step(images(8), 4)
    assert mine.discriminator.width.ratio < 1.0
    assert base.context.generator.get_state().equal(mine.context.generator.get_state())
    assert same(list(base.discriminator.state_dict()), list(mine.discriminator.state_dict()))
    base.discriminator.load_state_dict(mine.discriminator.state_dict())  # interchangeable


@pytest.mark.parametrize(
    "overrides",
    [
        {"scheme": "decrease"},
        {"scheme": "decrease", "select": "random_consistent", "resample": "interval", "adam_state": "fresh"},
    ],
)
def test_resumed_training_goes_on_bit_for_bit(overrides: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"steps": 12, "overrides": {**QUIET, **overrides}}
    whole, first = build("dynamicd", **settings), build("dynamicd", **settings)
    for step in range(8):
        whole.train_step(images(8, seed=step), step)
        if step == 5:
            first.load_state_dict(copy.deepcopy(whole.state_dict()))
            first.context.generator.set_state(whole.context.generator.get_state())
        elif step > 5:
            first.train_step(images(8, seed=step), step)
    assert same(whole.state_dict(), first.state_dict())
    assert first.discriminate(images(5)["image"]).equal(whole.discriminate(images(5)["image"]))


def test_scores_come_from_the_first_channels_at_the_ratio_reached() -> None:
    method = build("dynamicd", overrides={**QUIET, "scheme": "decrease"}, steps=8)
    train(method, 8, 8)
    asked = images(11)["image"]
    logits = method.discriminate(asked)
    assert method.discriminator.width.ratio == 0.5
    assert method.discriminator.training
    assert logits.equal(method.discriminate(asked))
    assert logits[:8].allclose(method.discriminator.extract_subnet(0.5)(asked[:8]), rtol=1e-4, atol=1e-5)


def test_dead_weights_stay_where_they_started() -> None:
    method = build("dynamicd", overrides={**QUIET, "scheme": "constant"})
    start = method.discriminator.network["b16_conv0"].weight.detach().clone()
    train(method, 3, 8)
    moved = method.discriminator.network["b16_conv0"].weight.detach() != start
    half = len(start) // 2
    assert moved[:half, :half].all()
    assert int(moved.sum()) == half * half * 9
