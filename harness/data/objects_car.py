"""Class ``car``: lofted body and cabin on four wheels; doors, windows, lamps and plates are painted parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data import meshes
from harness.data.factors import Factor, choice, shape
from harness.data.meshes import Array
from harness.data.solids import Assembly, Float, Solid, Surface
from harness.data.textures import hsv

PARTS = (
    "background", "body", "window", "windshield", "wheel", "hub", "head_light", "tail_light", "plate", "mirror",
    "bumper", "door",
)  # fmt: skip
BODY, WINDOW, WINDSHIELD, WHEEL, HUB, HEAD_LIGHT, TAIL_LIGHT, PLATE, MIRROR_PART, BUMPER, DOOR = range(1, 12)
CABIN = 12  # of the geometry only: painted as body, window and windshield
KEYPOINTS = (
    "left_front_wheel", "right_front_wheel", "left_rear_wheel", "right_rear_wheel",
    "left_head_light", "right_head_light", "left_tail_light", "right_tail_light",
    "left_front_roof", "right_front_roof", "left_rear_roof", "right_rear_roof",
    "left_windshield", "right_windshield", "left_mirror", "right_mirror",
    "front_plate", "rear_plate",
)  # fmt: skip
MIRROR = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14, 16, 17)

SEDAN, HATCH, VAN, PICKUP = range(4)
FACTORS: tuple[Factor, ...] = (
    choice("body_style", "shape", 0.25, 0.25, 0.25, 0.25),
    shape("half_length", 0.85, 1.05),
    shape("half_width", 0.38, 0.47),
    shape("ride_height", 0.07, 0.13),
    shape("body_height", 0.25, 0.34),
    shape("cabin_height", 0.23, 0.34),
    shape("cabin_front_base", -0.06, 0.06),
    shape("cabin_front_roof", -0.06, 0.04),
    shape("cabin_rear_roof", -0.05, 0.06),
    shape("bonnet_drop", 0.74, 0.96),
    shape("boot_height", 0.92, 1.0),
    shape("tumblehome", 0.18, 0.30),
    shape("wheel_radius", 0.145, 0.19),
    shape("front_axle", 0.56, 0.66),
    shape("rear_axle", 0.54, 0.66),
    choice("paint_kind", "appearance", 0.25, 0.75),  # grey, coloured
    Factor("paint_hue", "appearance", kind="circular"),
    Factor("paint_saturation", "appearance", 0.60, 0.90),
    Factor("paint_value", "appearance", 0.35, 0.95),
    choice("roof", "appearance", 0.7, 0.3),  # as the body, contrasting
    Factor("second_hue", "appearance", 0.25, 0.75),
    choice("pattern", "appearance", 1 / 3, 1 / 3, 1 / 3),  # plain, bonnet stripe, two-tone
    Factor("stripe_width", "appearance", 0.20, 0.40),
    Factor("glass_value", "appearance", 0.12, 0.30),
    Factor("rim_value", "appearance", 0.55, 0.90),
    choice("bumper", "appearance", 0.5, 0.5),  # painted, black
)
PLAIN, STRIPE, TWO_TONE = range(3)

# Per style: height of the boot over that of the waist; cabin heights; z of base and roof corners over half length.
_BOOT = (0.86, 0.95, 1.0, 0.80)
_CABIN_HEIGHT = (1.0, 1.05, 1.35, 1.1)
_FRONT = ((0.42, 0.05), (0.44, 0.10), (0.62, 0.36), (0.36, 0.08))
_REAR = ((-0.72, -0.42), (-0.95, -0.78), (-0.98, -0.92), (-0.30, -0.23))


@dataclass(frozen=True)
class Measures:
    """Lengths of one car in builder units; z of the cabin's four profile corners from rear base to front base."""

    length: float
    width: float
    floor: float
    waist: float
    cabin: float
    rear_base: float
    rear_roof: float
    front_roof: float
    front_base: float
    wheel: float
    axles: tuple[float, float]

    @property
    def pillar(self) -> float:
        """z of the pillar between front and rear doors."""
        return 0.5 * (self.rear_roof + self.front_roof) + 0.02


def measures(f: Mapping[str, float]) -> Measures:
    """Lengths that follow from the shape factors."""
    style, length = int(f["body_style"]), f["half_length"]
    front, rear = _FRONT[style], _REAR[style]
    return Measures(
        length=length,
        width=f["half_width"],
        floor=f["ride_height"],
        waist=f["body_height"],
        cabin=f["cabin_height"] * _CABIN_HEIGHT[style],
        rear_base=rear[0] * length,
        rear_roof=(rear[1] + f["cabin_rear_roof"]) * length,
        front_roof=(front[1] + f["cabin_front_roof"]) * length,
        front_base=(front[0] + f["cabin_front_base"]) * length,
        wheel=f["wheel_radius"],
        axles=(f["front_axle"] * length, -f["rear_axle"] * length),
    )


