"""Published anomaly data sets under a folder given by the user: their options, specifications and sources."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from harness.data import cifar10, mvtec_source
from harness.data.listing import given_root
from harness.data.pictures import FILTERS, folder_digest
from harness.data.sources import Source
from harness.types import ConfigError, DataSpec, PosePrior, Tier

VERSION = "1"  # raise it when the rows made of the same files change
OPTIONS: dict[str, dict[str, str]] = {
    "mvtec": {"only": "all", "filter": "bilinear"},
    "cifar10": {"normal": "01234", "anomalies": "equal", "filter": "lanczos"},
}
RESOLUTIONS: dict[str, dict[Tier, int]] = {
    "mvtec": {"smoke": 32, "micro": 64, "small": 128, "paper": 224},
    "cifar10": {"smoke": 32, "micro": 32, "small": 32, "paper": 32},
}
SIDES = (16, 32, 64, 128, 224, 256)


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
    """The specification of ``folder/mvtec`` or ``folder/cifar10``; its option ``categories`` is their number.

    ``mvtec``: ``only`` keeps categories, joined by ``+``; ``filter`` resizes whole pictures to squares. ``cifar10``:
    ``normal`` names the normal classes by digit, ``anomalies`` is ``equal`` (as many as normal test images, drawn by
    the seed) or ``all``. Raises ConfigError with the nearest valid names, DataError for a folder that does not fit.
    """
    name = f"folder/{kind}"
    root = given_root(root, name)
    side = resolution or RESOLUTIONS[kind][tier]
    if side not in SIDES:
        sides = ", ".join(map(str, SIDES))
        raise ConfigError(f"resolution {side} is not supported", where=name, remedy=f"Use one of {sides}.")
    values = dict(OPTIONS[kind])
    for option, value in options.items():
        if option not in values:
            near = get_close_matches(option, values, n=2)
            raise ConfigError(
                f"unknown option '{option}'", where=name, nearest=near, remedy=f"Known: {', '.join(values)}."
            )
        values[option] = f"{value:05d}" if option == "normal" and isinstance(value, int) and value > 9 else str(value)
    if values["filter"] not in FILTERS:
        raise ConfigError(f"unknown filter '{values['filter']}'", where=name, remedy=f"Known: {', '.join(FILTERS)}.")
    place = Path(root)
    if kind == "mvtec":
        splits, categories, files = mvtec_source.contents(place, values)
    else:
        cifar10.check_options(values)
        splits, categories, files = cifar10.contents(place, values, seed)
    return DataSpec(
        name=name,
        resolution=side,
        splits=splits,
        prior=prior,
        options={**values, "categories": categories},
        version=VERSION,
        seed=seed,
        root=root,
        content=folder_digest(place, files),
    )


def open_source(spec: DataSpec) -> Source:
    """The source of such a specification."""
    return mvtec_source.MvtecSource(spec) if spec.name == "folder/mvtec" else cifar10.Cifar10Source(spec)
