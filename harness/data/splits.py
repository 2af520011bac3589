"""Splits of the procedural families: frozen ids, sizes per tier, stored fields and what a split alters."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians

from harness.data.fields import Storage
from harness.types import Tier

# Frozen: part of every random key. Add at the end, never renumber.
SPLIT_IDS: dict[str, int] = {
    "train": 1,
    "val": 2,
    "test": 3,
    "oracle": 4,
    "multiview": 5,
    "pairs": 6,
    "labelled": 7,
    "domainB": 8,
    "domainC": 9,
    "ood_accessory": 10,
    "ood_shift": 11,
    "ood_background": 12,
    "ood_asymmetric": 13,
}
CORE = ("train", "val", "test", "oracle", "multiview")  # what `data build` makes unless told otherwise
VIEWS: dict[Tier, int] = {"smoke": 6, "micro": 24, "small": 24, "paper": 24}
RESOLUTIONS: dict[Tier, int] = {"smoke": 32, "micro": 32, "small": 64, "paper": 128}
_OOD: dict[Tier, int] = {"smoke": 8, "micro": 128, "small": 256, "paper": 256}
_ROWS: dict[str, tuple[int, int, int, int]] = {  # smoke, micro, small, paper
    "train": (64, 8192, 20480, 50000),
    "val": (16, 1024, 2048, 2048),
    "test": (32, 2048, 2048, 10000),
    "oracle": (64, 4096, 8192, 20480),
    "labelled": (4, 32, 32, 32),
    "domainB": (8, 256, 512, 512),
    "domainC": (8, 256, 512, 512),
}
_IDENTITIES: dict[Tier, int] = {"smoke": 4, "micro": 64, "small": 256, "paper": 256}
_PAIRS: dict[Tier, int] = {"smoke": 1, "micro": 256, "small": 512, "paper": 512}  # per factor
TIERS: tuple[Tier, ...] = ("smoke", "micro", "small", "paper")


def sizes(tier: Tier, factors: int, views: int) -> dict[str, int]:
    """Rows per split of one class with ``factors`` factors; a pair has two rows, an identity ``views`` rows."""
    column = TIERS.index(tier)
    rows = {name: counts[column] for name, counts in _ROWS.items()}
    rows["multiview"] = _IDENTITIES[tier] * views
    rows["pairs"] = 2 * _PAIRS[tier] * factors
    rows |= {name: _OOD[tier] for name in SPLIT_IDS if name.startswith("ood_")}
    return {name: rows[name] for name in SPLIT_IDS}


_ALWAYS = ("image", "cam2world", "K", "pose", "light", "factors", "identity", "view")
_SINGLE = ("label", "coverage", "depth")
_POINTS = ("kp3d", "kp2d", "kp_vis")


def stored(split: str) -> dict[str, Storage]:
    """Fields kept on disk for ``split`` and how: training splits hold depth in half precision and no normals."""
    if split in ("train", "val"):
        return {**dict.fromkeys((*_ALWAYS, "label", "coverage"), "plain"), "depth": "half"}
    if split == "oracle":
        return dict.fromkeys((*_ALWAYS, *_SINGLE), "plain")
    if split == "test":
        return dict.fromkeys((*_ALWAYS, *_SINGLE, *_POINTS), "plain")
    if split == "pairs":
        return dict.fromkeys((*_ALWAYS, "label", "pair_factor"), "plain")
    return dict.fromkeys((*_ALWAYS, *_SINGLE, *_POINTS, "normal", "albedo"), "plain")


@dataclass(frozen=True)
class Alteration:
    """How a split departs from the training distribution; the default departs in nothing.

    ``radius`` scales the camera distance; ``widen`` moves every linear shape factor outside its range by up to this
    share; ``tint`` is the spread of the light's colour; ``noise`` the standard deviation of sensor noise (encoded
    units); ``shift`` moves the principal point by up to this share of the frame.
    """

    backgrounds: tuple[str, ...] = ()
    widen: float = 0.0
    radius: tuple[float, float] = (1.0, 1.0)
    ambient: tuple[float, float] = (0.35, 0.60)
    light_span: float = radians(70)
    tint: float = 0.0
    noise: float = 0.0
    shift: float = 0.0
    accessory: bool = False
    asymmetric: bool = False


# The near radius is 0.95 and not 0.8: with 0.8 an object could be cut off at the border.
_DOMAIN_B = Alteration(("ground", "noise"), 0.0, (0.95, 1.2), (0.20, 0.40), radians(110), 0.25, 0.02)
ALTERATIONS: dict[str, Alteration] = {
    "domainB": _DOMAIN_B,
    "domainC": Alteration(("ground", "noise"), 0.25, (0.95, 1.2), (0.20, 0.40), radians(110), 0.25, 0.02),
    "ood_accessory": Alteration(accessory=True),
    "ood_shift": Alteration(radius=(1.25, 1.25), shift=0.125),
    "ood_background": Alteration(("checker",)),
    "ood_asymmetric": Alteration(asymmetric=True),
}
