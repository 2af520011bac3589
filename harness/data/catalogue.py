"""Names of data sets and their specifications."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from harness.data.objects import CLASSES
from harness.data.splits import RESOLUTIONS, TIERS, VIEWS, sizes
from harness.priors import named_prior
from harness.types import ConfigError, DataSpec, PosePrior, Tier

VERSION = "1"  # of the procedural family: raise it when a recipe changes the pictures
LIGHTS = ("camera", "world", "albedo")
BACKGROUNDS = ("random", "sky")
DEFAULT_PRIORS = {"head": "wide60", "creature": "wide60", "car": "ring", "chair": "ring"}
NAMES = tuple(f"objects/{name}" for name in CLASSES)


def spec(
    name: str,
    *,
    tier: Tier = "micro",
    resolution: int | None = None,
    prior: str | PosePrior | None = None,
    light: str = "camera",
    background: str = "random",
    views: int | None = None,
    seed: int = 0,
    splits: Mapping[str, int] | None = None,
    **options: object,
) -> DataSpec:
    """The specification of data set ``name`` at a tier.

    ``objects/<class>``: ``prior`` is a pose prior or its name, ``light`` one of camera, world, albedo, ``background``
    random or sky, ``views`` the number of views per identity in ``multiview``; ``splits`` replaces the number of rows
    of some splits. Raises ConfigError with the nearest valid names.
    """
    family, _, kind = name.partition("/")
    if family != "objects" or kind not in CLASSES:
        raise _unknown("data set", name, NAMES)
    if options:
        raise _unknown(
            f"option of {name}", next(iter(options)), ("prior", "light", "background", "views", "seed", "resolution")
        )
    return _objects(kind, tier, resolution, prior, light, background, views, seed, splits or {})


def _objects(
    kind: str,
    tier: Tier,
    resolution: int | None,
    prior: str | PosePrior | None,
    light: str,
    background: str,
    views: int | None,
    seed: int,
    rows: Mapping[str, int],
) -> DataSpec:
    for what, value, known in (
        ("light", light, LIGHTS),
        ("background", background, BACKGROUNDS),
        ("tier", tier, TIERS),
    ):
        if value not in known:
            raise _unknown(what, str(value), known)
    count = views or VIEWS[tier]
    numbers = sizes(tier, len(CLASSES[kind].factors), count)
    for split, number in rows.items():
        if split not in numbers:
            raise _unknown("split", split, tuple(numbers))
        numbers[split] = int(number)
    chosen = prior or DEFAULT_PRIORS[kind]
    return DataSpec(
        name=f"objects/{kind}",
        resolution=resolution or RESOLUTIONS[tier],
        splits=numbers,
        prior=chosen if isinstance(chosen, PosePrior) else named_prior(chosen),
        options={"light": light, "background": background, "views": count},
        version=VERSION,
        seed=seed,
    )


def _unknown(what: str, value: str, known: tuple[str, ...]) -> ConfigError:
    return ConfigError(
        f"unknown {what} '{value}'", nearest=get_close_matches(value, known, n=2), remedy=f"Known: {', '.join(known)}."
    )
