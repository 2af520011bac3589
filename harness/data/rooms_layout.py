"""A furnished room: its shell, what hangs on its walls, and where the furniture stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.data import rooms_furniture as furniture
from harness.data.rooms_furniture import CABINET, CEILING, CHAIR, FLOOR, LAMP, PICTURE, PLANT, RUG, TABLE, WALL, WINDOW
from harness.data.rooms_materials import draw_material, wooden
from harness.data.rooms_pieces import Frame, Kind, Material, Pieces, Shape
from harness.data.rooms_render import Lamp
from harness.data.textures import hsv

WIDTH, HEIGHT, DEPTH = (3.6, 5.6), (2.4, 3.0), (3.6, 5.4)  # metres
CLEAR = 1.5  # metres between the camera and the nearest furniture
TURNED = 1.35  # how much further aside than straight ahead a turned camera sees the walls
_CENTRE = Frame(0.0, 0.0)
_FURNITURE, _SHARES = (TABLE, CABINET, LAMP, CHAIR, PLANT), (0.22, 0.24, 0.13, 0.23, 0.18)


@dataclass(frozen=True)
class Sight:
    """What a room must know of the camera.

    Its pivot stands at shares ``across`` of the width (from the middle) and ``along`` of the depth; its distance from
    the pivot along z is ``away`` (metres); ``tangent`` is that of half its field of view.
    """

    across: float
    along: float
    away: float
    tangent: float


@dataclass(frozen=True)
class Room:
    """Measures (metres) and what was placed.

    ``main`` is 0 (none), 1 (bed) or 2 (sofa); ``counts`` are of other furniture, windows, pictures and rugs.
    """

    width: float
    height: float
    depth: float
    main: int
    counts: tuple[int, int, int, int]
    wall_hue: float
    floor_hue: float
    pivot_x: float
    pivot_z: float
    lamp: Lamp


class Planner:
    """Furnishes one room in front of a camera; ``layout`` and ``paint`` are the streams of form and of colour."""

    def __init__(self, sight: Sight, layout: np.random.Generator, paint: np.random.Generator) -> None:
        self.layout, self.paint, self.pieces = layout, paint, Pieces()
        self.width, self.height, self.depth = (float(layout.uniform(*span)) for span in (WIDTH, HEIGHT, DEPTH))
        self.half = self.width / 2
        self.pivot_x, self.pivot_z = sight.across * self.width, sight.along * self.depth
        self.eye_z, self.tangent = self.pivot_z + sight.away, sight.tangent
        self._taken: list[tuple[float, float, float, float]] = []
        self._hung: list[tuple[int, float, float]] = []

    def furnish(self) -> Room:
        """Build everything; the pieces are then in ``pieces``."""
        wall_hue, floor_hue = self._shell()
        windows = [place for _ in range(int(self.layout.integers(0, 3))) if (place := self._window())]
        main = self._main()
        placed = sum(self._furniture() for _ in range(int(self.layout.integers(2, 6))))
        pictures = sum(self._picture() for _ in range(int(self.layout.integers(0, 3))))
        rug = int(self.layout.random() < 0.5)
        if rug:
            self._rug()
        lamp = self._lamp(windows)
        counts = (placed, len(windows), pictures, rug)
        return Room(
            self.width, self.height, self.depth, main, counts, wall_hue, floor_hue, self.pivot_x, self.pivot_z, lamp
        )

    # ------------------------------------------------------------------------------------------------------- shell
    def _shell(self) -> tuple[float, float]:
        """Floor, ceiling, three walls and skirting; the side walls run past the camera. Returns two hues."""
        paint, half, height = self.paint, self.half, self.height
        hue = float(paint.random())
        wall = draw_material(paint, ("plain", "plain", "stripes", "mottled"), hue, (0.04, 0.42), (0.55, 0.95))
        back = wall
        if paint.random() < 0.4:
            kinds: tuple[Kind, ...] = ("plain", "stripes", "checker", "mottled")
            back = draw_material(paint, kinds, hue + paint.normal(0, 0.1), (0.05, 0.55), (0.4, 0.95), (0.7, 1.3))
        floor_hue = float(paint.choice([0.07, 0.09, 0.05, 0.58, 0.0]))
        floor = draw_material(
            paint, ("boards", "boards", "checker", "plain", "mottled"), floor_hue, (0.15, 0.6), (0.3, 0.75), (0.9, 1.6)
        )
        plaster = draw_material(paint, hue=0.1, saturation=(0, 0.07), value=(0.85, 0.98))
        trim = wooden(paint) if paint.random() < 0.5 else plaster
        middle, deep = self.depth / 2 + 1.2, self.depth / 2 + 3.4
        add = self.pieces.add
        add("box", FLOOR, floor, _CENTRE, [0, -0.05, middle], [half + 0.1, 0.05, deep])
        add("box", CEILING, plaster, _CENTRE, [0, height + 0.05, middle], [half + 0.1, 0.05, deep])
        add("box", WALL, back, _CENTRE, [0, height / 2, -0.05], [half + 0.1, height / 2, 0.05])
        add("box", WALL, plaster, _CENTRE, [0, height / 2, middle + deep], [half + 0.1, height / 2, 0.05])
        add("box", WALL, trim, _CENTRE, [0, 0.05, 0], [half, 0.05, 0.02])
        for side in (-1, 1):
            add("box", WALL, wall, _CENTRE, [side * (half + 0.05), height / 2, middle], [0.05, height / 2, deep])
            add("box", WALL, trim, _CENTRE, [side * half, 0.05, middle], [0.02, 0.05, deep])
        return hue % 1.0, floor_hue

    # ------------------------------------------------------------------------------------------------------- walls
    def _wall(self, half_width: float) -> Frame | None:
        """A free place on a wall that the camera sees, as a frame whose front faces the room."""
        for _ in range(6):
            wall = int(self.layout.integers(3))
            if wall == 0:
                reach = self.eye_z * self.tangent * 0.9
                low, high = max(-self.half, self.pivot_x - reach), min(self.half, self.pivot_x + reach)
            else:
                side = 1 if wall == 2 else -1
                low, high = 0.0, self.eye_z - (self.half - side * self.pivot_x) / (self.tangent * TURNED)
            if high - low < 2 * half_width + 0.3:
                continue
            at = float(self.layout.uniform(low + half_width + 0.12, high - half_width - 0.12))
            if all(w != wall or abs(at - a) > half_width + h + 0.12 for w, a, h in self._hung):
                self._hung.append((wall, at, half_width))
                if wall == 0:
                    return Frame(at, 0.0)
                return Frame(side * self.half, at, -side * np.pi / 2)
        return None

    def _window(self) -> Frame | None:
        layout, paint = self.layout, self.paint
        w, h, y = layout.uniform((0.35, 0.4, 1.4), (0.8, 0.65, 1.6))
        frame = self._wall(float(w) + 0.2)
        if frame is None:
            return None
        self.pieces.begin()
        sky = hsv(0.57, paint.uniform(0.08, 0.4), 1.0)
        land = hsv(paint.uniform(0.22, 0.38), paint.uniform(0.2, 0.5), paint.uniform(0.5, 0.85))
        pane = Material("window", sky, land, offset=float(y - h * paint.uniform(-0.1, 0.7)), glow=1.15)
        rim = wooden(paint) if paint.random() < 0.5 else draw_material(paint, saturation=(0, 0.1), value=(0.7, 0.95))
        add = self.pieces.add
        add("box", WINDOW, pane, frame, [0, y, 0], [w, h, 0.02])
        for x, up, a, b in ((-w, 0, 0.05, h + 0.05), (w, 0, 0.05, h + 0.05), (0, 0, 0.025, h)):
            add("box", WINDOW, rim, frame, [x, y + up, 0.03], [a, b, 0.04])
        for up, b in ((-h, 0.05), (h, 0.05), (0, 0.025)):
            add("box", WINDOW, rim, frame, [0, y + up, 0.03], [w + 0.05, b, 0.04])
        if layout.random() < 0.5:
            cloth = draw_material(paint, ("plain", "stripes"), saturation=(0.15, 0.75), value=(0.4, 0.95))
            low = 0.15 if layout.random() < 0.4 else y - h - 0.15
            top = min(y + h + 0.18, self.height - 0.05)
            for side in (-1, 1):
                centre = [side * (w + 0.08), (low + top) / 2, 0.1]
                add("box", WINDOW, cloth, frame, centre, [0.16, (top - low) / 2, 0.05])
        return frame

    def _picture(self) -> bool:
        w, h, y = self.layout.uniform((0.2, 0.2, 1.4), (0.48, 0.42, 1.7))
        place = self._wall(float(w) + 0.05)
        if place is None:
            return False
        self.pieces.begin()
        kinds: tuple[Kind, ...] = ("mottled", "checker", "plain", "stripes")
        art = draw_material(self.paint, kinds, None, (0.3, 0.9), (0.25, 0.95), (1.5, 3.0))
        rim = wooden(self.paint, (0.1, 0.9))
        self.pieces.add("box", PICTURE, rim, place, [0, y, 0.0], [w + 0.04, h + 0.04, 0.03])
        self.pieces.add("box", PICTURE, art, place, [0, y, 0.01], [w, h, 0.03])
        return True

    # --------------------------------------------------------------------------------------------------- furniture
    def _stand(self, size: furniture.Size, where: str) -> Frame | None:
        """A free place for a footprint: at the ``back`` wall, at a ``side`` wall or ``free`` in the room."""
        layout, (w, d) = self.layout, size
        for _ in range(12):
            turn = 0.0
            if where == "side":
                side = (-1, 1)[int(layout.integers(2))]
                turn = -side * np.pi / 2
            elif where == "free":
                turn = float(layout.choice([0.0, np.pi / 2, -np.pi / 2, np.pi]) + layout.normal(0, 0.12))
            hx, hz = abs(np.cos(turn)) * w + abs(np.sin(turn)) * d, abs(np.sin(turn)) * w + abs(np.cos(turn)) * d
            deepest = min(0.62 * self.depth, self.eye_z - CLEAR) - hz
            z = hz + 0.06 if where == "back" else float(layout.uniform(hz + 0.1, max(deepest, hz + 0.11)))
            reach = (self.eye_z - z) * self.tangent * 0.95
            if where == "side":
                x = side * (self.half - hx - 0.05)
                if abs(x - self.pivot_x) > reach:
                    continue
            else:
                low, high = max(hx - self.half, self.pivot_x - reach), min(self.half - hx, self.pivot_x + reach)
                if low >= high:
                    continue
                x = float(layout.uniform(low, high))
            if all(abs(x - a) > hx + c + 0.03 or abs(z - b) > hz + e + 0.03 for a, b, c, e in self._taken):
                self._taken.append((x, z, hx, hz))
                return Frame(x, z, turn)
        return None

    def _main(self) -> int:
        """A bed (1) or a sofa (2), or neither (0)."""
        layout = self.layout
        kind = int(layout.choice(3, p=[0.2, 0.4, 0.4]))
        if kind == 0:
            return 0
        size = layout.uniform((0.5, 0.9), (0.9, 1.08)) if kind == 1 else layout.uniform((0.48, 0.4), (1.1, 0.48))
        footprint = float(size[0]), float(size[1])
        places = ("back", "back", "side") if kind == 1 else ("back", "side", "free")
        frame = self._stand(footprint, places[int(layout.integers(3))])
        if frame is None:
            return 0
        self.pieces.begin()
        (furniture.add_bed if kind == 1 else furniture.add_sofa)(self.pieces, frame, footprint, layout, self.paint)
        return kind

    def _furniture(self) -> bool:
        layout = self.layout
        kind = int(layout.choice(_FURNITURE, p=_SHARES))
        size = furniture.draw_size(kind, layout)
        where = ("back", "side")[int(layout.integers(2))] if kind == CABINET else "free"
        frame = self._stand(size, where)
        if frame is None:
            return False
        self.pieces.begin()
        furniture.BUILDERS[kind](self.pieces, frame, size, layout, self.paint)
        return True

    def _rug(self) -> None:
        layout = self.layout
        cloth = draw_material(
            self.paint, ("plain", "stripes", "checker", "mottled"), None, (0.2, 0.8), (0.3, 0.9), (0.9, 1.6)
        )
        w, d = layout.uniform((0.6, 0.5), (1.2, 0.85))
        x, z = self.pivot_x + layout.uniform(-0.5, 0.5), self.pivot_z + layout.uniform(-0.4, 0.5)
        x = float(np.clip(x, w - self.half, self.half - w))
        self.pieces.begin()
        shape: Shape = "post" if layout.random() < 0.3 else "box"
        size = [d, 0.02, d] if shape == "post" else [w, 0.02, d]
        self.pieces.add(shape, RUG, cloth, Frame(x, max(float(z), d + 0.1)), [0, 0, 0], size)

    # ------------------------------------------------------------------------------------------------------- light
    def _lamp(self, windows: list[Frame]) -> Lamp:
        """Daylight from the first window, or a lamp that hangs from the ceiling."""
        layout, paint = self.layout, self.paint
        if windows:
            frame = windows[0]
            position = [frame.x * 0.75, 1.6, max(frame.z, 0.9)]
        else:
            position = [
                self.pivot_x + layout.uniform(-0.7, 0.7), self.height - 0.4, self.pivot_z + layout.uniform(-0.6, 0.8),
            ]  # fmt: skip
            self.pieces.begin()
            hood = draw_material(paint, hue=0.12, saturation=(0.05, 0.4), value=(0.9, 1.0), glow=1.15)
            place = Frame(float(position[0]), float(position[2]), y=self.height)
            self.pieces.add("post", LAMP, hood, place, [0, -0.12, 0], [0.22, 0.12, 0.22])
        tint = hsv(float(paint.choice([0.1, 0.58])), paint.uniform(0, 0.16), 1.0)
        ambient, diffuse = paint.uniform((0.55, 0.7), (0.72, 0.95))
        return Lamp(np.array(position, np.float32), tint, float(ambient), float(diffuse))
