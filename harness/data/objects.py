"""Family ``objects``: from the address of a sample to its record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from harness.data import backgrounds, objects_car, objects_chair, objects_creature, objects_head, shading
from harness.data.factors import FACTOR_GROUPS, Factor, units, values, widened
from harness.data.randomness import Group, stream
from harness.data.solids import Solid, lopsided, with_hat
from harness.data.splits import ALTERATIONS, SPLIT_IDS, Alteration
from harness.data.textures import encode
from harness.types import DataSpec, PosePrior

Record = dict[str, NDArray]
VISIBLE = 0.02  # depth tolerance of a visible keypoint: 1 % of the object's diameter


@dataclass(frozen=True)
class ObjectClass:
    """A class of objects: what varies, which parts and keypoints there are, and how one is built."""

    name: str
    factors: tuple[Factor, ...]
    parts: tuple[str, ...]
    keypoints: tuple[str, ...]
    mirror: tuple[int, ...]
    build: Callable[[Mapping[str, float], np.random.Generator], Solid]


def _class(name: str, module: ModuleType) -> ObjectClass:
    return ObjectClass(name, module.FACTORS, module.PARTS, module.KEYPOINTS, module.MIRROR, module.build)


CLASSES: dict[str, ObjectClass] = {
    "car": _class("car", objects_car),
    "head": _class("head", objects_head),
    "creature": _class("creature", objects_creature),
    "chair": _class("chair", objects_chair),
}


@dataclass(frozen=True)
class Scenario:
    """Everything that determines one sample, before any geometry: factor values, camera, light and background."""

    factors: Mapping[str, float]
    azimuth: float
    elevation: float
    radius: float
    view: shading.View
    light: shading.Light
    tint: NDArray[np.float32]
    background: NDArray[np.float32]
    noise: float
    identity: int
    number: int
    pair_factor: int


def class_of(spec: DataSpec) -> ObjectClass:
    """The object class named by ``spec.name``."""
    return CLASSES[spec.name.split("/", 1)[1]]


def streams(spec: DataSpec, split: str, identity: int) -> Callable[[Group], np.random.Generator]:
    """The random streams of one identity of a split, by factor group."""
    kind = class_of(spec).name
    return lambda group: stream(spec.seed, "objects", int(spec.version), kind, SPLIT_IDS[split], identity, group)


def factor_units(spec: DataSpec, split: str, index: int) -> tuple[dict[str, float], int]:
    """Uniform numbers behind the factors of a sample, and the index of the factor a pair differs in (-1: none).

    Rows 2k and 2k+1 of ``pairs`` share everything but one factor, which cycles through the schema.
    """
    kind, alteration = class_of(spec), ALTERATIONS.get(split, Alteration())
    of = streams(spec, split, _identity(spec, split, index))
    drawn = units(kind.factors, {group: of(group) for group in FACTOR_GROUPS})
    changed = -1
    if split == "pairs":
        changed = (index // 2) % len(kind.factors)
        if index % 2:
            name = kind.factors[changed].name
            drawn[name] = _moved(kind.factors[changed], drawn[name], of("variation"))
    if alteration.widen:
        for factor in kind.factors:
            if factor.group == "shape" and factor.kind == "linear":
                drawn[factor.name] = widened(drawn[factor.name], alteration.widen)
    return drawn, changed


def _moved(factor: Factor, unit: float, generator: np.random.Generator) -> float:
    """Another number for the same factor: a quarter to three quarters of the range away, or another category."""
    if factor.kind != "category":
        return float((unit + generator.uniform(0.25, 0.75)) % 1.0)
    present, edges = int(factor.value(unit)), np.concatenate([[0.0], np.cumsum(factor.weights)])
    other = (present + 1 + int(generator.integers(len(factor.weights) - 1))) % len(factor.weights)
    return float((edges[other] + edges[other + 1]) / 2)


def _identity(spec: DataSpec, split: str, index: int) -> int:
    return index // int(spec.options["views"]) if split == "multiview" else index // 2 if split == "pairs" else index


def camera_matrix(azimuth: float, elevation: float, radius: float) -> NDArray[np.float64]:
    """``cam2world`` [4,4] of a camera on the sphere that looks at the origin; equals ``harness.cameras.look_at``."""
    sin_a, cos_a, sin_e, cos_e = np.sin(azimuth), np.cos(azimuth), np.sin(elevation), np.cos(elevation)
    backward = np.array([sin_a * cos_e, sin_e, cos_a * cos_e])
    matrix = np.eye(4)
    matrix[:3, 0] = cos_a, 0.0, -sin_a
    matrix[:3, 1] = sin_a * sin_e, -cos_e, cos_a * sin_e
    matrix[:3, 2], matrix[:3, 3] = -backward, radius * backward
    return matrix


def draw_angles(prior: PosePrior, generator: np.random.Generator) -> tuple[float, float]:
    """Azimuth in [-pi, pi) and elevation drawn from ``prior``."""
    if prior.kind == "gauss":
        first, second = np.clip(generator.normal(size=2), -2.5, 2.5)
    else:
        first, second = generator.uniform(-1, 1, 2)
    elevation = prior.elevation[0] + prior.elevation[1] * second
    if prior.kind == "area":
        low, high = np.sin(prior.elevation[0] - prior.elevation[1]), np.sin(prior.elevation[0] + prior.elevation[1])
        elevation = np.arcsin(low + (high - low) * (second + 1) / 2)
    azimuth = prior.azimuth[0] + prior.azimuth[1] * first
    return float((azimuth + np.pi) % (2 * np.pi) - np.pi), float(elevation)


def grid_angles(prior: PosePrior, views: int, number: int) -> tuple[float, float]:
    """Pose ``number`` of a multi-view grid of ``views``.

    All-round priors get 12 azimuths by elevations from 0 to 20 degrees, frontal ones 6 azimuths by elevations inside
    the prior (within two standard deviations where it is Gaussian).
    """
    round_about = prior.azimuth[1] >= np.pi - 1e-6
    columns = min(views, 12 if round_about and views >= 12 else 6)
    rows = -(-views // columns)
    row, column = divmod(number, columns)
    if round_about:
        return -np.pi + 2 * np.pi * column / columns, np.radians(20) * row / max(rows - 1, 1)
    reach = 2.0 if prior.kind == "gauss" else 1.0
    across = 2 * column / max(columns - 1, 1) - 1
    upward = 2 * row / (rows - 1) - 1 if rows > 1 else 0.0
    return prior.azimuth[0] + reach * prior.azimuth[1] * across, prior.elevation[0] + reach * prior.elevation[
        1
    ] * upward


def scenario(spec: DataSpec, split: str, index: int, angles: tuple[float, float] | None = None) -> Scenario:
    """Draw one sample's factors, pose, light and background; each group has its own random stream.

    ``angles`` replaces azimuth and elevation.
    """
    alteration = ALTERATIONS.get(split, Alteration())
    prior, identity = spec.prior, _identity(spec, split, index)
    assert prior is not None
    of = streams(spec, split, identity)
    drawn, changed = factor_units(spec, split, index)
    pose, light = of("pose"), of("light")
    if split == "multiview":
        views = int(spec.options["views"])
        number = index % views
        azimuth, elevation = grid_angles(prior, views, number)
    else:
        number = index % 2 if split == "pairs" else 0
        azimuth, elevation = draw_angles(prior, pose)
    azimuth, elevation = angles or (azimuth, elevation)
    radius = prior.radius * pose.uniform(*alteration.radius)
    centre = 0.5 + pose.uniform(-alteration.shift, alteration.shift, 2)
    view = shading.View(camera_matrix(azimuth, elevation, radius), prior.fov, (float(centre[0]), float(centre[1])))
    side = shading.master_side(spec.resolution)
    kinds = alteration.backgrounds or (backgrounds.RANDOM if spec.options["background"] == "random" else ())
    horizon = 0.5 - view.focal * float(np.tan(elevation))
    behind = backgrounds.draw(of("background"), side, kinds, horizon) if kinds else backgrounds.sky(side)
    tint = light.uniform(1 - alteration.tint, 1 + alteration.tint, 3).astype(np.float32)
    return Scenario(
        factors=values(class_of(spec).factors, drawn),
        azimuth=azimuth,
        elevation=elevation,
        radius=radius,
        view=view,
        light=_light(str(spec.options["light"]), light, alteration, azimuth),
        tint=tint,
        background=behind,
        noise=alteration.noise,
        identity=identity if split != "pairs" else index,
        number=number,
        pair_factor=changed,
    )


def _light(mode: str, generator: np.random.Generator, alteration: Alteration, azimuth: float) -> shading.Light:
    """A light of one of the modes ``camera`` (follows the camera's azimuth), ``world`` and ``albedo`` (unlit)."""
    around = generator.uniform(-alteration.light_span, alteration.light_span) + (azimuth if mode == "camera" else 0.0)
    height = generator.uniform(np.radians(20), np.radians(63))
    ambient = float(generator.uniform(*alteration.ambient))
    direction = np.array([np.sin(around) * np.cos(height), np.sin(height), np.cos(around) * np.cos(height)])
    if mode == "albedo":
        return shading.Light(direction, 1.0, None)
    return shading.Light(direction, ambient, 1.12 - ambient)


def build_solid(spec: DataSpec, split: str, index: int) -> Solid:
    """The geometry and paint of a sample; equal for all views of one identity."""
    identity = _identity(spec, split, index)
    drawn, _ = factor_units(spec, split, index)
    of = streams(spec, split, identity)
    kind, alteration = class_of(spec), ALTERATIONS.get(split, Alteration())
    solid = kind.build(values(kind.factors, drawn), of("texture"))
    if alteration.accessory:
        solid = with_hat(solid, len(kind.parts), of("variation"))
    if alteration.asymmetric:
        solid = lopsided(solid, of("variation"))
    return solid


def sample(
    spec: DataSpec,
    split: str,
    index: int,
    fields: Collection[str],
    *,
    solid: Solid | None = None,
    angles: tuple[float, float] | None = None,
) -> Record:
    """Render sample ``index`` of ``split``: a record with the wanted ``fields`` in their declared types.

    ``solid`` saves rebuilding the object when several views of one identity are rendered; ``angles`` replaces the
    pose's azimuth and elevation.
    """
    scene = scenario(spec, split, index, angles)
    solid = solid or build_solid(spec, split, index)
    view, light = scene.view, scene.light
    picture = shading.render(solid, view, light, scene.background, spec.resolution)
    image = encode(picture.colour * scene.tint)
    if scene.noise:
        grain = streams(spec, split, scene.identity)("noise").normal(0, 255 * scene.noise, image.shape)
        image = np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)
    towards = view.cam2world[:3, :3].T @ light.direction
    record: Record = {
        "image": image,
        "label": picture.label,
        "coverage": np.rint(picture.coverage * 255).astype(np.uint8),
        "depth": picture.depth,
        "normal": picture.normal,
        "albedo": np.rint(np.clip(picture.albedo, 0, 1) * 255).astype(np.uint8),
        "cam2world": view.cam2world.astype(np.float32),
        "K": view.intrinsics,
        "pose": np.array([scene.azimuth, scene.elevation, scene.radius], np.float32),
        "light": np.array([*towards, light.ambient, light.diffuse or 0.0], np.float32),
        "factors": np.array(list(scene.factors.values()), np.float32),
        "identity": np.array(scene.identity, np.int32),
        "view": np.array(scene.number, np.int32),
        "pair_factor": np.array(scene.pair_factor, np.int32),
    }
    if "kp2d" in fields:
        record |= _keypoints(solid, view)
    return {name: record[name] for name in fields}