def _softened(profile: Array) -> Array:
    smooth = profile.copy()
    smooth[1:-1] = 0.25 * profile[:-2] + 0.5 * profile[1:-1] + 0.25 * profile[2:]
    return smooth


def build(factors: Mapping[str, float], texture: np.random.Generator) -> Solid:
    """The car with the given factors; wheels stand on y = 0 before framing. ``texture`` is not needed."""
    f, m, assembly = factors, measures(factors), Assembly()
    boot = _BOOT[int(f["body_style"])] * f["boot_height"]
    stations = np.array([-1, -0.97, -0.8, -0.4, 0, 0.35, 0.6, 0.85, 0.96, 1.0])
    bonnet = f["bonnet_drop"]
    top = [0.78, boot, boot, 1, 1, 1, (1 + bonnet) / 2, bonnet * 0.96, bonnet * 0.9, 0.66]
    bottom = [0.25, 0.08, 0, 0, 0, 0, 0, 0, 0.08, 0.22]
    across = [0.88, 0.94, 0.98, 1, 1, 1, 0.98, 0.95, 0.90, 0.80]
    z = np.linspace(-1, 1, 33)
    upper, lower, side = (_softened(np.interp(z, stations, v)) for v in (top, bottom, across))
    middle, half = m.floor + m.waist * (upper + lower) / 2, m.waist * (upper - lower) / 2
    assembly.add(meshes.loft(z * m.length, middle, m.width * side, half, exponent=5.5), BODY)

    corners = np.array([m.rear_base, m.rear_roof, m.front_roof, m.front_base])
    zc = np.interp([0, 0.5, 1, 1.5, 2, 2.5, 3], range(4), corners)
    rise = np.array([0.02, 0.55, 0.97, 1.0, 0.97, 0.55, 0.02])
    along = np.linspace(m.rear_base, m.front_base, 29)
    height = m.cabin * _softened(np.interp(along, zc, rise)) + 0.02
    sill = m.floor + m.waist * 0.93
    waist = np.full(len(along), m.width * 0.95)
    tumblehome = f["tumblehome"]
    cabin = meshes.loft(along, sill + height / 2, waist, height / 2, exponent=7, tumblehome=tumblehome)
    assembly.add(cabin, CABIN)
    points = _add_details(assembly, m, sill)
    roof = m.width * 0.95 * (1 - tumblehome) * 0.9
    for at, y in ((m.front_roof, 0.97), (m.rear_roof, 0.97), (m.front_base - 0.06 * m.length, 0.15)):
        points += [[side * (roof if y > 0.5 else m.width * 0.85), sill + y * m.cabin, at] for side in (1, -1)]
    order = (0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 8, 9, 10, 11)
    return assembly.finish(np.array(points)[list(order)], _Paint(f, m, sill))


def _add_details(assembly: Assembly, m: Measures, sill: float) -> list[list[float]]:
    """Wheels, hubs, mirrors and bumpers; returns wheel, lamp, mirror and plate keypoints."""
    w, points = m.width, []
    for axle in m.axles:
        for side in (1, -1):
            hub = np.array([side * w, m.wheel, axle])
            out = np.array([side, 0.0, 0.0])
            assembly.add(meshes.frustum(hub - out * 0.12, hub + out * 0.02, m.wheel, m.wheel * 0.97, 22), WHEEL)
            assembly.add(meshes.frustum(hub, hub + out * 0.03, m.wheel * 0.62, m.wheel * 0.54, 14), HUB)
            points.append([side * (w + 0.03), m.wheel, axle])
    lamp = m.floor + m.waist * 0.6
    points += [[side * w * x, lamp, z * m.length] for x, z in ((0.64, 0.985), (0.70, -0.985)) for side in (1, -1)]
    mirror_z = m.front_base - 0.2 * m.length
    for side in (1, -1):
        assembly.add(
            meshes.ellipsoid([side * (w + 0.035), sill + 0.06, mirror_z], [0.05, 0.04, 0.03], rows=9, columns=12),
            MIRROR_PART,
        )
        points.append([side * (w + 0.05), sill + 0.06, mirror_z + 0.028])
    low = m.floor + m.waist * 0.22
    for z, share in ((m.length * 0.985, 0.82), (-m.length * 0.985, 0.88)):
        assembly.add(meshes.box([0, low, z], [w * share, 0.04, 0.035]), BUMPER)
        points.append([0.0, m.floor + m.waist * 0.5, z * 1.02])
    return points


