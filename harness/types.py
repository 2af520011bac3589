"""Dataclasses and protocols that every part of Parallax shares.

This module imports neither torch nor pandas, so that planning, listing and building tables stay instant.
Tensor types appear in annotations only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

Tier = Literal["smoke", "micro", "small", "paper"]
BudgetName = Literal["quick", "claims"]
Status = Literal["done", "failed", "skipped"]
Batch: TypeAlias = Mapping[str, "Tensor"]


# ---------------------------------------------------------------------------------------------------- errors
class HarnessError(Exception):
    """An error with an address: what is wrong, where, the nearest valid thing and the remedy."""

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", nearest: Sequence[str] = (), remedy: str = "") -> None:
        self.what, self.where, self.nearest, self.remedy = what, where, tuple(nearest), remedy
        super().__init__(self.__str__())

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.nearest:
            text += f". Did you mean {' or '.join(self.nearest)}?"
        if self.remedy:
            text += f"{'' if text.endswith(('.', '?')) else '.'} {self.remedy}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross process boundaries whole: the default would lose the keyword arguments."""
        return _rebuild_error, (type(self), self.what, self.where, self.nearest, self.remedy)


def _rebuild_error(
    kind: type[HarnessError], what: str, where: str, nearest: Sequence[str], remedy: str
) -> HarnessError:
    return kind(what, where=where, nearest=nearest, remedy=remedy)


class ConfigError(HarnessError):
    """A command line, suite, preset or card that cannot be used."""


class DataError(HarnessError):
    """An image, array, folder or shard that cannot be used."""


class StoreError(HarnessError):
    """A stored result or checkpoint that cannot be used."""


class MissingAsset(HarnessError):
    """A weights file or optional package is not on this machine; a runner turns this into a skip with a reason."""


class Unsupported(HarnessError):
    """A method lacks what a protocol asks for; a runner turns this into a skip with a reason."""


class NonFiniteError(HarnessError):
    """Training produced NaN or infinity; the cell fails and leaves a failure bundle."""

    exit_code = 3


# ------------------------------------------------------------------------------------------------- cameras
@dataclass(frozen=True)
class PosePrior:
    """Distribution of camera poses around the origin; angles in radians, lengths in object radii.

    ``kind`` says how azimuth and elevation are drawn: ``uniform`` in mean +- spread, ``gauss`` with sd = spread
    (clipped at 2.5 sd), ``area`` uniform in azimuth and in the sine of the elevation. ``fov`` is the full vertical
    angle, ``radius`` the distance of the camera from the origin, ``near`` and ``far`` are z-depths.
    """

    name: str
    kind: Literal["uniform", "gauss", "area"]
    azimuth: tuple[float, float]
    elevation: tuple[float, float]
    fov: float
    radius: float
    near: float
    far: float


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras that look at the origin, OpenCV axes (x right, y down, z forward).

    ``cam2world`` is float32 [N,4,4]; ``intrinsics`` float32 [N,3,3], normalised by image width and height;
    ``azimuth``, ``elevation`` are [N] radians, ``near``/``far`` z-depths shared by all cameras.
    """

    cam2world: Tensor
    intrinsics: Tensor
    azimuth: Tensor
    elevation: Tensor
    radius: float
    near: float
    far: float

    def __len__(self) -> int:
        return len(self.azimuth)


@dataclass(frozen=True)
class Renders:
    """What a generator returns: ``rgb`` float [N,3,H,W] in [-1,1]; z-depth [N,H,W] in world units and opacity [N,H,W]
    in [0,1] where the method has a geometry, else None."""

    rgb: Tensor
    depth: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class AnomalyMaps:
    """What an anomaly detector returns: ``scores`` float32 [N] of whole images and ``maps`` float32 [N,H,W] at image
    resolution, raw, both higher where more anomalous."""

    scores: Tensor
    maps: Tensor


@dataclass(frozen=True)
class PseudoLabels:
    """What a network says of unlabelled pixels: ``labels`` int64 [N,H,W], ``confidence`` float32 [N,H,W] in [0,1], and
    ``kept`` bool [N,H,W], the pixels its method learns from at full weight."""

    labels: Tensor
    confidence: Tensor
    kept: Tensor


# ---------------------------------------------------------------------------------------------------- data
@dataclass(frozen=True)
class DataSpec:
    """A data set by name and recipe; equal ``recipe_digest`` means comparable results.

    ``name`` is ``objects/head`` for procedural families or ``folder/<layout>`` for published ones (then ``root`` is
    the path and ``content`` a digest of the files). ``splits`` maps a split to its number of samples.
    """

    name: str
    resolution: int
    splits: Mapping[str, int]
    prior: PosePrior | None = None
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    version: str = "1"
    seed: int = 0
    channels: int = 3
    root: str | None = None
    content: str = ""

    @property
    def family(self) -> str:
        return self.name.split("/")[0]

    @cached_property
    def recipe_digest(self) -> str:
        """SHA-256 of the canonical JSON of the recipe; a path on this machine is not part of it."""
        recipe = asdict(self)
        recipe.pop("root")
        return digest_of(recipe)


# -------------------------------------------------------------------------------------------------- methods
@dataclass(frozen=True)
class Stage:
    """One training stage of a method and its share of the cell's budget."""

    name: str = "train"
    share: float = 1.0