def _keypoints(solid: Solid, view: shading.View) -> Record:
    """Keypoints moved onto the surface, their projections and their visibility."""
    origin = view.cam2world[:3, 3]
    points = solid.caster.closest(solid.keypoints)
    pixels, depth = view.project(points)
    # Directions whose z component in the camera frame is 1, so that the ray parameter is z-depth.
    hits = solid.caster.cast(origin.astype(np.float32), ((points - origin) / depth[:, None]).astype(np.float32))
    nearest = np.full(len(depth), np.inf, np.float32)
    nearest[hits.ray] = hits.distance
    visible = (nearest >= depth - VISIBLE).astype(np.uint8)
    return {"kp3d": points, "kp2d": pixels, "kp_vis": visible}


def samples(spec: DataSpec, split: str, first: int, count: int, fields: Collection[str]) -> dict[str, NDArray]:
    """Records ``first`` to ``first + count`` stacked field by field: the same bytes as ``sample`` one at a time."""
    rows: list[Record] = []
    known: tuple[int, Solid] | None = None
    for index in range(first, first + count):
        identity = _identity(spec, split, index)
        if split != "multiview":
            rows.append(sample(spec, split, index, fields))
            continue
        if known is None or known[0] != identity:
            known = identity, build_solid(spec, split, index)
        rows.append(sample(spec, split, index, fields, solid=known[1]))
    return {name: np.stack([row[name] for row in rows]) for name in fields}
