"""The shelf of judges: trained once per data set, kept as safetensors with a digest, opened by everyone.

A judge is part of the ruler: its recipe digest names the folder, the SHA-256 of its weights stands in every score.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from harness.atomic import sha256_of, write_bytes
from harness.codedigest import source_digest
from harness.data.views import Dataset
from harness.judges import targets, training
from harness.judges.networks import FEATURES, AttributeNet, DepthNet, PoseNet
from harness.judges.training import Recipe
from harness.leases import Busy, Lease
from harness.metrics.features import FeatureSpace
from harness.types import DataSpec, StoreError, Unsupported, digest_of

FAMILIES = ("objects", "rooms")
"""Families that keep exact pose, depth and factors; in rooms the azimuth is the yaw about the room's pivot."""

HELD_OUT = 8
"""One in this many oracle pictures is kept for the judges' own report."""

LEARNT = 0.5
"""Attributes with a lower held-out coefficient of determination do not count in identity scores."""

CODE = ("networks.py", "targets.py", "training.py")
"""Modules that determine the weights: a change of any of them opens a new shelf."""

SPACE = "proc-v1"
WEIGHTS, CARD = "judges.safetensors", "judges.json"
POLL = 0.5


@dataclass(frozen=True)
class Judges:
    """Trained judges of one data set; images are uint8 [N,3,H,W] throughout, results live on the CPU.

    ``digest`` is the SHA-256 of the weights file; ``report`` the scores on held-out oracle pictures (degrees, SIDE
    times 100, coefficients of determination); ``space`` the feature space ``proc-v1``; ``learnt`` the columns of the
    attribute net that describe the object and that it can read, with ``attribute_names`` and ``attribute_groups``.
    """

    digest: str
    report: Mapping[str, float]
    attribute_names: tuple[str, ...]
    attribute_groups: tuple[str, ...]
    space: FeatureSpace
    learnt: tuple[int, ...]
    pose_net: PoseNet
    attribute_net: AttributeNet
    depth_net: DepthNet

    def features(self, images: Tensor) -> Tensor:
        """Images -> float32 [N,64] in space ``proc-v1``, standardised on real images."""
        with training.one_thread():
            return self.space(images)

    def pose(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images -> azimuth and elevation, float32 [N] radians."""
        return PoseNet.angles(_apply(self.pose_net, images))

    def attributes(self, images: Tensor) -> Tensor:
        """Images -> float32 [N,F]: standardised attributes of the object that the judge can read (R^2 >= 0.5)."""
        return _apply(self.attribute_net, images)[:, list(self.learnt)]

    def depth(self, images: Tensor) -> Tensor:
        """Images -> z-depth float32 [N,H,W] in world units; meaningless outside the object."""
        return _apply(self.depth_net.depth, images)


def recipes(pictures: int, *, precision: Literal["fp32", "bf16"]) -> dict[str, Recipe]:
    """Recipes of the three judges for an oracle split of ``pictures``: full length from 2,048 pictures on.

    The steps shrink with the data, so that a smoke run trains for seconds; its judges are then poor, and say so in
    their report.
    """
    share = min(1.0, pictures / 2048)

    def steps(full: int) -> int:
        return max(8, round(full * share))

    return {
        "pose": Recipe(steps(600), 64, 3e-3, colour=True, precision=precision, seed=1),
        "attributes": Recipe(steps(800), 64, 3e-3, background=0.25, noise=0.05, precision=precision, seed=2),
        "depth": Recipe(steps(1100), 16, 4e-3, background=0.6, precision=precision, seed=3),
    }


def open_judges(
    dataset: Dataset, root: Path, *, progress: Callable[[str], None] | None = None, wait_s: float = 3600.0
) -> Judges:
    """The judges of ``dataset``: read from ``root``, or first trained on the ``oracle`` split and put there.

    Two processes never train the same judges: the second waits. Raises Unsupported for data without exact labels,
    StoreError for a damaged file, Busy if another process has not finished after ``wait_s`` seconds.
    """
    spec = dataset.spec
    if spec.family not in FAMILIES or spec.prior is None or spec.splits.get("oracle", 0) < 2 * HELD_OUT:
        raise Unsupported(
            "the judges need exact pose, depth and factors of at least 16 oracle pictures",
            where=spec.name,
            remedy="Score this data set with features=inception or random instead.",
        )
    plan = recipes(spec.splits["oracle"], precision=native_precision())
    identity = {
        "code": [source_digest((Path(__file__).parent / name).read_text()) for name in CODE],
        "recipes": {name: asdict(recipe) for name, recipe in plan.items()},
        "oracle": dataset.split("oracle").digest,
        "resolution": spec.resolution,
    }
    folder = root / digest_of(identity)[:16]
    deadline = time.monotonic() + wait_s
    while not (folder / CARD).exists():
        try:
            with Lease(folder / "lease"):
                if not (folder / CARD).exists():
                    _train(dataset, plan, identity, folder, progress)
        except Busy:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)
    return _read(folder, spec)


def native_precision() -> Literal["fp32", "bf16"]:
    """bf16 where this CPU multiplies it in hardware, else fp32; part of the recipe, since it changes the weights."""
    fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if fast else "fp32"


def _train(
    dataset: Dataset,
    plan: Mapping[str, Recipe],
    identity: Mapping[str, Any],
    folder: Path,
    progress: Callable[[str], None] | None,
) -> None:
    spec = dataset.spec
    assert spec.prior is not None
    oracle = dataset.split("oracle")
    view = oracle.view(targets.FIELDS)
    fields = {name: np.asarray(view[name]) for name in targets.FIELDS}
    total = len(fields["image"])
    rows = total - total // HELD_OUT
    truth, columns = targets.truth_of(fields, oracle.factors, spec.prior.radius, rows)
    training_part, held_out = truth.rows(0, rows), truth.rows(rows, total)
    signs = torch.tensor([column.sign for column in columns])
    nets = _Nets.fresh(spec, len(columns))
    with training.one_thread():
        for name, net, loss in (
            ("pose", nets.pose, training.pose_loss),
            ("attributes", nets.attributes, training.attribute_loss),
            ("depth", nets.depth, training.depth_loss),
        ):
            if progress is not None:
                progress(f"training judge '{name}' on {rows} oracle pictures, {plan[name].steps} steps")
            training.fit(net, loss, training_part, signs, plan[name])
        nets.attributes.standardise(training.chunked(nets.attributes.features, training_part.images))
        report = training.held_out_report(
            nets.pose, nets.attributes, nets.depth, held_out, tuple(column.name for column in columns)
        )
    write_bytes(folder / WEIGHTS, save(nets.state()))
    card = {
        "identity": identity,
        "columns": [asdict(column) for column in columns],
        "report": report,
        "sha256": sha256_of(folder / WEIGHTS),
        "trained_on": rows,
        "held_out": total - rows,
        "torch": torch.__version__,
    }
    write_bytes(folder / CARD, json.dumps(card, indent=1, sort_keys=True).encode())


@dataclass(frozen=True)
class _Nets:
    pose: PoseNet
    attributes: AttributeNet
    depth: DepthNet

    @classmethod
    def fresh(cls, spec: DataSpec, attributes: int) -> _Nets:
        radius = spec.prior.radius if spec.prior else 1.0
        return cls(
            pose=training.initialise(lambda: PoseNet(spec.resolution), 11),
            attributes=training.initialise(lambda: AttributeNet(spec.resolution, attributes), 12),
            depth=training.initialise(lambda: DepthNet(radius), 13),
        )

    def named(self) -> dict[str, nn.Module]:
        return {"pose": self.pose, "attributes": self.attributes, "depth": self.depth}

    def state(self) -> dict[str, Tensor]:
        return {f"{n}.{k}": v.contiguous() for n, net in self.named().items() for k, v in net.state_dict().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, net in self.named().items():
            net.load_state_dict({k.partition(".")[2]: v for k, v in state.items() if k.startswith(f"{name}.")})
            net.eval().requires_grad_(False)


def _read(folder: Path, spec: DataSpec) -> Judges:
    remedy = "Delete this folder: the judges are then trained again, in a few minutes, to the same weights."
    try:
        card = json.loads((folder / CARD).read_bytes())
        content = (folder / WEIGHTS).read_bytes()
        digest = sha256_of(folder / WEIGHTS)
        columns = [targets.Attribute(**column) for column in card["columns"]]
        report = {name: math.nan if value is None else float(value) for name, value in card["report"].items()}
        expected = card["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"the judges cannot be read: {error}", where=str(folder), remedy=remedy) from error
    if digest != expected:
        raise StoreError(
            "the judges' weights are damaged (SHA-256 differs)", where=str(folder / WEIGHTS), remedy=remedy
        )
    nets = _Nets.fresh(spec, len(columns))
    nets.load(load(content))
    identity = [i for i, column in enumerate(columns) if column.group != targets.VIEW]
    learnt = [i for i in identity if report[f"r2/{columns[i].name}"] >= LEARNT] or identity
    space = FeatureSpace.from_network(
        SPACE,
        nets.attributes.features,
        dim=FEATURES,
        input_size=spec.resolution,
        weights_digest=digest,
        batch_size=training.CHUNK,
    )
    return Judges(
        digest=digest,
        report=report,
        attribute_names=tuple(columns[i].name for i in learnt),
        attribute_groups=tuple(columns[i].group for i in learnt),
        space=space,
        learnt=tuple(learnt),
        pose_net=nets.pose,
        attribute_net=nets.attributes,
        depth_net=nets.depth,
    )


def _apply(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply a judge to uint8 images [N,3,H,W] in chunks, on one thread so that the bytes do not depend on the cores."""
    with training.one_thread():
        return training.chunked(lambda part: function(part.to(torch.float32).mul(1 / 127.5).sub(1.0)), images)
