"""Protocol generation_3d against generators whose true scores are known: exact, folded, blind to the pose, flat."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.cameras import rays, sample_cameras
from harness.metrics.card import parse_column
from harness.metrics.features import FeatureSpace
from harness.tables.styles_generation import STYLES
from harness.types import Budget, Cameras, Cell, ConfigError, Context, Renders, Scores
from suites.protocols import generation_3d
from suites.protocols.generation.pictures import tile
from suites.protocols.generation.sizes import neighbours, sizes, sweep
from tests.unit.disc_data import SIDE, SPEC, DiscDataset

SETTINGS = {"n": 40, "latents": 6, "azimuths": 5, "tilts": 3, "views": 3, "geometry": 8}
PRIOR = SPEC.prior
assert PRIOR is not None


def context(seed: int = 0) -> Context:
    generator = torch.Generator().manual_seed(seed)
    return Context(
        device=torch.device("cpu"),
        precision="fp32",
        seed=seed,
        total_steps=1,
        batch_size=4,
        generator=generator,
        autocast=contextlib.nullcontext,
        sample_cameras=lambda n, g, prior=None: sample_cameras(prior or PRIOR, n, g),
    )


class Sphere:
    """Renders a unit-half sphere with exact depth. Red codes the azimuth, green the elevation, blue the latent."""

    def __init__(self, azimuth: str = "follow", depth: str = "exact", parts: bool = False) -> None:
        self.azimuth, self.depth, self.parts = azimuth, depth, parts

    def latents(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand((n, 2, 3) if self.parts else (n, 3), generator=generator) * 2 - 1

    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        assert cameras is not None
        origins, directions = rays(cameras, SIDE)
        # |o + t d| = 0.5 in z-depth t
        a = directions.square().sum(-1)
        b = (directions * origins[:, None, None]).sum(-1)
        c = origins.square().sum(-1)[:, None, None] - 0.25
        root = (b * b - a * c).clamp(min=0).sqrt()
        hit = b * b - a * c > 0
        depth = torch.where(hit, (-b - root) / a, 0.0)
        shown = {
            "follow": cameras.azimuth,
            "mirror": -cameras.azimuth,
            "fold": cameras.azimuth.abs() * 2 - 1,
            "latent": latents.reshape(len(latents), -1)[:, 1] + 0.05 * cameras.azimuth,
            "still": torch.zeros_like(cameras.azimuth),
        }[self.azimuth]
        shape, appearance = (latents[:, 0, 0], latents[:, 1, 0]) if self.parts else (latents[:, 0], latents[:, 0])
        elevation = torch.zeros_like(shown) if self.azimuth == "still" else cameras.elevation
        rgb = torch.stack([shown / 2, elevation, (shape + 0.05 * appearance) / 2], 1)[:, :, None, None]
        rgb = rgb.expand(-1, 3, SIDE, SIDE) * hit[:, None]
        if self.depth == "none":
            return Renders(rgb)
        if self.depth == "flat":
            depth = torch.where(hit, cameras.radius, 0.0)
        return Renders(rgb, depth, hit.float())


class Styled(Sphere):
    """Its styles are its latents; its discriminator finds brightness real and knows eight training images."""

    train_images = 8

    def styles(self, latents: Tensor) -> Tensor:
        return latents[:, None]

    def mean_style(self) -> Tensor:
        return torch.zeros(1, 3)

    def render_styles(self, styles: Tensor, cameras: Cameras | None = None) -> Renders:
        return self.sample(styles[:, 0], cameras)

    def discriminate(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))


class Reader:
    """A judge that reads the colour code and knows the sphere's depth at the shown pose."""

    digest, report = "0" * 64, {"azimuth_mae_deg": 0.0, "elevation_mae_deg": 0.0, "depth_side_x100": 0.0}
    attribute_names, attribute_groups = ("blue", "red"), ("shape", "appearance")

    def __init__(self) -> None:
        self.space = FeatureSpace.from_network(
            "proc-v1", self._features, dim=3, input_size=SIDE, weights_digest=self.digest
        )

    @staticmethod
    def _features(images: Tensor) -> Tensor:
        return images.mean((2, 3))

    @staticmethod
    def _colour(images: Tensor) -> Tensor:
        return images[:, :, SIDE // 2, SIDE // 2].double() / 127.5 - 1

    def pose(self, images: Tensor) -> tuple[Tensor, Tensor]:
        colour = self._colour(images)
        return colour[:, 0] * 2, colour[:, 1]

    def attributes(self, images: Tensor) -> Tensor:
        return self._colour(images)[:, [2, 0]]

    def depth(self, images: Tensor) -> Tensor:
        cameras = sample_cameras(replace(PRIOR, azimuth=(0.0, 0.0), elevation=(0.0, 0.0)), 1, torch.Generator())
        renders = Sphere().sample(torch.zeros(1, 3), cameras)
        assert renders.depth is not None
        return torch.where(renders.depth > 0, renders.depth, 1.0).expand(len(images), -1, -1)


@pytest.fixture(autouse=True)
def _reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation_3d, "open_judges", lambda dataset, root: Reader())