@dataclass(frozen=True)
class Context:
    """What the harness lends to a method: where and how to compute, and randomness.

    ``total_steps`` counts the steps of all stages; ``generator`` is seeded, lives on ``device`` and is check-pointed by
    the loop. ``autocast()`` is a context manager: bf16 where ``precision`` resolved to it, otherwise nothing.
    ``sample_cameras(n, generator, prior=None)`` draws from the data's pose prior (or the given one) and returns
    ``Cameras`` on ``device``. ``upstream`` maps the roles of the card's ``needs`` to state dicts of trained methods.
    ``assets`` is the folder where built networks and published weights are kept. ``base`` is the class of the method
    that a method plugs into (see ``Card.base``), which reads its own keys of the same configuration.
    """

    device: torch.device
    precision: Literal["fp32", "bf16"]
    seed: int
    total_steps: int
    batch_size: int
    generator: torch.Generator
    autocast: Callable[[], AbstractContextManager[Any]]
    sample_cameras: Callable[..., Cameras]
    upstream: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    assets: Path = Path()
    base: type[Any] | None = None


@runtime_checkable
class Method(Protocol):
    """One published method: knows one training step, owns its networks and optimisers.

    ``config`` supports attribute and item access. ``batch["image"]`` is float32 [B,3,H,W] in [-1,1], ``batch["index"]``
    int64 [B] names the rows of the training split, further fields of the protocol's training view stand beside them.
    ``train_step`` steps its own optimisers and returns detached scalar tensors for the log. State dicts nest mappings
    and sequences of tensors, numbers, strings, booleans and None.

    A method may also have ``averages``: a sequence of ``methods.blocks.ema.Ema`` that the loop updates after every
    step; ``prepare(samples)``: called before the first step, and again on every resume, with the arrays of the whole
    training split (for caches and closed-form fits, a deterministic function of its input);
    ``batch_groups``: the name of an integer field, such as ``category``, of which every batch shall hold one value.

    Two keys of a preset tell the harness what a method is shown: ``train_images`` N > 0 keeps the first N rows of the
    training split, so that smaller sets are contained in larger ones; ``conditional`` adds ``batch["category"]``,
    int64 [B], of ``data.options["classes"]`` classes. A static method ``supervision(config)`` names further fields of
    the split, such as ``depth``, that a batch shall hold.

    Where a protocol has a second training stream, ``unlabelled``, its fields stand in the batch as ``unlabelled_image``
    and so on, ``config["unlabelled_batch_size"]`` rows of it (0: none). A method may then also have ``row_weights``:
    stream -> float64 [N], set by ``prepare``, with which its rows are drawn with replacement; ``future_batches``: N
    times as many further rows of both streams as ``future_image``, ``future_unlabelled_image`` and so on; and, for
    oracles only, ``reveals``: fields of the unlabelled stream that training sees although the setting hides them.
    """

    stages: ClassVar[tuple[Stage, ...]]

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None: ...

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class Generates(Protocol):
    """Can draw images. ``cameras`` None means poses from the prior; the same ``latents`` give the same object."""

    def latents(self, n: int, generator: torch.Generator) -> Tensor: ...

    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders: ...


@runtime_checkable
class Discriminates(Protocol):
    """Has a discriminator that can be asked.

    ``discriminate`` maps images float32 [N,C,H,W] in [-1,1] to logits float32 [N], higher for what it takes to be real;
    ``train_images`` is the number of rows of the training split that it was trained on, 0 for all.
    """

    train_images: int

    def discriminate(self, images: Tensor) -> Tensor: ...


@runtime_checkable
class HasStyles(Protocol):
    """Generates through intermediate codes, one per layer (W+ of StyleGAN).

    ``styles`` maps latents to codes float32 [N,L,W]; ``mean_style`` [L,W] is their running mean, towards which codes
    are truncated; ``render_styles`` draws any codes.
    """

    def styles(self, latents: Tensor) -> Tensor: ...

    def mean_style(self) -> Tensor: ...

    def render_styles(self, styles: Tensor, cameras: Cameras | None = None) -> Renders: ...


@dataclass(frozen=True)
class SceneRenders:
    """Scenes of a generator's training step as a discriminator sees them, with gradients: ``rgb`` [B,3,H,W] in [-1,1];
    z-depth divided by opacity, and opacity, both [B,h,w] at the resolution of the rays. ``again`` renders the same
    scenes from other cameras."""

    rgb: Tensor
    depth: Tensor
    opacity: Tensor
    cameras: Cameras
    again: Callable[[Cameras], SceneRenders]


class Guide(Protocol):
    """A further term of a generator's loss: the scenes of its adversarial step, and the step, to a scalar."""

    def __call__(self, scene: SceneRenders, step: int) -> Tensor: ...


