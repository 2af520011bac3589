"""Names of data sets and their specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from harness.data import (
    anomaly_folders,
    defects_source,
    rgbd_folders,
    rooms_source,
    segmentation_folders,
    streets_source,
)
from harness.data.layouts import LAYOUTS, list_layout
from harness.data.listing import given_root
from harness.data.objects import CLASSES
from harness.data.pictures import FILTERS, folder_digest
from harness.data.splits import RESOLUTIONS, TIERS, VIEWS, sizes
from harness.priors import named_prior
from harness.types import ConfigError, DataSpec, PosePrior, Tier

VERSION = "1"  # of the procedural family: raise it when a recipe changes the pictures
LIGHTS = ("camera", "world", "albedo")
BACKGROUNDS = ("random", "sky")
DEFAULT_PRIORS = {"head": "wide60", "creature": "wide60", "car": "ring", "chair": "ring"}
READERS = (anomaly_folders, rgbd_folders, segmentation_folders)
NAMES = (
    "defects",
    "rooms",
    "streets",
    *(f"objects/{name}" for name in CLASSES),
    *(f"folder/{name}" for name in (*LAYOUTS, *(name for reader in READERS for name in reader.OPTIONS))),
)
OBJECT_OPTIONS = ("light", "background", "views")

Option = str | int | float | bool


def spec(
    name: str,
    *,
    tier: Tier = "micro",
    resolution: int | None = None,
    prior: str | PosePrior | None = None,
    seed: int = 0,
    splits: Mapping[str, int] | None = None,
    root: str | Path | None = None,
    **options: Option,
) -> DataSpec:
    """The specification of data set ``name`` at a tier.

    ``objects/<class>``: options are ``light`` (camera, world, albedo), ``background`` (random, sky) and ``views`` per
    identity of ``multiview``; ``splits`` replaces the number of rows of some splits. ``folder/<layout>`` reads the
    images below ``root``: options are ``crop`` (side of the centre crop in pixels, 0 = largest), ``filter`` (box,
    bilinear, bicubic, lanczos) and those of the layout; ``splits`` keeps the first rows of some splits.
    ``folder/mvtec`` and ``folder/cifar10``: see ``anomaly_folders.spec``; ``defects``: see ``defects_source.spec``;
    ``streets``: see ``streets_source.spec``; ``rooms``: see ``rooms_source.spec``; ``folder/cityscapes`` and its
    like: see ``segmentation_folders.spec``; ``folder/rgbd``: see ``rgbd_folders.spec``.
    ``prior`` is a pose prior or its name.
    Raises ConfigError with the nearest valid names, DataError for a folder that does not fit.
    """
    family, _, kind = name.partition("/")
    _known("data set", name, NAMES)
    _known("tier", tier, TIERS)
    _check_numbers(name, resolution, seed, splits)
    chosen = prior if prior is None or isinstance(prior, PosePrior) else named_prior(prior)
    if family == "folder" and kind not in LAYOUTS:
        if splits:
            raise ConfigError("its splits are taken whole", where=name, remedy="Leave out splits=.")
        reader = next(reader for reader in READERS if kind in reader.OPTIONS)
        return reader.spec(kind, tier=tier, resolution=resolution, prior=chosen, seed=seed, root=root, options=options)
    if family == "defects":
        if chosen is not None:
            raise ConfigError("its images have no camera pose", where=name, remedy="Leave out data.options.prior.")
        return defects_source.spec(tier, resolution, seed, splits or {}, options)
    if family == "streets":
        if chosen is not None:
            raise ConfigError("its images have no camera pose", where=name, remedy="Leave out data.options.prior.")
        return streets_source.spec(tier, resolution, seed, splits or {}, options)
    if family == "rooms":
        if chosen is not None:
            raise ConfigError("its cameras are part of the data", where=name, remedy="Leave out data.options.prior.")
        return rooms_source.spec(tier, resolution, seed, splits or {}, options)
    side = resolution or RESOLUTIONS[tier]
    sides = (16, 32, 64, 128, 256, *((512, 1024) if family == "folder" else ()))
    if side not in sides:
        listed = f"{', '.join(map(str, sides[:-1]))} or {sides[-1]}"
        raise ConfigError(f"resolution {side} is not supported", where=name, remedy=f"Use {listed}.")
    if family == "folder":
        return _folder(name, kind, side, chosen, seed, splits or {}, root, options)
    values: dict[str, Option] = {"light": "camera", "background": "random", "views": VIEWS[tier]}
    for option in options:
        _known(f"option of {name}", option, OBJECT_OPTIONS)
    values |= options
    _known("light", str(values["light"]), LIGHTS)
    _known("background", str(values["background"]), BACKGROUNDS)
    if int(values["views"]) < 1 or any(int(number) < 1 for number in (splits or {}).values()):
        raise ConfigError("sizes of splits and views must be at least 1", where=name)
    numbers = sizes(tier, len(CLASSES[kind].factors), int(values["views"]))
    for split, number in (splits or {}).items():
        _known("split", split, tuple(numbers))
        numbers[split] = int(number)
    return DataSpec(
        name=name,
        resolution=side,
        splits=numbers,
        prior=chosen or named_prior(DEFAULT_PRIORS[kind]),
        options=values,
        version=VERSION,
        seed=seed,
    )


def _folder(
    name: str,
    kind: str,
    resolution: int,
    prior: PosePrior | None,
    seed: int,
    limits: Mapping[str, int],
    root: str | Path | None,
    options: Mapping[str, Option],
) -> DataSpec:
    root = given_root(root, name)
    layout = LAYOUTS[kind]
    values: dict[str, Option] = {"crop": 0, "filter": "box", "subset": 0, **layout.options}
    for option in options:
        _known(f"option of {name}", option, (*values, "classes"))
    values |= {option: value for option, value in options.items() if option != "classes"}
    _known("filter", str(values["filter"]), tuple(FILTERS))
    if not isinstance(values["crop"], int) or values["crop"] < 0:
        raise ConfigError(
            f"crop={values['crop']} is no number of pixels", where=name, remedy="0 is the largest square."
        )
    listing = list_layout(kind, Path(root), values, seed)
    classes = len(listing.category_names) if len(set(listing.categories.values())) > 1 else 0
    if options.get("classes", classes) != classes:
        raise ConfigError(f"classes={options['classes']}, but its images are of {classes} classes", where=name)
    values |= {"classes": classes} if classes else {}
    numbers = {split: len(files) for split, files in listing.splits.items()}
    for split, number in limits.items():
        _known("split", split, tuple(numbers))
        if not 1 <= int(number) <= numbers[split]:
            raise ConfigError(f"{number} rows of split {split}, which has {numbers[split]}", where=name)
        numbers[split] = int(number)
    files = [path for split in listing.splits.values() for path in split]
    return DataSpec(
        name=name,
        resolution=resolution,
        splits=numbers,
        prior=prior or (named_prior(layout.prior) if layout.prior else None),
        options=values,
        version=VERSION,
        seed=seed,
        root=root,
        content=folder_digest(Path(root), files, listing.labels()),
    )


def _check_numbers(name: str, resolution: object, seed: object, splits: object) -> None:
    """What a command line may hold in these places; whether the data set supports it is its own question."""
    if resolution is not None and not _whole(resolution, 1):
        raise ConfigError(f"resolution {resolution} is not supported", where=name, remedy="Give a number of pixels.")
    if not _whole(seed, 0):
        raise ConfigError(f"seed={seed} is no seed", where=name, remedy="Give a whole number from 0.")
    counts = list(splits.values()) if isinstance(splits, Mapping) else [] if splits is None else [splits]
    if not all(_whole(count, 1) for count in counts) or not isinstance(splits, Mapping | None):
        raise ConfigError(
            f"splits={splits} says no numbers of rows", where=name, remedy="Write data.options.splits.train=100."
        )


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _known(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        near = get_close_matches(value, known, n=2)
        raise ConfigError(f"unknown {what} '{value}'", nearest=near, remedy=f"Known: {', '.join(known)}.")
