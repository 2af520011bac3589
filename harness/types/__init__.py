"""Dataclasses and protocols that every part of Parallax shares.

Nothing in here imports torch or pandas, so that planning, listing and building tables stay instant. Tensor types appear
in annotations only.
"""

from harness.types.capabilities import (
    Discriminates,
    Generates,
    Guide,
    HasStyles,
    LabelsPixels,
    PicksNegatives,
    RadianceField,
    ReadsDepth,
    ReconstructsFeatures,
    SceneRenders,
    ScoresAnomalies,
    Segments,
)
from harness.types.cells import Budget, BudgetName, Cell, Executor, Outcome, Scores, Status, Tier
from harness.types.data import AnomalyMaps, Batch, Cameras, DataSpec, PosePrior, PseudoLabels, Renders
from harness.types.digests import canonical_json, digest_of
from harness.types.errors import (
    ConfigError,
    DataError,
    HarnessError,
    MissingAsset,
    NonFiniteError,
    StoreError,
    Unsupported,
)
from harness.types.method import Context, Method, Stage

__all__ = [
    "AnomalyMaps",
    "Batch",
    "Budget",
    "BudgetName",
    "Cameras",
    "Cell",
    "ConfigError",
    "Context",
    "DataError",
    "DataSpec",
    "Discriminates",
    "Executor",
    "Generates",
    "Guide",
    "HarnessError",
    "HasStyles",
    "LabelsPixels",
    "Method",
    "MissingAsset",
    "NonFiniteError",
    "Outcome",
    "PicksNegatives",
    "PosePrior",
    "PseudoLabels",
    "RadianceField",
    "ReadsDepth",
    "ReconstructsFeatures",
    "Renders",
    "SceneRenders",
    "Scores",
    "ScoresAnomalies",
    "Segments",
    "Stage",
    "Status",
    "StoreError",
    "Tier",
    "Unsupported",
    "canonical_json",
    "digest_of",
]
