"""Protocol generation_rgbd against generators whose true scores are known: exact, still, flat, blind to its codes."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.cameras import sample_cameras
from harness.metrics.card import parse_column
from harness.metrics.features import FeatureSpace
from harness.tables.columns import STYLES
from harness.tables.styles_rgbd import STYLES as OWN
from harness.types import Budget, Cameras, Cell, ConfigError, Context, Renders, Scores, Unsupported
from suites.protocols import generation_rgbd
from suites.protocols.rgbd import agreement, rulers, views
from suites.protocols.rgbd.coding import Coding
from suites.protocols.rgbd.pictures import coloured
from suites.protocols.rgbd.references import reference
from tests.unit.rgbd_data import PRIOR, SIDE, SPEC, UNIT, VIEWS, WallDataset, walls

SETTINGS = {"n": 40, "latents": 6, "geometry": 12, "swaps": 9}
N = "n=40"


def context(seed: int = 0) -> Context:
    return Context(
        device=torch.device("cpu"),
        precision="fp32",
        seed=seed,
        total_steps=1,
        batch_size=4,
        generator=torch.Generator().manual_seed(seed),
        autocast=contextlib.nullcontext,
        sample_cameras=lambda n, g, prior=None: sample_cameras(prior or PRIOR, n, g),
    )


class Walls:
    """Draws walls: code 0 sets the distance, code 1 the appearance.

    ``depth``: exact, flat, none; ``yaw``: follow, mirror (turns the wrong way), still; ``coupled``: the appearance
    moves the wall too.
    """

    train_images, depth_bins = 0, 4

    def __init__(self, depth: str = "exact", yaw: str = "follow", coupled: bool = False) -> None:
        self.depth, self.yaw, self.coupled = depth, yaw, coupled

    def latents(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, 2, 3, generator=generator) * 2 - 1

    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        assert cameras is not None
        sign = {"follow": 1.0, "mirror": -1.0, "still": 0.0}[self.yaw]
        middle = 0.65 + 0.1 * latents[:, 0, 0] + (0.05 * latents[:, 1, 0] if self.coupled else 0)
        images, depth = walls(sign * cameras.azimuth, middle, latents[:, 1, 0])
        if self.depth == "none":
            return Renders(images)
        return Renders(images, depth if self.depth == "exact" else torch.full_like(depth, 0.65 * UNIT))

    def discriminate(self, images: Tensor) -> Tensor:
        """The sum of the coded depth."""
        assert images.shape[1] == 4
        return images[:, 3].sum((1, 2))

    def depth_logits(self, images: Tensor) -> Tensor:
        """Knows nothing."""
        return torch.zeros(len(images), self.depth_bins, SIDE, SIDE)


class Reader:
    """A judge that reads the colour code and takes every wall for one in the middle, seen at its yaw."""

    digest, report = "0" * 64, {"azimuth_mae_deg": 0.0, "elevation_mae_deg": 0.0, "depth_side_x100": 1.5}
    attribute_names, attribute_groups = ("blue",), ("appearance",)

    def __init__(self) -> None:
        self.space = FeatureSpace.from_network(
            "proc-v1", lambda images: images.mean((2, 3)), dim=3, input_size=SIDE, weights_digest=self.digest
        )

    def pose(self, images: Tensor) -> tuple[Tensor, Tensor]:
        yaw = (images[:, 1, 0, 0].double() / 127.5 - 1) / 2
        return yaw, torch.full_like(yaw, 0.15)

    def depth(self, images: Tensor) -> Tensor:
        yaw = self.pose(images)[0]
        return walls(yaw, torch.full_like(yaw, 0.65), torch.zeros_like(yaw))[1]


@pytest.fixture(autouse=True)
def _reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulers, "open_judges", lambda dataset, root: Reader())


def cell(method: str = "walls") -> Cell:
    return Cell("3d_aware", "generation_rgbd", method, "smoke", 0, Budget("quick", 1), SPEC)


def rated(predictions: Any, dataset: Any = None) -> Scores:
    data: Any = dataset or WallDataset()
    return generation_rgbd.score(predictions, data, SETTINGS, Path("unused"), cell())


def scored(model: Any, **changes: Any) -> Scores:
    dataset: Any = WallDataset(replace(SPEC, **changes))
    return rated(generation_rgbd.predict(model, dataset, SETTINGS, context()), dataset)


def test_an_exact_generator() -> None:
    scores = scored(Walls())
    m = scores.metrics
    assert m["yaw_corr"] > 0.999
    assert m["yaw_slope"] == pytest.approx(1, abs=0.03)
    assert m["yaw_mae"] < 0.5
    assert scores.notes["yaw_state"] == "controlled, turns as commanded"
    assert m["e_depth"] < 0.5 * m["e_depth[theta=0]"] < m["e_depth[theta=flipped]"]
    assert m["gain_depth"] > 0.5
    assert 0.8 < m["mask_share"] <= 1
    assert m["side[x100]"] == pytest.approx(0, abs=0.05)  # the judge knows depth up to a factor
    assert m["side_const[x100]"] > 1
    assert m["side_judge[x100]"] == 1.5
    assert 0 < m["depth_agree"] < 0.12
    assert 0 < m["depth_agree_floor"] < 0.12
    assert m["swap_depth"] == 0
    assert m["swap_rgb_same_depth"] > 0.05
    assert m["d_depth_ce"] == pytest.approx(math.log(4))
    assert 0 < m["d_depth_ce_prior"] < math.log(4)
    assert m[f"fid_depth[depth-stat|{N}]"] >= 0
    assert math.isfinite(m["d_gap"])


def test_turning_the_wrong_way_shows_in_the_rotation_and_not_in_the_correlation() -> None:
    """Training is unposed: sign and offset of the yaw are free, but depth and views must agree about it."""
    scores = scored(Walls(yaw="mirror"))
    m = scores.metrics
    assert m["yaw_corr"] > 0.999
    assert scores.notes["yaw_state"].endswith("against the command")
    assert m["gain_depth"] < 0
    assert m["e_depth[theta=flipped]"] < m["e_depth[theta=0]"] < m["e_depth"]


def test_a_still_view_fails() -> None:
    scores = scored(Walls(yaw="still"))
    for column in views.YAW:
        assert math.isnan(scores.metrics[column])
    assert scores.notes["yaw_state"] == "no effect of the yaw"
    assert scores.metrics["gain_depth"] == scores.metrics["gain_rgb"] == -math.inf
    assert "does not change" in scores.notes["gain_rgb"]


def test_a_flat_depth_looks_good_only_by_its_error() -> None:
    flat, exact = scored(Walls(depth="flat")).metrics, scored(Walls()).metrics
    assert flat["e_depth"] < 1.2 * exact["e_depth[theta=0]"] < exact["e_depth[theta=flipped]"]
    assert flat["gain_depth"] == -math.inf
    assert flat["depth_std"] == pytest.approx(0, abs=1e-12)
    assert exact["depth_std"] > 0.01
    assert flat["side[x100]"] == pytest.approx(flat["side_const[x100]"])
    assert math.isnan(flat["edge_corr"])
    assert flat[f"fid_depth[depth-stat|{N}]"] > exact[f"fid_depth[depth-stat|{N}]"]


def test_a_generator_without_depth_has_images_and_yaw() -> None:
    scores = scored(Walls(depth="none"))
    assert scores.metrics["yaw_corr"] > 0.999
    assert math.isfinite(scores.metrics[f"fid[proc-v1|{N}]"])
    lacking = (*agreement.JUDGED, *agreement.STRUCTURE, *agreement.SWAPS, *views.ROTATION)
    for column in (*lacking, f"fid_depth[depth-stat|{N}]"):
        assert math.isnan(scores.metrics[column])
        assert scores.notes[column] == "no depth"
    assert scores.notes["d_gap"] == "no discriminator to ask"
    assert set(scores.pictures) == {"samples", "yaws"}


def test_appearance_that_moves_the_wall_is_found() -> None:
    assert scored(Walls(coupled=True)).metrics["swap_depth"] > 1e-3


def test_the_gap_is_that_of_the_logits() -> None:
    dataset: Any = WallDataset()
    predictions = generation_rgbd.predict(Walls(), dataset, SETTINGS, context())
    assert {len(predictions[f"logits_{name}"]) for name in ("train", "val", "fake")} == {60, 30, 40}
    coded = dataset.split("val").view(("depth_coded",))["depth_coded"].astype(np.float64) / 30000 - 1
    assert predictions["logits_val"] == pytest.approx(coded.sum((1, 2)), rel=1e-4, abs=1e-3)
    few = Walls()
    few.train_images = 7
    assert len(generation_rgbd.predict(few, dataset, SETTINGS, context())["logits_train"]) == 7


def test_a_head_that_does_not_answer_in_bins_has_no_cross_entropy() -> None:
    model: Any = Walls()

    def refuse(images: Tensor) -> Tensor:
        raise Unsupported("the head has no bins")

    model.depth_logits = refuse
    scores = scored(model)
    assert math.isnan(scores.metrics["d_depth_ce"])
    assert scores.notes["d_depth_ce"] == "no depth head"


def test_depth_relative_to_the_farthest_pixel() -> None:
    """Per-image codes are compared with per-image estimates, and lose nothing in shape."""
    coding = Coding(UNIT, per_image=True)
    depth = walls(torch.tensor([0.1, -0.2]), torch.tensor([0.6, 0.7]), torch.zeros(2))[1].numpy()
    level = depth / depth.max((1, 2), keepdims=True)
    codes = np.rint(level * 60000).astype(np.uint16)
    rendered = coding.rendered(codes)
    assert coding.level(rendered) == pytest.approx(level, abs=1e-4)
    assert coding.level_of_truth(depth) == pytest.approx(level, abs=1e-6)
    ratio = coding.shape_of(rendered) / depth
    assert ratio.max((1, 2)) == pytest.approx(ratio.min((1, 2)), rel=1e-3)
    common = Coding(UNIT, per_image=False)
    assert common.shape_of(depth) * UNIT == pytest.approx(depth, rel=1e-6)
    assert common.level_of_truth(depth) == pytest.approx(common.level(depth))


@pytest.mark.parametrize(
    "name", ["floor:noise", "floor:mean_image", "floor:flat_depth", "floor:shuffled", "oracle:held_out"]
)
def test_references_have_the_arrays_of_a_generator(name: str) -> None:
    dataset: Any = WallDataset()
    predictions = generation_rgbd.predict_reference(name, dataset, SETTINGS, 3)
    again = generation_rgbd.predict_reference(name, dataset, SETTINGS, 3)
    drawn = generation_rgbd.predict(Walls(), dataset, SETTINGS, context())
    for key, array in predictions.items():
        assert array.shape == drawn[key].shape
        assert array.dtype == drawn[key].dtype
        assert np.array_equal(array, again[key])
    scores = rated(predictions)
    assert set(scores.metrics) == set(rated(drawn).metrics)


def test_the_references_bound_the_range() -> None:
    dataset: Any = WallDataset()
    rows = {
        name: rated(generation_rgbd.predict_reference(name, dataset, SETTINGS, 0)).metrics
        for name in ("oracle:held_out", "floor:shuffled", "floor:flat_depth", "floor:mean_image", "floor:noise")
    }
    truth, shuffled, flat, mean, noise = rows.values()
    assert truth["gain_depth"] > 0.4 > shuffled["gain_depth"]
    assert truth["e_depth"] < truth["e_depth[theta=0]"] < truth["e_depth[theta=flipped]"] < shuffled["e_depth"]
    assert flat["gain_depth"] == mean["gain_depth"] == mean["gain_rgb"] == -math.inf
    assert truth["depth_agree"] < 0.12
    assert truth["depth_agree"] == pytest.approx(truth["depth_agree_floor"], rel=0.5)
    assert truth["yaw_corr"] > 0.999
    assert not noise["yaw_corr"] > 0.5
    column = f"fid_depth[depth-stat|{N}]"
    assert truth[column] < min(flat[column], mean[column], noise[column])
    assert shuffled[column] == pytest.approx(truth[column])  # the set of depths is the same


def test_the_oracle_shows_every_room_at_the_stored_yaws() -> None:
    dataset: Any = WallDataset()
    predictions = generation_rgbd.predict_reference("oracle:held_out", dataset, SETTINGS, 0)
    stored = dataset.split("multiview").view(("image", "pose"))
    assert np.array_equal(predictions["views"].reshape(-1, SIDE, SIDE, 3), stored["image"][: 6 * VIEWS])
    assert predictions["views_yaw"] == pytest.approx(np.linspace(-1, 1, VIEWS) * PRIOR.azimuth[1])
    mixed = generation_rgbd.predict_reference("floor:shuffled", dataset, SETTINGS, 0)["views"]
    assert np.array_equal(mixed[0, 2], predictions["views"][2, 2])


def test_unknown_references_and_too_little_data_are_refused() -> None:
    dataset: Any = WallDataset()
    with pytest.raises(ConfigError, match="floor:noise"):
        generation_rgbd.predict_reference("floor:nose", dataset, SETTINGS, 0)
    small: Any = WallDataset(replace(SPEC, splits={**SPEC.splits, "train": 4}))
    with pytest.raises(ConfigError, match="lack 6 of 40"):
        generation_rgbd.predict_reference("oracle:held_out", small, SETTINGS, 0)


def test_data_without_judges_prior_or_views(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dataset: Any, root: Path) -> None:
        raise Unsupported("no labels")

    monkeypatch.setattr(rulers, "open_judges", refuse)
    splits = {"train": 60, "test": 40}
    scores = scored(Walls(), splits=splits)
    assert math.isfinite(scores.metrics[f"fid[random|{N}|resize=clean]"])
    assert math.isfinite(scores.metrics["gain_depth"])
    assert math.isfinite(scores.metrics["d_gap"])  # held-out images come from the test split
    for column in (*views.YAW, *agreement.JUDGED):
        assert scores.notes[column] == "no judges: data without exact labels"
    dataset: Any = WallDataset(replace(SPEC, splits={**splits, "val": 30}))
    predictions = reference("oracle:held_out", dataset, generation_rgbd.sizes.sizes(SETTINGS, dataset.spec), 0)
    alone = rated(predictions, dataset)
    assert alone.notes["e_depth"] == "no several views of one room"


def test_every_column_has_a_card_and_a_style_of_the_same_direction() -> None:
    cards = {card.name: card for card in generation_rgbd.METRICS}
    assert len(cards) == len(generation_rgbd.METRICS)
    for column in scored(Walls()).metrics:
        metric = parse_column(column).metric
        assert metric in STYLES, column
        if metric in OWN:
            assert STYLES[metric].better == cards[metric].better, column
    assert set(OWN) <= set(cards)


def test_missing_values_have_reasons() -> None:
    for model in (Walls(), Walls(depth="flat"), Walls(depth="none"), Walls(yaw="still")):
        scores = scored(model)
        for column, value in scores.metrics.items():
            assert not math.isnan(value) or scores.notes.get(column), column


def test_the_same_predictions_give_the_same_scores_and_pictures() -> None:
    first, second = scored(Walls()), scored(Walls())
    assert first.metrics == second.metrics
    assert first.notes == second.notes
    assert set(first.pictures) == {"samples", "yaws", "swap", "depth", "warp"}
    for name, picture in first.pictures.items():
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert np.array_equal(picture, second.pictures[name])


def test_near_is_light_and_far_is_dark() -> None:
    shades = coloured(np.array([[[-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0]]]))[0, 0].astype(int)
    lightness = shades @ np.array([2, 7, 1])
    assert np.array_equal(shades[0], shades[1])
    assert np.array_equal(shades[-1], shades[-2])
    assert (np.diff(lightness[1:-1]) < 0).all()
