"""What protocols can ask of a method: it has a capability by having its members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from harness.types.data import AnomalyMaps, Cameras, PseudoLabels, Renders

if TYPE_CHECKING:
    import torch
    from torch import Tensor


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
