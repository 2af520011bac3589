"""Published segmentation data sets under a folder given by the user: their options, specifications and sources."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from harness.data.label_pairs import SHARE
from harness.data.listing import given_root
from harness.data.pictures import FILTERS, folder_digest
from harness.data.segmentation_source import PADS, SegmentationSource, list_files
from harness.data.sources import Source
from harness.data.voc import FAMILIES
from harness.types import ConfigError, DataSpec, PosePrior, Tier, digest_of

VERSION = "1"  # raise it when the rows made of the same files change
_HELD = {"val": "auto", "filter": "bilinear"}
_SHARE = {"labelled": SHARE, "list": ""}
OPTIONS: dict[str, dict[str, str]] = {
    "cityscapes": {**_SHARE, **_HELD, "ids": "auto"},
    "gta_cityscapes": {**_HELD, "ids": "auto"},
    "synthia_cityscapes": {**_HELD, "ids": "auto"},
    "voc": {**_SHARE, **_HELD, "family": "classic", "pad": "ignore"},
}
FIXED: dict[str, dict[str, str | int]] = {
    "cityscapes": {"setting": "ssl", "classes": 19, "evaluate": 19},
    "gta_cityscapes": {"setting": "uda", "classes": 19, "evaluate": 19},
    "synthia_cityscapes": {"setting": "uda", "classes": 19, "evaluate": 16},
    "voc": {"setting": "ssl", "classes": 21, "evaluate": 21},
}
"""What the set decides: its setting, the number of train-ids, and how many of them the published means are over."""
RESOLUTIONS: dict[Tier, int] = {"smoke": 32, "micro": 64, "small": 256, "paper": 512}
_SIDES = (16, 1024)


def spec(
    kind: str,
    *,
    tier: Tier,
    resolution: int | None,
    prior: PosePrior | None,
    seed: int,
    root: str | Path | None,
    options: Mapping[str, str | int | float | bool],
) -> DataSpec:
    """The specification of ``folder/<kind>`` with the splits labelled, unlabelled, val and test.

    Streets are H x 2H for resolution H, VOC is a padded square. ``labelled`` (cityscapes, voc): a count or a share such
    as 1/16, drawn by the seed; ``list``: a file below the root that names the labelled images instead; ``val``: how
    many training images are held out for validation, or such a list; ``filter``: how pictures are resized; ``ids``:
    auto, labelIds or labelTrainIds; ``family`` (voc): labelled images of VOC alone (classic) or of VOC and SBD
    (blender); ``pad`` (voc): padded pixels are ignored, or count as background. Raises ConfigError with the nearest
    valid names, DataError for a folder that does not fit.
    """
    name = f"folder/{kind}"
    root = given_root(root, name)
    if prior is not None:
        raise ConfigError("its images have no camera pose", where=name, remedy="Leave out data.options.prior.")
    side = resolution or RESOLUTIONS[tier]
    if not _SIDES[0] <= side <= _SIDES[1]:
        raise ConfigError(f"resolution {side} is not supported", where=name, remedy="Use 16 to 1024 px of height.")
    values: dict[str, str | int | float | bool] = dict(OPTIONS[kind])
    for option, value in options.items():
        if option in FIXED[kind] and value == FIXED[kind][option]:
            continue
        if option in FIXED[kind]:
            raise ConfigError(f"{option}={value}, but this set has {option}={FIXED[kind][option]}", where=name)
        if option not in values:
            near = get_close_matches(option, values, n=2)
            raise ConfigError(
                f"unknown option '{option}'", where=name, nearest=near, remedy=f"Known: {', '.join(values)}."
            )
        values[option] = value
    for key, known in (("filter", tuple(FILTERS)), ("family", FAMILIES), ("pad", tuple(PADS))):
        if key in values and values[key] not in known:
            raise ConfigError(f"unknown {key} '{values[key]}'", where=name, remedy=f"Known: {', '.join(known)}.")
    place = Path(root)
    found = list_files(kind, place, values, seed)
    pairs = [pair for split in found.splits.values() for pair in split]
    files = [*(pair.image for pair in pairs), *(pair.label for pair in pairs), *found.files]
    order = {split: [pair.name for pair in members] for split, members in found.splits.items()}
    return DataSpec(
        name=name,
        resolution=side,
        splits={split: len(members) for split, members in found.splits.items()},
        options={**values, **found.options, **FIXED[kind]},
        version=VERSION,
        seed=seed,
        root=root,
        content=digest_of({"files": folder_digest(place, files), "order": order}),
    )


def open_source(spec: DataSpec) -> Source:
    """The source of such a specification."""
    return SegmentationSource(spec)
