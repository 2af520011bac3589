"""The words of ``profile``: which methods on which samples, and errors that name the word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.cli import main
from harness.data import catalogue
from harness.running.profiling.arguments import parse
from harness.running.profiling.batches import SyntheticDataset, samples
from harness.running.profiling.subjects import Listing, listing_of, methods_of
from harness.running.profiling.suite import read_throughput_suite
from harness.types import ConfigError, DataError


def test_every_registered_method_is_measured_without_a_list() -> None:
    asked = parse(["tier=smoke"])
    assert [subject.cell.method for subject in asked.subjects] == list(registry.methods())
    for subject in asked.subjects:
        assert registry.protocol(subject.cell.protocol)
        assert subject.cell.budget.images >= 2048 * subject.cell.config["batch_size"]
        assert subject.cell.precision == registry.suite(subject.listing.suite).precision


@pytest.mark.parametrize(
    ("method", "listing"),
    [
        ("hologan", Listing("3d_aware")),
        ("dynamicd", Listing("3d_aware", "regimes")),
        ("depthgan", Listing("3d_aware", "rooms")),
        ("uniad", Listing("anomaly")),
        ("supervised", Listing("segmentation", "main", "uda")),
        ("u2pl", Listing("segmentation", "main", "ssl")),
    ],
)
def test_a_method_goes_with_its_first_listing(method: str, listing: Listing) -> None:
    assert listing_of(method) == listing


def test_a_method_of_a_user_goes_with_a_suite_that_asks_for_what_it_can(plugin: Path) -> None:
    assert listing_of(str(plugin)) == Listing("3d_aware")
    (subject,) = parse([f"methods=[{plugin}]", "tier=smoke"]).subjects
    assert subject.cell.source == str(plugin)


def test_a_suite_or_setting_narrows_the_choice() -> None:
    assert {s.cell.method for s in parse(["suite=anomaly", "tier=smoke"]).subjects} == set(methods_of("anomaly"))
    (subject,) = parse(["methods=[fst]", "setting=ssl", "tier=smoke"]).subjects
    assert subject.listing.setting == "ssl"
    assert subject.cell.data.options["setting"] == "ssl"


def test_overrides_make_variants_of_their_method_only() -> None:
    asked = parse(["methods=[stylegan2,dcgan]", "tier=smoke", "stylegan2.r1_every=8,16", "batch=4"])
    assert [s.cell.variant for s in asked.subjects] == ["stylegan2[r1_every=8]", "stylegan2", "dcgan"]
    assert {s.cell.config["batch_size"] for s in asked.subjects} == {4}


def test_paper_presets_get_the_pictures_they_are_made_for() -> None:
    by_name = {s.cell.method: s for s in parse(["tier=paper", "methods=[stylegan2,hologan,fst]"]).subjects}
    assert by_name["stylegan2"].cell.data.resolution == 256
    assert by_name["hologan"].cell.data.resolution == 64
    assert by_name["fst"].cell.data.options["classes"] == 19
    assert by_name["fst"].adjusted == {"pretrained": "none", "feature_distance": 0.0}
    assert by_name["stylegan2"].made_up
    (asked,) = parse(["tier=paper", "methods=[stylegan2]", "resolution=128"]).subjects
    assert asked.cell.data.resolution == 128
    assert not asked.made_up  # that is what the suite's own data have


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["precison=bf16"], "precision"),
        (["precision=fp61"], "fp16|fp32"),
        (["methods=[styelgan2]"], "stylegan2"),
        (["methods=[dcgan]", "stylegan2.r1_every=3"], "stylegan2"),
        (["methods=[dcgan]", "dcgan.r1_evry=3"], "r1_every"),
        (["methods=[dcgan,dcgan]"], "dcgan"),
        (["suite=anomly"], "anomaly"),
        (["batch=0"], "batch"),
        (["batch=two"], "batch"),
        (["seconds=0"], "seconds"),
        (["at=1.0"], "at=1.0"),
        (["tier=tiny"], "tier"),
        (["device=gpu"], "device"),
        (["compile=maybe"], "compile"),
        (["threads"], "key=value"),
        (["tier=smoke", "tier=micro"], "twice"),
        (["methods=[uniad]", "suite=3d_aware"], "3d_aware"),
    ],
)
def test_a_wrong_word_is_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(words)


def test_run_refuses_the_suite_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suite=throughput"]) == 2
    assert "python -m harness profile" in capsys.readouterr().err
    assert "throughput" not in registry.suites()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed: 1", "speed"),
        ("tier: tiny", "tier"),
        ("limits: {warmup: 0}", "warmup"),
        ("limits: {smoke: {minutes: 3}}", "minutes"),
        ("at: 2.0", "at"),
    ],
)
def test_a_wrong_suite_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "throughput.yaml"
    path.write_text(f"{text}\n")
    with pytest.raises(ConfigError, match=message):
        read_throughput_suite(path)


def test_limits_of_a_tier_change_the_general_ones() -> None:
    suite = read_throughput_suite()
    assert suite.limits_of("smoke")["seconds"] < suite.limits_of("paper")["seconds"]
    assert suite.limits_of("smoke")["blocks"] == 20


# --------------------------------------------------------------------------------------------------- made-up samples
@pytest.mark.parametrize(
    ("name", "fields", "shape"),
    [("objects/head", ("image", "depth", "pose"), (32, 32)), ("streets", ("image", "label"), (24, 48))],
)
def test_made_up_samples_have_the_shape_and_range_of_real_ones(
    name: str, fields: tuple[str, ...], shape: tuple[int, int]
) -> None:
    spec = catalogue.spec(name, tier="smoke")
    view = SyntheticDataset(spec, 5).split("train").view(fields)
    assert len(view) == 5
    assert view["image"].shape == (5, *shape, 3)
    assert view["image"].dtype == np.uint8
    assert np.array_equal(view["image"], SyntheticDataset(spec, 5).split("train").view(fields)["image"])
    if "label" in fields:
        assert view["label"].shape == (5, *shape)
        assert view["label"].max() < int(spec.options["classes"])
    else:
        assert spec.prior is not None
        assert spec.prior.near <= view["depth"].min() <= view["depth"].max() <= spec.prior.far


def test_a_field_that_cannot_be_made_up_is_named() -> None:
    with pytest.raises(DataError, match="kp3d"):
        SyntheticDataset(catalogue.spec("objects/head", tier="smoke"), 5).split("train").view(("kp3d",))


def test_large_splits_that_were_not_built_are_made_up(tmp_path: Path) -> None:
    (subject,) = parse(["methods=[dcgan]", "tier=micro"]).subjects
    protocol = registry.protocol(subject.cell.protocol)
    dataset, said = samples(subject.cell, protocol, tmp_path, 8)
    assert isinstance(dataset, SyntheticDataset)
    assert said == "synthetic: 8192 pictures of 32 px that were not built before"
