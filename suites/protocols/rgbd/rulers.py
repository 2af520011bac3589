"""The rulers of a data set: its judges, the feature spaces, and what the judges' own errors are."""

from __future__ import annotations

from pathlib import Path

from harness.data.views import Dataset
from harness.judges.shelf import Judges, open_judges
from harness.metrics.features import FeatureSpace, feature_space
from harness.types import MissingAsset, Unsupported


def judges_of(dataset: Dataset, root: Path) -> Judges | None:
    """The judges of a data set; None where it has no exact labels to train them on."""
    try:
        return open_judges(dataset, root)
    except Unsupported:
        return None


def spaces_of(judges: Judges | None, *, inception: bool) -> list[FeatureSpace]:
    """The judges' space, or a random one without judges; then the published one where its weights are on this machine:
    without them there is no such column, and none in its place."""
    spaces = [judges.space if judges is not None else feature_space("random")]
    if inception:
        try:
            spaces.append(feature_space("inception"))
        except MissingAsset:
            return spaces
    return spaces


def credentials(judges: Judges) -> dict[str, str]:
    """Notes: the judges' digest and their errors on held-out pictures."""
    report = judges.report
    return {
        "judges": judges.digest[:12],
        "judge_report": (
            f"yaw {report['azimuth_mae_deg']:.1f} deg, elevation {report['elevation_mae_deg']:.1f} deg, "
            f"SIDE {report['depth_side_x100']:.2f}, {len(judges.attribute_names)} attributes read"
        ),
    }
