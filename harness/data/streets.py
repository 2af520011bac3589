"""Procedural family ``streets``: street scenes with dense labels, exact depth and a graded shift of appearance.

Stands in for the pairs of data sets of domain adaptation (games to photographs) and for the partly labelled sets of
semi-supervised segmentation: eight classes with a long tail, things that hide each other, look-alike colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.data.factors import Factor, shape
from harness.data.fields import Array
from harness.data.streets_cars import BANK, HALF_LENGTH, HALF_WIDTH, add_car, bank_car
from harness.data.streets_domain import photograph
from harness.data.streets_people import add_person
from harness.data.streets_pieces import Pieces
from harness.data.streets_render import Eye, Picture, Weather, look, render
from harness.data.streets_scene import CAR, KERB, PERSON, SKY, Street, add_street
from harness.data.textures import Waves
from harness.types import DataError, DataSpec

VERSION = "1"  # raise it when a recipe changes the pictures
CLASSES = ("road", "sidewalk", "building", "sign", "vegetation", "sky", "person", "car")
PALETTE = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (220, 220, 0), (107, 142, 35), (70, 130, 180), (220, 20, 60),
    (0, 0, 142),
)  # fmt: skip
IGNORE = 255
BORDER = 0.12  # share of the pixels on a border between classes that are to be ignored
ENOUGH = 12  # pixels of a class, of 48 x 96, that count as showing it
FIRST = 4  # images at the head of the training list of setting ssl that show every class
FACTORS = (
    shape("half_road", 2.8, 4.2),
    shape("people", 3, 6),
    shape("cars", 1, 4),
    Factor("camera_x", "articulation", -1.2, 1.2),
    Factor("camera_height", "articulation", 1.35, 1.75),
    Factor("yaw", "articulation", -0.18, 0.18),
    Factor("pitch", "articulation", -0.04, 0.08),
    Factor("sun_azimuth", "appearance", -np.pi, np.pi, "circular"),
    Factor("sun_height", "appearance", 0.5, 1.2),
    Factor("shift", "appearance", 0.0, 1.0),
)

Group = Literal["layout", "people", "cars", "camera", "light", "texture", "shift", "border", "bank"]
# Frozen integers: a stored data set depends on them. Add names at the end, never change a number.
FAMILY_ID = 3
GROUP_IDS: dict[Group, int] = {
    "layout": 1, "people": 2, "cars": 3, "camera": 4, "light": 5, "texture": 6, "shift": 7, "border": 8, "bank": 9,
}  # fmt: skip
LIST_IDS = {
    "source": 1, "target_train": 2, "target_val": 3, "target_test": 4, "ssl_train": 5, "ssl_val": 6, "ssl_test": 7,
}  # fmt: skip
_LISTS = {
    "uda": {"labelled": "source", "unlabelled": "target_train", "val": "target_val", "test": "target_test"},
    "ssl": {"labelled": "ssl_train", "unlabelled": "ssl_train", "val": "ssl_val", "test": "ssl_test"},
}


@dataclass(frozen=True)
class Address:
    """Which scene a row shows: number ``index`` of a list of scenes under the master ``seed``."""

    seed: int
    version: int
    list: str
    index: int


def address(spec: DataSpec, split: str, row: int) -> Address:
    """The scene of a row; raises DataError for a row that the split does not have.

    The labelled and the unlabelled rows of setting ssl are the head and the rest of one list, see ``training_order``.
    """
    if split not in spec.splits or not 0 <= row < spec.splits[split]:
        raise DataError(f"no row {row} in split '{split}'", where=spec.name)
    setting, version, index = str(spec.options["setting"]), int(spec.version), row
    if setting == "ssl" and split in ("labelled", "unlabelled"):
        size = spec.splits["labelled"] + spec.splits["unlabelled"]
        place = row + (spec.splits["labelled"] if split == "unlabelled" else 0)
        index = training_order(spec.seed, version, size)[place]
    return Address(spec.seed, version, _LISTS[setting][split], index)


@lru_cache(maxsize=8)
def training_order(seed: int, version: int, size: int) -> tuple[int, ...]:
    """The order of the training list of setting ssl, so that its prefixes are nested label budgets.

    The first four scenes with at least 12 pixels (of 48 x 96) of every class come first, all others follow as drawn:
    every prefix of at least one image shows every class, at every resolution and under every shift.
    """
    head: list[int] = []
    for index in range(size):
        label = _rendered(Address(seed, version, "ssl_train", index), 0.0, 48)[0].label
        if np.bincount(label.ravel(), minlength=len(CLASSES)).min() >= ENOUGH:
            head.append(index)
        if len(head) == FIRST:
            break
    return (*head, *(index for index in range(size) if index not in head))


def stream(place: Address, group: Group) -> np.random.Generator:
    """The Philox stream of one factor group of one scene.

    The 128-bit key holds the master seed and the packed ids (8 bits family, 8 version, 16 list, 16 group); the
    counter's upper word holds the index. The shift has a stream of its own: a scene is the same under every shift.
    """
    key, counter = np.array(_key(place, group), np.uint64), np.array([0, 0, 0, place.index], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def _key(place: Address, group: Group) -> tuple[int, int]:
    packed = FAMILY_ID << 56 | (place.version & 0xFF) << 48 | LIST_IDS[place.list] << 16 | GROUP_IDS[group]
    return place.seed & 0xFFFFFFFFFFFFFFFF, packed


def class_names(spec: DataSpec) -> tuple[str, ...]:
    """Names of the train-ids; with 7 classes the sidewalk is part of the road."""
    return tuple(name for name in CLASSES if name != "sidewalk" or spec.options["classes"] == len(CLASSES))


def palette(spec: DataSpec) -> tuple[tuple[int, int, int], ...]:
    """Colour per train-id (those of Cityscapes)."""
    return tuple(PALETTE[CLASSES.index(name)] for name in class_names(spec))


def sample(spec: DataSpec, split: str, row: int) -> dict[str, Array]:
    """One row with all its fields: ``image`` uint8 [H,2H,3]; ``label`` uint8 [H,2H], 255 = ignore; ``depth`` float32
    [H,2H] (metres, 0 = sky); ``instance`` uint8 [H,2H] (0 = no person or car); ``factors`` float32 [F]."""
    place, rows = address(spec, split, row), spec.resolution
    source = spec.options["setting"] == "uda" and split == "labelled"
    picture, factors = _rendered(place, 0.0 if source else float(spec.options["layout_shift"]), rows)
    appearance = stream(place, "shift")
    draw, most = float(appearance.random()), float(spec.options["shift"])
    shift = 0.0 if source else most if spec.options["setting"] == "uda" else most * draw
    label = picture.label
    if spec.options["classes"] != len(CLASSES):
        label = np.where(label > 0, label - 1, label).astype(np.uint8)
    return {
        "image": photograph(picture.colour, picture.depth, rows, shift, appearance),
        "label": _with_border(label, stream(place, "border")),
        "depth": picture.centre_depth,
        "instance": picture.instance,
        "factors": np.array([*factors, shift], np.float32),
    }


def samples(spec: DataSpec, split: str, first: int, count: int, fields: Sequence[str]) -> dict[str, Array]:
    """Rows ``first`` to ``first + count``: the named ``fields`` with one row per sample."""
    rows = [sample(spec, split, row) for row in range(first, first + count)]
    return {name: np.stack([row[name] for row in rows]) for name in fields}


def _rendered(place: Address, layout_shift: float, rows: int) -> tuple[Picture, tuple[float, ...]]:
    """The scene before any shift of appearance, and its factors but the last."""
    pieces = Pieces()
    street = add_street(pieces, stream(place, "layout"), layout_shift)
    cars = _add_cars(pieces, street, place, layout_shift)
    people = _add_people(pieces, street, place, cars)
    camera, light = stream(place, "camera"), stream(place, "light")
    eye, pose = _eye(camera)
    weather, sun = _weather(light)
    picture = render(pieces, eye, weather, stream(place, "texture"), SKY, rows)
    return picture, (street.half_road, people, len(cars), *pose, *sun)


def _eye(generator: np.random.Generator) -> tuple[Eye, tuple[float, float, float, float]]:
    x, height = float(generator.uniform(-1.2, 1.2)), float(generator.uniform(1.35, 1.75))
    yaw, pitch = float(generator.normal(0, 0.06)), float(generator.normal(0.02, 0.02))
    return look(np.array([x, height, 0.0]), yaw, pitch), (x, height, yaw, pitch)


def _weather(generator: np.random.Generator) -> tuple[Weather, tuple[float, float]]:
    azimuth, height = float(generator.uniform(-np.pi, np.pi)), float(generator.uniform(0.5, 1.2))
    direction = [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
    hue, cover = float(generator.normal(0.58, 0.02)), float(generator.uniform(-0.1, 0.35))
    weather = Weather(np.array(direction, np.float32), hue, Waves(generator, 0.25, 1.4, 8), cover)
    return weather, (azimuth, height)


def _add_cars(pieces: Pieces, street: Street, place: Address, layout_shift: float) -> list[tuple[float, float]]:
    """Parked and driving cars that keep their distance; returns where they are (x, z)."""
    generator = stream(place, "cars")
    placed: list[tuple[float, float]] = []
    for _ in range(int(generator.integers(1, 5)) + round(3 * layout_shift)):
        side, parked = (-1, 1)[int(generator.integers(2))], generator.random() < 0.5
        x = side * (street.half_road - 1.1 if parked else street.half_road * 0.45)
        z, turn, number = -float(generator.uniform(6, 15)), generator.normal(0, 0.04), int(generator.integers(BANK))
        if any(abs(z - other_z) < 5.4 and abs(x - other_x) < 2.1 for other_x, other_z in placed):
            continue
        placed.append((x, z))
        solid = bank_car(_key(place, "bank"), number)
        add_car(pieces, CAR, 100 + len(placed), solid, x, z, (np.pi if side > 0 else 0.0) + float(turn))
    return placed


def _add_people(pieces: Pieces, street: Street, place: Address, cars: list[tuple[float, float]]) -> int:
    """People on the pavements and some on the road, not inside cars; returns how many."""
    generator, count = stream(place, "people"), 0
    for _ in range(int(generator.integers(3, 7))):
        walking, side = generator.random() < 0.65, (-1, 1)[int(generator.integers(2))]
        along, ahead = float(generator.random()), -float(generator.uniform(4.0, 6.8))
        x = side * (street.half_road + 0.3 + 1.6 * along) if walking else (2 * along - 1) * street.half_road
        ahead = min(ahead, -abs(x) / 0.75)  # inside the frame of a camera that looks straight ahead
        if any(abs(ahead - z) < HALF_LENGTH + 0.4 and abs(x - at) < HALF_WIDTH + 0.4 for at, z in cars):
            continue
        count += 1
        add_person(pieces, PERSON, count, x, ahead, KERB if walking else 0.0, generator)
    return count


def _with_border(label: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """``label`` with a share of the pixels whose left or upper neighbour has another class set to 255."""
    edge = np.zeros(label.shape, bool)
    edge[:, 1:] |= label[:, 1:] != label[:, :-1]
    edge[1:] |= label[1:] != label[:-1]
    return np.where(edge & (generator.random(label.shape) < BORDER), np.uint8(IGNORE), label)
