"""Class ``chair``: seat, cushion, one of four backs, legs or a pedestal, optional arms; its genus is above zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.data import meshes
from harness.data.factors import Factor, choice, shape
from harness.data.meshes import Array, Mesh
from harness.data.solids import Assembly, Float, Solid, Surface
from harness.data.textures import Waves, hsv

PARTS = ("background", "seat", "cushion", "back", "leg", "arm")
SEAT, CUSHION, BACK, LEG, ARM = range(1, 6)
KEYPOINTS = (
    "left_front_seat", "right_front_seat", "left_rear_seat", "right_rear_seat",
    "left_front_leg", "right_front_leg", "left_rear_leg", "right_rear_leg",
    "left_back_top", "right_back_top", "left_arm", "right_arm",
)  # fmt: skip
MIRROR = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10)

FACTORS: tuple[Factor, ...] = (
    shape("seat_width", 0.34, 0.48),
    shape("seat_depth", 0.34, 0.46),
    shape("seat_height", 0.42, 0.58),
    shape("seat_thickness", 0.035, 0.08),
    shape("back_height", 0.45, 0.80),
    shape("back_tilt", 0.0, 0.28),
    choice("back_kind", "shape", 0.25, 0.25, 0.25, 0.25),  # panel, ladder, spindles, disc
    shape("back_taper", 0.75, 1.05),
    shape("leg_radius", 0.038, 0.062),
    shape("leg_splay", 0.0, 0.12),
    choice("pedestal", "shape", 0.75, 0.25),
    choice("arms", "shape", 0.55, 0.45),
    choice("cushion", "shape", 0.4, 0.6),
    choice("frame_kind", "appearance", 0.6, 0.4),  # wood, paint
    Factor("wood_hue", "appearance", 0.045, 0.105),
    Factor("wood_saturation", "appearance", 0.35, 0.75),
    Factor("wood_value", "appearance", 0.30, 0.85),
    Factor("paint_hue", "appearance", kind="circular"),
    Factor("paint_value", "appearance", 0.40, 0.95),
    Factor("cloth_hue", "appearance", kind="circular"),
    Factor("cloth_saturation", "appearance", 0.30, 0.80),
    Factor("cloth_value", "appearance", 0.40, 0.95),
    choice("back_cover", "appearance", 0.5, 0.5),  # as the frame, cloth
    choice("pattern", "appearance", 0.4, 0.3, 0.3),  # plain, stripes, blots
)
PANEL, LADDER, SPINDLES, DISC = range(4)
PLAIN, STRIPES, BLOTS = range(3)


def build(factors: Mapping[str, float], texture: np.random.Generator) -> Solid:
    """The chair with the given factors; it stands on y = 0 before framing."""
    f, assembly = factors, Assembly()
    width, depth, seat, thick = f["seat_width"], f["seat_depth"], f["seat_height"], f["seat_thickness"]
    assembly.add(_own(meshes.box([0, seat, 0], [width, thick, depth])), SEAT)
    if f["cushion"]:
        half = np.array([width * 0.92, max(thick, 0.05) * 1.2, depth * 0.9])
        assembly.add(_own(meshes.ellipsoid([0, seat + thick * 0.9, 0.01], half, rows=16, columns=24)), CUSHION)
    feet = _add_pedestal(assembly, seat, f["leg_radius"]) if f["pedestal"] else _add_legs(assembly, f)
    corners = [[x * width, seat + thick, z * depth] for z in (1, -1) for x in (1, -1)]
    hands = _add_arms(assembly, f) if f["arms"] else np.array([[s * width, seat + thick, 0.0] for s in (1, -1)])
    tops = _add_back(assembly, f)
    return assembly.finish(np.concatenate([corners, feet, tops, hands]), _Paint(f, texture))


def _own(mesh: Mesh) -> Mesh:
    return replace(mesh, canonical=mesh.vertices)


def _add_legs(assembly: Assembly, f: Mapping[str, float]) -> Array:
    radius, feet = f["leg_radius"], []
    for forward in (1, -1):
        for side in (1, -1):
            top = np.array([side * (f["seat_width"] - radius), f["seat_height"], forward * (f["seat_depth"] - radius)])
            foot = top + np.array([side * f["leg_splay"], -f["seat_height"], forward * f["leg_splay"]])
            assembly.add(_own(meshes.frustum(top, foot, radius, radius * 0.72, 12)), LEG)
            feet.append(foot)
    return np.array(feet)


def _add_pedestal(assembly: Assembly, seat: float, radius: float) -> Array:
    """A column on five feet; keypoints are the four feet that come as mirror pairs."""
    assembly.add(_own(meshes.frustum([0, 0.12, 0], [0, seat, 0], radius * 1.3, radius * 1.1)), LEG)
    ends = []
    for k in range(5):
        angle = 2 * np.pi * (k + 0.5) / 5
        end = np.array([0.42 * np.sin(angle), 0.035, 0.42 * np.cos(angle)])
        assembly.add(_own(meshes.frustum([0, 0.13, 0], end, 0.055, 0.035, 10)), LEG)
        ends.append(end)
    return np.array([ends[0], ends[4], ends[1], ends[3]])


def _add_arms(assembly: Assembly, f: Mapping[str, float]) -> Array:
    width, depth, seat = f["seat_width"], f["seat_depth"], f["seat_height"]
    hands = []
    for side in (1, -1):
        x = side * (width + 0.02)
        assembly.add(_own(meshes.box([x, seat + 0.26, -0.03], [0.045, 0.03, depth * 0.88])), ARM)
        assembly.add(_own(meshes.box([x, seat + 0.12, depth * 0.62], [0.03, 0.14, 0.03])), ARM)
        hands.append([x, seat + 0.26, depth * 0.88 - 0.03])
    return np.array(hands)


def _add_back(assembly: Assembly, f: Mapping[str, float]) -> Array:
    """The back in its own frame, then tilted about its lower edge. Returns its upper corners [2,3]."""
    width, height, kind = f["seat_width"], f["back_height"], int(f["back_kind"])
    if kind == PANEL:
        pieces = [meshes.box([0, height / 2, 0], [width * 0.97, height / 2, 0.035], taper=f["back_taper"])]
        corner = width * 0.97 * f["back_taper"]
    elif kind == LADDER:
        pieces = [meshes.box([s * (width - 0.05), height / 2, 0], [0.045, height / 2, 0.04]) for s in (1, -1)]
        rungs = [
            meshes.box([0, height * (0.32 + 0.29 * k), 0], [width - 0.06, height * 0.085, 0.025]) for k in range(3)
        ]
        pieces, corner = pieces + rungs, width - 0.05
    elif kind == SPINDLES:
        places = np.linspace(-1, 1, 5) * (width - 0.05)
        pieces = [meshes.frustum([x, 0, 0], [x, height, 0], 0.034, 0.028, 10) for x in places]
        pieces.append(meshes.box([0, height, 0], [width, 0.065, 0.04]))
        corner = width
    else:
        disc = meshes.ellipsoid([0, height * 0.55, 0], [width * 0.95, height * 0.58, 0.07], rows=20, columns=28)
        pieces, corner = [disc], width * 0.5
    tilt = meshes.rotation_x(-f["back_tilt"])
    hinge = np.array([0.0, f["seat_height"], 0.04 - f["seat_depth"]])
    assembly.add([_own(piece.moved(tilt, hinge)) for piece in pieces], BACK)
    top = height * 1.01 if kind == DISC else height
    tops = np.array([[corner, top, 0.03], [-corner, top, 0.03]])
    return tops @ tilt.T + hinge


class _Paint:
    """Wood grain or paint on the frame, plain, striped or blotted cloth on cushion and back."""

    def __init__(self, f: Mapping[str, float], texture: np.random.Generator) -> None:
        self.f = f
        wood = hsv(f["wood_hue"], f["wood_saturation"], f["wood_value"])
        self.frame = wood if f["frame_kind"] == 0 else hsv(f["paint_hue"], 0.6, f["paint_value"])
        self.cloth = hsv(f["cloth_hue"], f["cloth_saturation"], f["cloth_value"])
        self.grain = np.float32(0.09 if f["frame_kind"] == 0 else 0.0)
        self.waves = Waves(texture, 0.8, 1.8)

    def __call__(self, surface: Surface) -> tuple[Float, NDArray[np.uint8]]:
        f, at, part = self.f, surface.canonical, surface.part
        noise = self.waves(at)
        grain = 1 + self.grain * np.sin(at[:, 0] * np.float32(16) + np.float32(1.5) * noise)
        albedo = self.frame * grain[:, None]
        upholstered = part == CUSHION
        if f["back_cover"]:
            upholstered = upholstered | (part == BACK)
        albedo[upholstered] = self.cloth
        if f["pattern"] == STRIPES:
            albedo[upholstered & (np.sin(at[:, 0] * np.float32(22)) > 0.1)] *= np.float32(0.55)
        elif f["pattern"] == BLOTS:
            albedo[upholstered & (noise > 0.4)] = self.frame * np.float32(0.8)
        return albedo.astype(np.float32, copy=False), part.copy()