class _Paint:
    """Paints doors, windows, lamps, plates, seams and wheel arches onto body and cabin."""

    def __init__(self, f: Mapping[str, float], m: Measures, sill: float) -> None:
        self.f, self.m, self.sill = f, m, sill
        grey = f["paint_kind"] == 0
        self.body = hsv(f["paint_hue"], 0.06 if grey else f["paint_saturation"], f["paint_value"])
        self.second = hsv(f["paint_hue"] + f["second_hue"], 0.75, 0.9)
        self.roof = self.body if f["roof"] == 0 else hsv(f["paint_hue"] + 0.5, 0.3, 0.9)
        self.glass = hsv(0.58, 0.3, f["glass_value"])
        self.bumper = self.body * np.float32(0.55) if f["bumper"] == 0 else np.full(3, 0.14, np.float32)

    def __call__(self, surface: Surface) -> tuple[Float, NDArray[np.uint8]]:
        albedo = np.zeros((len(surface.part), 3), np.float32)
        label = surface.part.copy()
        self._body(surface, albedo, label)
        self._cabin(surface, albedo, label)
        albedo[surface.part == WHEEL] = np.float32(0.055)
        albedo[surface.part == MIRROR_PART] = self.body * np.float32(0.8)
        albedo[surface.part == BUMPER] = self.bumper
        hub = np.flatnonzero(surface.part == HUB)
        disc = surface.canonical[hub]
        spokes = (np.cos(5 * np.arctan2(disc[:, 1], disc[:, 0])) < -0.3) & (np.hypot(disc[:, 0], disc[:, 1]) < 0.85)
        albedo[hub] = np.where(spokes, 0.3, 1.0)[:, None].astype(np.float32) * np.float32(self.f["rim_value"])
        return albedo, label

    def _body(self, surface: Surface, albedo: Float, label: NDArray[np.uint8]) -> None:
        m, f = self.m, self.f
        at = np.flatnonzero(surface.part == BODY)
        x, y, z = np.abs(surface.canonical[at, 0]), surface.canonical[at, 1], surface.canonical[at, 2]
        height = (y - m.floor) / m.waist
        colour = np.broadcast_to(self.body, (len(at), 3)).copy()
        part = np.full(len(at), BODY, np.uint8)
        if f["pattern"] == STRIPE:
            colour[x < f["stripe_width"] * m.width] = self.second
        elif f["pattern"] == TWO_TONE:
            colour[height < 0.45] = self.second
        flank = x > m.width * 0.85
        rear = m.rear_roof * 0.85
        ends = (m.front_base - 0.12 * m.length, m.pillar, rear)
        door = flank & (z > rear) & (z < ends[0]) & (height < 0.95) & (height > 0.12)
        arch = np.zeros(len(at), bool)
        for axle in m.axles:
            arch |= flank & ((z - axle) ** 2 + (y - m.wheel) ** 2 < (m.wheel * 1.1) ** 2)
        part[door & ~arch] = DOOR
        for end in ends:
            colour[flank & (np.abs(z - end) < 0.014) & (height > 0.12)] *= np.float32(0.35)
        colour[flank & (height < 0.12)] *= np.float32(0.45)
        colour[arch] = np.float32(0.04)
        front, back = z > 0.95 * m.length, z < -0.96 * m.length
        for region, new, paint in (
            (front & (x < m.width * 0.45) & (height > 0.34) & (height < 0.66), BODY, (0.06, 0.06, 0.07)),
            (front & (x > m.width * 0.5) & (height > 0.38) & (height < 0.82), HEAD_LIGHT, (1.0, 0.97, 0.80)),
            (back & (x > m.width * 0.55) & (height > 0.40) & (height < 0.85), TAIL_LIGHT, (0.85, 0.05, 0.05)),
            (back & (x < m.width * 0.3) & (height > 0.40) & (height < 0.66), PLATE, (0.95, 0.92, 0.60)),
        ):
            colour[region], part[region] = paint, new
        albedo[at], label[at] = colour, part

    def _cabin(self, surface: Surface, albedo: Float, label: NDArray[np.uint8]) -> None:
        m = self.m
        at = np.flatnonzero(surface.part == CABIN)
        x, z = np.abs(surface.canonical[at, 0]), surface.canonical[at, 2]
        normal = surface.normal[at]
        height = (surface.canonical[at, 1] - self.sill) / m.cabin
        colour = np.broadcast_to(self.body, (len(at), 3)).copy()
        part = np.full(len(at), BODY, np.uint8)
        colour[height > 0.90] = self.roof
        pane = (height > 0.14) & (height < 0.86)
        sideways = np.abs(normal[:, 0]) > 0.72
        slant = np.clip(height, 0, 1)
        behind = m.rear_base + 0.07 + slant * (m.rear_roof - m.rear_base)
        before = m.front_base - 0.09 + slant * (m.front_roof - m.front_base)
        side = pane & sideways & (np.abs(z - m.pillar) > 0.03) & (z > behind) & (z < before)
        if self.f["body_style"] == VAN and self.f["roof"] == 0:
            side &= z > m.pillar  # a panel van
        rounded = pane & ~sideways & (x < m.width * 0.82)
        for region, new, shade in (
            (side, WINDOW, 1.0),
            (rounded & (normal[:, 2] > 0.2), WINDSHIELD, 1.25),
            (rounded & (normal[:, 2] < -0.2), WINDOW, 1.0),
        ):
            colour[region], part[region] = self.glass * np.float32(shade), new
        albedo[at], label[at] = colour, part
