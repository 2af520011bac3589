"""The judges: shapes, augmentation, determinism, and the shelf's answers to damage and company."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from harness.judges import shelf, targets, training
from harness.judges.networks import FEATURES, AttributeNet, DepthNet, PoseNet
from harness.judges.training import Recipe, Truth
from harness.leases import Busy, Lease
from harness.types import StoreError, Unsupported
from tests.unit.disc_data import FACTORS, SIDE, SPEC, DiscDataset


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    """Two steps per judge: what they learn matters in one test only."""
    full = shelf.recipes

    def short(pictures: int, *, precision: Literal["fp32", "bf16"]) -> dict[str, Recipe]:
        return {name: replace(recipe, steps=2, batch=8) for name, recipe in full(pictures, precision=precision).items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelf, "recipes", short)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("judges")
    shelf.open_judges(DiscDataset(), root)
    return root


def images(n: int = 5) -> torch.Tensor:
    rows = DiscDataset().split("test").view(("image",))["image"][:n]
    return torch.from_numpy(rows).permute(0, 3, 1, 2)


@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_networks_keep_their_shapes_at_every_resolution(side: int) -> None:
    batch = torch.zeros(2, 3, side, side)
    assert PoseNet(side).eval()(batch).shape == (2, 3)
    net = AttributeNet(side, 7).eval()
    assert net(batch).shape == (2, 7)
    assert net.features(batch).shape == (2, FEATURES)
    depth = DepthNet(4.18).eval().depth(batch)
    assert depth.shape == (2, side, side)
    assert bool((depth > 0).all())


def test_judges_answer_with_documented_shapes_and_are_trained_once(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "_train", lambda *_: pytest.fail("trained twice"))
    judges = shelf.open_judges(DiscDataset(), trained)
    batch = images()
    azimuth, elevation = judges.pose(batch)
    assert azimuth.shape == elevation.shape == (5,)
    assert judges.features(batch).shape == (5, FEATURES)
    assert judges.attributes(batch).shape == (5, len(judges.attribute_names))
    assert len(judges.attribute_groups) == len(judges.attribute_names)
    assert judges.depth(batch).shape == (5, SIDE, SIDE)
    assert judges.space.name == "proc-v1"
    assert set(judges.attribute_groups) <= {"shape", "appearance"}
    assert judges.report["azimuth_mae_deg"] > 0


def test_rooms_have_judges_too(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_train", lambda *_: pytest.fail("the same pictures need no other judges"))
    assert shelf.open_judges(DiscDataset(replace(SPEC, name="rooms")), trained).digest


def test_training_is_deterministic_and_leaves_the_global_generator_alone(trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    again = shelf.open_judges(DiscDataset(), tmp_path)
    assert torch.equal(torch.rand(3), expected)
    assert again.digest == shelf.open_judges(DiscDataset(), trained).digest


def test_features_of_training_images_are_standardised(trained: Path) -> None:
    judges = shelf.open_judges(DiscDataset(), trained)
    rows = DiscDataset().split("oracle").view(("image",))["image"][: 48 - 48 // shelf.HELD_OUT]
    features = judges.features(torch.from_numpy(rows).permute(0, 3, 1, 2)).double()
    assert torch.allclose(features.mean(0), torch.zeros(FEATURES, dtype=torch.float64), atol=1e-4)
    assert torch.allclose(features.std(0), torch.ones(FEATURES, dtype=torch.float64), atol=1e-3)


def test_answers_do_not_depend_on_the_batch(trained: Path) -> None:
    judges = shelf.open_judges(DiscDataset(), trained)
    batch = images(6)
    single = torch.cat([judges.features(batch[i : i + 1]) for i in range(6)])
    assert torch.allclose(judges.features(batch), single, atol=1e-4)


def test_a_damaged_weights_file_is_detected(trained: Path, tmp_path: Path) -> None:
    folder = _copy(trained, tmp_path)
    content = bytearray((folder / shelf.WEIGHTS).read_bytes())
    content[-3] ^= 1
    (folder / shelf.WEIGHTS).write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged.*Delete this folder"):
        shelf.open_judges(DiscDataset(), tmp_path)


@pytest.mark.parametrize("card", [b"{", b"[]", b"{}"])
def test_a_damaged_card_is_detected(trained: Path, tmp_path: Path, card: bytes) -> None:
    (_copy(trained, tmp_path) / shelf.CARD).write_bytes(card)
    with pytest.raises(StoreError, match="cannot be read"):
        shelf.open_judges(DiscDataset(), tmp_path)


def test_weights_without_a_card_are_an_unfinished_training(trained: Path, tmp_path: Path) -> None:
    folder = _copy(trained, tmp_path)
    card = json.loads((folder / shelf.CARD).read_bytes())
    (folder / shelf.CARD).unlink()
    (folder / shelf.WEIGHTS).write_bytes(b"half")
    assert shelf.open_judges(DiscDataset(), tmp_path).digest == card["sha256"]


def test_a_second_process_waits_for_the_first(trained: Path, tmp_path: Path) -> None:
    folder = _copy(trained, tmp_path)
    (folder / shelf.CARD).unlink()
    with Lease(folder / "lease"), pytest.raises(Busy):
        shelf.open_judges(DiscDataset(), tmp_path, wait_s=0)


def test_other_data_open_another_shelf(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = DiscDataset(replace(SPEC, splits={**SPEC.splits, "oracle": 40}))
    monkeypatch.setattr(
        shelf, "_train", lambda dataset, plan, identity, folder, progress: (_ for _ in ()).throw(_Asked)
    )
    with pytest.raises(_Asked):
        shelf.open_judges(other, trained)


class _Asked(Exception):
    pass


def test_data_without_exact_labels_are_refused(tmp_path: Path) -> None:
    for spec in (replace(SPEC, name="folder/flat"), replace(SPEC, prior=None), replace(SPEC, splits={"train": 4})):
        with pytest.raises(Unsupported, match="exact pose"):
            shelf.open_judges(DiscDataset(spec), tmp_path)


def test_the_pose_judge_learns_what_can_be_seen() -> None:
    spec = replace(SPEC, splits={**SPEC.splits, "oracle": 300})
    split = DiscDataset(spec).split("oracle")
    truth, names = targets.truth_of(split.view(targets.FIELDS), FACTORS, 4.18, 250)
    net = training.initialise(lambda: PoseNet(SIDE), 0)
    with training.one_thread():
        training.fit(net, training.pose_loss, truth.rows(0, 250), torch.ones(len(names)), Recipe(60, 32, 3e-3, blur=0))
        azimuth = PoseNet.angles(training.chunked(net, truth.images[250:]))[0]
    error = (azimuth - truth.azimuth[250:]).abs().mean()
    assert float(error.rad2deg()) < 12  # the mean pose would give 30


def test_mirroring_twice_is_the_identity_and_negates_the_signed_attributes() -> None:
    split = DiscDataset().split("oracle")
    truth, columns = targets.truth_of(split.view(targets.FIELDS), FACTORS, 4.18, 40)
    signs = torch.tensor([column.sign for column in columns])
    once = training.mirrored(truth, torch.ones(len(truth), dtype=torch.bool), signs)
    assert torch.equal(once.azimuth, -truth.azimuth)
    assert torch.equal(once.images, truth.images.flip(3))
    assert torch.equal(once.depth, truth.depth.flip(2))
    column = [c.name for c in columns].index("azimuth.sin")
    assert torch.equal(once.attributes[:, column], -truth.attributes[:, column])
    twice = training.mirrored(once, torch.ones(len(truth), dtype=torch.bool), signs)
    for name in Truth.__dataclass_fields__:
        assert torch.equal(getattr(twice, name), getattr(truth, name))


def test_augmentation_with_everything_off_changes_nothing() -> None:
    batch, coverage = torch.rand(4, 3, 8, 8) * 2 - 1, torch.ones(4, 1, 8, 8)
    still = Recipe(1, 4, 1e-3, colour=False, background=0.0, noise=0.0, blur=0.0)
    assert torch.equal(training.augment(batch, coverage, still, torch.Generator().manual_seed(0)), batch)


def test_augmentation_leaves_the_object_where_it_is() -> None:
    batch, coverage = torch.zeros(16, 3, 8, 8), torch.zeros(16, 1, 8, 8)
    coverage[:, :, 2:5, 2:5] = 1
    only_background = Recipe(1, 16, 1e-3, background=1.0, noise=0.0, blur=0.0)
    changed = training.augment(batch, coverage, only_background, torch.Generator().manual_seed(0))
    assert torch.equal(changed * coverage, batch * coverage)
    outside = changed[:, :, 0, 0]
    assert torch.equal(changed[:, :, 7, 7], outside)
    assert float(outside.std()) > 0.1


def test_circular_and_categorical_factors_become_columns() -> None:
    fields = DiscDataset().split("oracle").view(targets.FIELDS)
    columns, values = targets.attributes_of(fields, FACTORS)
    names = [column.name for column in columns]
    assert names[:5] == ["size", "hue.sin", "hue.cos", "kind.0", "kind.1"]
    sine, cosine = values[:, 1], values[:, 2]
    assert np.allclose(sine**2 + cosine**2, 1)
    assert np.array_equal(values[:, 3] + values[:, 4], np.ones(len(values)))


def _copy(trained: Path, root: Path) -> Path:
    source = next(trained.glob(f"*/{shelf.CARD}")).parent
    folder = root / source.name
    folder.mkdir(parents=True)
    for name in (shelf.WEIGHTS, shelf.CARD):
        (folder / name).write_bytes((source / name).read_bytes())
    return folder
