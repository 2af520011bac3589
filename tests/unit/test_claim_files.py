"""Claims are read with care, and known by their digests."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.tables.claim_files import canonical, claimed_suites, read_claims
from harness.types import ConfigError
from tests.unit.claim_bench import ROTATION, read, suite_with


def test_every_committed_claim_can_be_read() -> None:
    assert {"3d_aware", "anomaly", "segmentation"} <= set(claimed_suites())
    for name in claimed_suites():
        claims, about = read_claims(registry.suite(name))
        assert about
        assert len({claim.digest for claim in claims}) == len(claims)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrik": "fid"}, "unknown field 'metrik'. Did you mean metric"),
        ({"metric": "pose_cor"}, "unknown metric 'pose_cor'. Did you mean pose_corr"),
        ({"treatment": "hologn"}, "unknown method 'hologn'. Did you mean hologan"),
        ({"control": "hologan[train_rotatoin=none]"}, "Did you mean train_rotation"),
        ({"control": "hologan[train_rotation=nine]"}, "Did you mean none"),
        ({"control": "floor:nose"}, "Did you mean floor:noise"),
        ({"control": {"row": "hologan", "plus": "dcgan"}}, "unknown field 'plus'"),
        ({"control": {"row": "hologan"}}, "is no row, number or difference"),
        ({"control": {"row": "hologan", "minus": 3}}, "is no row, number or difference"),
        ({"control": {"row": "hologan", "metric": "pose_cor"}}, "Did you mean pose_corr"),
        ({"control": {"row": "hologan", "data": "head"}}, "data: must map"),
        ({"control": "a b[c"}, "is no row label"),
        ({"control": []}, "the list is empty"),
        ({"control": True}, "is no row, number or difference"),
        ({"direction": "up"}, "unknown direction: 'up'"),
        ({"smallest_effect": -0.1}, "must be a number of at least 0"),
        ({"smallest_effect": "much"}, "must be a number of at least 0"),
        ({"source": None}, "the field 'source' is missing"),
        ({"text": ["a"]}, "must be text"),
        ({"test": "t_test"}, "unknown test: 't_test'"),
        ({"tier": "mikro"}, "Did you mean micro"),
        ({"budget": "claim"}, "Did you mean claims"),
        ({"data": "head"}, "data: must map"),
        ({"control": {"row": "hologan", "times": 0}}, "times: 0 must be a number above 0"),
        ({"gate": 3}, "must be the id of a claim"),
        ({"gate": "rotatoin"}, "unknown gate 'rotatoin'"),
        ({"gate": "rotation"}, "unknown gate 'rotation'"),
    ],
)
def test_a_wrong_claim_says_where_and_what(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, {**ROTATION, **change})
    assert message in str(caught.value)
    assert "mine.yaml: rotation" in str(caught.value)


def test_a_wrong_file_says_what(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two claims are called 'rotation'"):
        read(tmp_path, ROTATION, ROTATION)
    with pytest.raises(ConfigError, match="Did you mean defaults"):
        read(tmp_path, ROTATION, default={})
    with pytest.raises(ConfigError, match="must be a list of claims"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="a claim without id"):
        read(tmp_path, {"text": "nameless"})
    path = suite_with(tmp_path, ROTATION)
    (tmp_path / "claims" / "mine.yaml").write_text("claims: !!python/name:os.system", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        read_claims(registry.suite(str(path)))
    (tmp_path / "claims" / "mine.yaml").unlink()
    with pytest.raises(ConfigError, match="states no claims"):
        read_claims(registry.suite(str(path)))


def test_the_digest_holds_everything_but_the_note(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    (noted,) = read(tmp_path, {**ROTATION, "note": "Explained."})
    assert noted.digest == claim.digest
    for change in ({"smallest_effect": 0.3}, {"direction": "lower"}, {"text": "Other."}, {"control": "dcgan"}):
        (changed,) = read(tmp_path, {**ROTATION, **change})
        assert changed.digest != claim.digest
    (spelt,) = read(tmp_path, {**ROTATION, "smallest_effect": 2e-1}, defaults={"budget": "claims"})
    assert spelt.digest == claim.digest


def test_claims_keep_the_digests_of_their_stored_verdicts() -> None:
    for name in ("3d_aware", "anomaly"):
        stored = (registry.ROOT / "results" / "micro" / name / "claims.csv").read_text(encoding="utf-8")
        claims, _ = read_claims(registry.suite(name))
        lines = csv.DictReader(io.StringIO(stored))
        assert {line["claim_digest"] for line in lines} == {claim.digest for claim in claims}


def test_the_column_and_the_data_of_a_term_are_part_of_the_digest(tmp_path: Path) -> None:
    terms: list[Any] = [
        "dcgan",
        {"row": "dcgan", "metric": "pose_slope"},
        {"row": "dcgan", "data": {"name": "objects/car"}},
    ]
    claims = read(tmp_path, *({**ROTATION, "id": str(place), "control": term} for place, term in enumerate(terms)))
    assert len({replace(claim, id="").digest for claim in claims}) == 3
    assert [str(claim.controls[0]) for claim in claims] == [
        "dcgan",
        "pose_slope of dcgan",
        "dcgan at name=objects/car",
    ]


def test_labels_have_one_spelling() -> None:
    assert canonical("a[y=1.0, x=True]") == canonical("a[x=true,y=1]") == "a[x=true,y=1]"
    assert canonical("a[b=['c', 'd'],a=0]") == canonical("a[a=0.0,b=[c,d]]")
    assert canonical("floor:noise") == "floor:noise"