def cell(method: str = "sphere") -> Cell:
    return Cell("3d_aware", "generation_3d", method, "smoke", 0, Budget("quick", 1), SPEC)


def scored(model: Any, **settings: int) -> Scores:
    dataset: Any = DiscDataset()
    chosen = {**SETTINGS, **settings}
    predictions = generation_3d.predict(model, dataset, chosen, context())
    return generation_3d.score(predictions, dataset, chosen, Path("unused"), cell())


def test_an_exact_generator_gets_perfect_pose_and_depth() -> None:
    scores = scored(Sphere())
    m = scores.metrics
    assert m["pose_corr"] > 0.999
    assert m["pose_slope"] == pytest.approx(1.0, abs=0.02)
    assert m["pose_mae"] < 1.0
    assert m["pose_eta2"] > 0.999
    assert m["pose_corr_elev"] > 0.99
    assert m["side[x100]"] == pytest.approx(0.0, abs=0.05)
    assert m["side_const[x100]"] > 0.5
    assert m["depth_mse_std"] == pytest.approx(0.0, abs=1e-3)
    assert m["mad"] < 2
    assert scores.notes["pose_state"] == "controlled"
    assert m["side_own[x100]"] == pytest.approx(m["side_other[x100]"], abs=1e-6)  # all objects are one sphere


def test_the_sign_of_the_azimuth_is_free() -> None:
    assert scored(Sphere("mirror")).metrics["pose_corr"] > 0.999


@pytest.mark.parametrize(
    ("azimuth", "state"), [("fold", "folded"), ("latent", "latent carries pose"), ("still", "no pose effect")]
)
def test_every_failure_state_is_named(azimuth: str, state: str) -> None:
    scores = scored(Sphere(azimuth))
    assert scores.notes["pose_state"] == state
    assert not scores.metrics["pose_corr"] > 0.5


def test_a_generator_that_ignores_the_camera_has_no_identity_score() -> None:
    scores = scored(Sphere("still"))
    assert math.isnan(scores.metrics["id_var_ratio"])
    assert "pose" in scores.notes["id_var_ratio"]


def test_a_generator_without_depth_is_told_so() -> None:
    scores = scored(Sphere(depth="none"))
    for column in ("side[x100]", "mad", "reproj_l1", "side_other[x100]"):
        assert math.isnan(scores.metrics[column])
        assert scores.notes[column] == "no geometry"
    assert "depth" not in scores.pictures


def test_a_flat_depth_scores_as_the_constant_floor() -> None:
    m = scored(Sphere(depth="flat")).metrics
    assert m["side[x100]"] == pytest.approx(m["side_const[x100]"], abs=1e-9)
    assert math.isnan(m["depth_mse_std"])


def test_latents_of_two_parts_are_swapped() -> None:
    scores = scored(Sphere(parts=True))
    assert scores.metrics["swap_shape"] > 0.8
    assert scores.per_sample["swap_matrix"].shape == (2, 2)
    assert scores.pictures["swap"].ndim == 3
    assert "swap_shape" not in scored(Sphere()).metrics