@runtime_checkable
class RadianceField(Protocol):
    """Generates by volume rendering a density, and lets others guide its generator.

    ``guides`` is empty until somebody appends to it; each is called in every adversarial generator step, and its value
    added to the loss. ``codes`` maps latents to what conditions the averaged field [N,...], ``mean_code`` is their
    mean; ``render_codes`` is differentiable by the codes. ``density`` at world points float32 [N,P,3] is float32 [N,P]
    per unit of world length, without gradients.
    """

    guides: list[Guide]

    def codes(self, latents: Tensor) -> Tensor: ...

    def mean_code(self) -> Tensor: ...

    def render_codes(self, codes: Tensor, cameras: Cameras) -> Renders: ...

    def density(self, codes: Tensor, points: Tensor) -> Tensor: ...


@runtime_checkable
class ReadsDepth(Protocol):
    """Can tell the z-depth float32 [N,H,W] of single images float32 [N,3,H,W] in [-1,1]."""

    def read_depth(self, images: Tensor) -> Tensor: ...


@runtime_checkable
class ScoresAnomalies(Protocol):
    """Can tell how anomalous an image and each of its pixels is.

    ``images`` are float32 [N,3,H,W] in [-1,1]; ``categories`` int64 [N] are given only to a method that is ``separate``
    (one model per category): a unified one never sees a label.
    """

    separate: bool

    def anomaly(self, images: Tensor, categories: Tensor | None) -> AnomalyMaps: ...


@runtime_checkable
class ReconstructsFeatures(Protocol):
    """Detects by rebuilding frozen features [N,C,h,w]; what it rebuilds of a defect shows whether it copies."""

    def features(self, images: Tensor) -> Tensor: ...

    def reconstruct(self, features: Tensor, categories: Tensor | None) -> Tensor: ...


@runtime_checkable
class Segments(Protocol):
    """Can say the class of every pixel.

    ``networks`` names what can be asked, the network that the method ships first (``student``, ``teacher``).
    ``segment`` maps images float32 [N,3,H,W] in [-1,1] to logits float32 [N,C,H,W].
    """

    networks: Sequence[str]

    def segment(self, images: Tensor, network: str) -> Tensor: ...


@runtime_checkable
class LabelsPixels(Protocol):
    """Learns from labels of its own: ``pseudo_labels`` are those it would give to float32 [N,3,H,W] images now."""

    def pseudo_labels(self, images: Tensor) -> PseudoLabels: ...


@runtime_checkable
class PicksNegatives(Protocol):
    """Contrasts classes: which pixels of images [N,3,H,W] it takes as negatives of each class, bool [N,C,h,w], and
    which it finds unreliable, bool [N,h,w]."""

    def negatives(self, images: Tensor) -> tuple[Tensor, Tensor]: ...


# ----------------------------------------------------------------------------------------- cells and results
@dataclass(frozen=True)
class Budget:
    """Images that training may consume; ``name`` says which of a suite's budgets it is."""

    name: str
    images: int


@dataclass(frozen=True)
class Cell:
    """One unit of work: everything that determines a result, by value.

    ``method`` is a registered name, or a reference row ``floor:<name>`` / ``oracle:<name>`` of the protocol (not
    trained). ``config`` is the resolved method configuration; ``overrides`` are the user's changes to the preset,
    shown as the variant's name. ``code`` digests the code that matters, ``source`` is the method's folder: neither is
    part of the key.
    """

    suite: str
    protocol: str
    method: str
    tier: Tier
    seed: int
    budget: Budget
    data: DataSpec
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "auto"
    upstream: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    source: str = ""

    @property
    def role(self) -> str:
        head, _, tail = self.method.partition(":")
        return head if tail and head in ("floor", "oracle") else "method"

    @property
    def variant(self) -> str:
        """The method's name with its overrides, e.g. ``hologan[train_rotation=none]``: the row label of tables."""
        if not self.overrides:
            return self.method
        return f"{self.method}[{','.join(f'{k}={v}' for k, v in sorted(self.overrides.items()))}]"

    @cached_property
    def key(self) -> str:
        """SHA-256 over everything but the code digest and local paths; see ``Store`` for how code ages a result."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("source", "code")}
        return digest_of({**parts, "budget": asdict(self.budget), "data": self.data.recipe_digest})


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: ``reason`` names the error or why it was skipped; ``cached`` says that no work was done."""

    key: str
    label: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
    cached: bool = False


@dataclass(frozen=True)
class Scores:
    """What a protocol returns: column name -> value (NaN allowed, with a reason in ``notes``), optional per-sample
    float64 arrays, pictures as uint8 [H,W,3], and counts or digests for the row's fingerprint."""

    metrics: Mapping[str, float]
    per_sample: Mapping[str, np.ndarray] = field(default_factory=dict)
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


class Executor(Protocol):
    """Runs cells somewhere; results travel through the store, only outcomes come back."""

    def map(self, cells: Sequence[Cell]) -> Iterator[Outcome]: ...


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain, allow_nan=False)


def digest_of(value: Any) -> str:
    """SHA-256 hex digest of the canonical JSON of plain data."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, set, frozenset)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    raise TypeError(f"{type(value).__name__} cannot be part of a digest")
