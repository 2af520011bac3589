"""A suite with claims, seeds that agree with them or not, and verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness import registry
from harness.store import StoredResult
from harness.tables.claim_files import read_claims
from harness.tables.claim_terms import Claim
from harness.tables.claims import Verdict, judge
from harness.types import Budget
from tests.unit.stored_results import result

CLAIMS = Budget("claims", 48000)
NONE = {"train_rotation": "none"}
ROTATION = {
    "id": "rotation",
    "text": "Rotation | matters.",
    "source": "a paper",
    "metric": "pose_corr",
    "direction": "higher",
    "treatment": "hologan",
    "control": "hologan[train_rotation=none]",
    "smallest_effect": 0.2,
    "unit": "correlation",
}


def suite_with(folder: Path, *claims: dict[str, Any], **more: Any) -> Path:
    """A suite file with claims beside it."""
    path = folder / "mine.yaml"
    text = registry.suites()["3d_aware"].read_text(encoding="utf-8")
    path.write_text(text.replace("name: 3d_aware", "name: mine"), encoding="utf-8")
    (folder / "claims").mkdir(exist_ok=True)
    content = yaml.safe_dump({"claims": list(claims), **more}, sort_keys=False)
    (folder / "claims" / "mine.yaml").write_text(content, encoding="utf-8")
    return path


def read(folder: Path, *claims: dict[str, Any], **more: Any) -> list[Claim]:
    return read_claims(registry.suite(str(suite_with(folder, *claims, **more))))[0]


def seeds(
    values: list[float], method: str = "hologan", metric: str = "pose_corr", budget: Budget = CLAIMS, **more: Any
) -> list[StoredResult]:
    return [
        result(method, seed, {metric: value}, budget=budget, suite="mine", **more) for seed, value in enumerate(values)
    ]


HIGH, LOW = [0.9, 0.8, 0.95, 0.85, 0.9], [0.1, 0.3, 0.2, 0.15, 0.4]
RESULTS = [*seeds(HIGH), *seeds(LOW, overrides=NONE)]


def verdict_of(claim: Claim, results: list[StoredResult], tier: str = "micro") -> Verdict:
    (verdict,) = judge([claim], results, tier)
    return verdict