def test_a_discriminator_is_asked_about_its_training_images() -> None:
    dataset: Any = DiscDataset()
    scores = scored(Styled())
    known = dataset.split("train").view(("image",))["image"][:8]
    assert scores.metrics["d_train"] == pytest.approx(float((known / 127.5 - 1).mean()), abs=1e-6)
    means = [scores.metrics[f"d_{name}"] for name in ("train", "val", "fake")]
    assert scores.metrics["d_gap"] == pytest.approx((means[0] - means[1]) / (means[0] - means[2]))
    assert scored(Sphere()).notes["d_gap"] == "no discriminator to ask"
    assert math.isfinite(scored(Sphere()).metrics["nn_ratio[proc-v1|n=40]"])


def test_styles_are_truncated_and_interpolated() -> None:
    dataset: Any = DiscDataset()
    arrays = generation_3d.predict(Styled(), dataset, SETTINGS, context())
    assert arrays["truncated"].shape == (6, SIDE, SIDE, 3)
    assert arrays["interpolation"].shape == (3, 9, SIDE, SIDE, 3)
    assert np.array_equal(arrays["interpolation"][:, 0], arrays["images"][:3])
    # Blue codes the latent: halfway between black and white at 0.
    blue = arrays["truncated"][:, SIDE // 2, SIDE // 2, 2] - 128.0
    np.testing.assert_allclose(blue, 0.7 * (arrays["images"][:6, SIDE // 2, SIDE // 2, 2] - 128.0), atol=1)
    assert {"truncated", "interpolation", "neighbours"} <= set(scored(Styled()).pictures)


def test_a_probe_leaves_randomness_alone_and_repeats() -> None:
    dataset: Any = DiscDataset()
    around = context()
    before = around.generator.get_state()
    model = Styled()
    model.sample = lambda latents, cameras: Renders(latents[:, :, None, None].expand(-1, -1, SIDE, SIDE))  # type: ignore[method-assign]
    first = generation_3d.probe(model, dataset, SETTINGS, around)
    assert first == generation_3d.probe(model, dataset, SETTINGS, around)
    assert set(first) == {"d_gap", "d_train", "d_val", "d_fake"}
    assert torch.equal(around.generator.get_state(), before)
    assert generation_3d.probe(Sphere(), dataset, SETTINGS, around) == {}


def test_the_same_predictions_give_the_same_scores() -> None:
    first, second = scored(Sphere()), scored(Sphere())
    assert first.metrics == second.metrics
    assert first.notes == second.notes
    for name, picture in first.pictures.items():
        assert np.array_equal(picture, second.pictures[name])


def test_every_column_has_a_card_and_a_style_of_the_same_direction() -> None:
    cards = {card.name: card for card in generation_3d.METRICS}
    assert len(cards) == len(generation_3d.METRICS)
    for column in scored(Sphere(parts=True)).metrics:
        metric = parse_column(column).metric
        style = STYLES[metric]
        assert style.better == cards[metric].better, column
    for metric, style in STYLES.items():
        assert metric in cards
        assert style.better == cards[metric].better, metric


def test_missing_values_have_reasons() -> None:
    for model in (Sphere(), Sphere("still"), Sphere(depth="none"), Sphere(depth="flat")):
        scores = scored(model)
        for column, value in scores.metrics.items():
            assert not math.isnan(value) or scores.notes.get(column), column


def test_pictures_are_bytes_of_three_channels() -> None:
    scores = scored(Sphere())
    assert set(scores.pictures) == {"samples", "turntable", "depth", "shapes"}
    for picture in scores.pictures.values():
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3


def test_tiles_keep_rows_and_columns() -> None:
    images = np.zeros((2, 3, 4, 4, 3), np.uint8)
    images[1, 2] = 9
    sheet = tile(images)
    assert sheet.shape == (2 * 64, 3 * 64, 3)
    assert bool((sheet[64:, 128:] == 9).all())
    assert int(sheet.astype(int).sum()) == 9 * 64 * 64 * 3


@pytest.mark.parametrize("name", ["floor:noise", "floor:mean_image"])
def test_floors_are_scored_like_methods(name: str) -> None:
    dataset: Any = DiscDataset()
    predictions = generation_3d.predict_reference(name, dataset, SETTINGS, 0)
    again = generation_3d.predict_reference(name, dataset, SETTINGS, 0)
    assert predictions.keys() == again.keys()
    assert all(np.array_equal(predictions[key], again[key]) for key in predictions)
    assert predictions["images"].shape == (40, SIDE, SIDE, 3)
    m = generation_3d.score(predictions, dataset, SETTINGS, Path("unused"), cell(name)).metrics
    assert m["fid[proc-v1|n=40]"] > 0
    assert not m["pose_corr"] > 0.5
    assert m["side[x100]"] > 0


def test_the_oracle_holds_real_images_that_are_not_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    from suites.protocols.generation import references

    monkeypatch.setattr(references, "exact_views", lambda spec, wanted: {})
    monkeypatch.setattr(references, "exact_targets", lambda spec, wanted: {})
    dataset: Any = DiscDataset()
    predictions = generation_3d.predict_reference("oracle:held_out", dataset, SETTINGS, 0)
    images = predictions["images"]
    view = {name: dataset.split(name).view(("image",))["image"] for name in ("val", "train", "test")}
    assert np.array_equal(images[:12], view["val"])
    assert np.array_equal(images[12:], view["train"][-28:])
    test = {row.tobytes() for row in view["test"]}
    assert not any(row.tobytes() in test for row in images)
    assert np.array_equal(predictions["geometry_images"], view["test"][:8])


def test_an_oracle_that_is_larger_than_the_data_is_refused() -> None:
    small: Any = DiscDataset(replace(SPEC, splits={**SPEC.splits, "train": 4}))
    with pytest.raises(ConfigError, match="lack 24 of 40"):
        generation_3d.predict_reference("oracle:held_out", small, SETTINGS, 0)


def test_an_unknown_reference_is_refused() -> None:
    with pytest.raises(ConfigError, match="floor:noise"):
        generation_3d.predict_reference("floor:nose", DiscDataset(), SETTINGS, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"m": 3}, {"n": 0}, {"n": "many"}])
def test_wrong_settings_are_refused(settings: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError):
        sizes(settings, SPEC)


def test_poses_lie_in_the_prior_and_a_full_turn_has_no_double() -> None:
    azimuths = sweep(PRIOR, 13)
    assert azimuths[0] == pytest.approx(-PRIOR.azimuth[1])
    assert azimuths[-1] == pytest.approx(PRIOR.azimuth[1])
    ring = sweep(replace(PRIOR, azimuth=(0.0, math.pi)), 12)
    assert len(np.unique(np.round(np.mod(ring, 2 * math.pi), 4))) == 12
    assert float(np.abs(neighbours(PRIOR, 5)).max()) == pytest.approx(0.4)


def test_a_full_turn_is_scored_by_the_resultant() -> None:
    from suites.protocols.generation import poses
    from suites.protocols.generation.sheet import Sheet

    ring = replace(PRIOR, azimuth=(0.0, math.pi))
    sheet, azimuths = Sheet(), sweep(ring, 8)
    pictures = np.random.default_rng(0).integers(0, 255, (3, 8, 4, 4, 3)).astype(np.uint8)
    judges: Any = SimpleNamespace(
        pose=lambda images: (torch.from_numpy(np.tile(azimuths, 3)), torch.zeros(24)),
        space=lambda images: images.flatten(1).double(),
        attributes=lambda images: torch.rand(24, 2, generator=torch.Generator().manual_seed(0)),
    )
    poses.score_poses(sheet, {"sweep": pictures, "sweep_azimuth": azimuths}, judges, ring, collapsed=False)
    assert sheet.metrics["pose_resultant"] == pytest.approx(1.0)
    assert math.isnan(sheet.metrics["pose_corr"])
    assert "full turn" in sheet.notes["pose_corr"]


def test_data_without_judges_are_scored_on_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.types import Unsupported

    def refuse(dataset: Any, root: Path) -> None:
        raise Unsupported("no labels")

    monkeypatch.setattr(generation_3d, "open_judges", refuse)
    scores = scored(Sphere())
    assert math.isfinite(scores.metrics["fid[random|n=40|resize=clean]"])
    assert "no judges" in scores.notes["pose_corr"]
