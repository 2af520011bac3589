"""Self-training: a network labels unlabelled images, its student learns them strongly augmented beside true labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from harness.types import ConfigError, Context, DataSpec, PseudoLabels, Stage
from methods.blocks.ema_teacher import EmaTeacher
from methods.blocks.feature_distance import FeatureDistance
from methods.blocks.mixing import class_mask, rectangle_mask, sometimes
from methods.blocks.options import parse_options
from methods.blocks.photometric import colour_jitter, gaussian_blur
from methods.blocks.pixel_losses import IGNORE, mean_over_all, mean_over_valid, reliable_ratio
from methods.blocks.pseudo_labels import QualityOptions, label_pixels, targets
from methods.blocks.segmentation_networks import SegmentationOutput
from methods.blocks.segmenter import CHUNK, Segmenter, predict
from methods.blocks.weak_augmentation import weaken

if TYPE_CHECKING:
    from harness.types import Batch

JITTER_STRENGTH = 0.2


@dataclass(frozen=True)
class SelfTrainingOptions:
    """Preset keys of self-training; those of the labels' quality are in ``QualityOptions``.

    ``mix``: what replaces parts of an unlabelled image: classes of a labelled one (``class``), a rectangle of the next
    unlabelled one (``cut``), nothing (``cutout``), the next one but for half of the own classes (``classmix``).
    ``jitter`` and ``blur`` are probabilities. ``supervised_warmup`` and ``ramp`` are shares of all steps: labels alone
    first, then a linear rise of the unlabelled loss. ``teacher_speed`` counts updates of the teacher per step,
    ``repeats`` updates of the student per batch. ``teacher`` self: the student labels. ``joint_forward`` passes
    labelled and mixed images through the network together, which matters to batch norm.
    """

    mix: Literal["class", "cut", "cutout", "classmix", "none"]
    mix_probability: float
    mix_scope: Literal["batch", "image"]
    jitter: float
    blur: float
    lambda_u: float
    supervised_warmup: float
    ramp: float
    teacher: Literal["ema", "self"]
    mu: float
    teacher_speed: int
    teacher_eval: bool
    evaluate: Literal["student", "teacher"]
    repeats: int
    joint_forward: bool
    feature_distance: float
    feature_distance_classes: tuple[int, ...]


@dataclass(frozen=True)
class Mixed:
    """Unlabelled images as the student sees them [U,3,H,W], their labels int64 [U,H,W] (255: none) and the weights of
    their pixels [U,H,W] (None: all 1)."""

    images: Tensor
    labels: Tensor
    weights: Tensor | None = None


class SelfTraining:
    """One student, its teacher and their loss (DACS, mean teacher, FixMatch: FST, section 4.8; U2PL, section 4.2).

    ``start`` is the first step with an unlabelled loss: until then the teacher is the student. Everything that depends
    on time is a function of ``step``, so that ``loss_step`` and ``move_teacher`` may be called in any order and number.
    """

    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        o = self.options = parse_options(SelfTrainingOptions, config, "self_training")
        self.quality = parse_options(QualityOptions, config, "quality")
        self.context = context
        self.student = Segmenter(config, data, context)
        self.optimiser = self.student.optimiser
        self.teacher = EmaTeacher(self.student.network, o.mu) if o.teacher == "ema" else None
        self.start = round(o.supervised_warmup * context.total_steps)
        self.iterations = 0
        self.passes = 0
        if o.repeats < 1 or o.teacher_speed < 1:
            raise ConfigError("repeats and teacher_speed must be at least 1", where="self_training")
        if o.feature_distance and config["pretrained"] == "none":
            raise ConfigError("needs a pretrained network", where="feature_distance", remedy="Set it to 0.")
        self.distance = (
            FeatureDistance(self.student.network, self.student.classes, o.feature_distance_classes)
            if o.feature_distance
            else None
        )

    @property
    def networks(self) -> Sequence[str]:
        """What can be scored, the network that the method ships first."""
        if self.teacher is None:
            return ("student",)
        return ("student", "teacher") if self.options.evaluate == "student" else ("teacher", "student")

    @property
    def labeller(self) -> nn.Module:
        """The network that labels."""
        return self.student.network if self.teacher is None else self.teacher.network

    def prepare(self, samples: Mapping[str, np.ndarray]) -> None:
        """Set the probabilities of labelled rows for rare-class sampling, if the preset asks for it."""
        self.student.prepare(samples)
        if hasattr(self.student, "row_weights"):
            self.row_weights = self.student.row_weights

    # ------------------------------------------------------------------------------------------------ training
    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """Move the teacher to the student, then update the student; ``repeats`` times once there are pseudo-labels."""
        losses: Mapping[str, Tensor] = {}
        for _ in range(self.options.repeats if step > self.start else 1):
            self.move_teacher(step)
            losses = self.loss_step(batch, step)
        return losses

    def move_teacher(self, step: int) -> None:
        """``teacher_speed`` updates of the teacher with the present student; up to ``start`` it becomes the student."""
        if self.teacher is None:
            return
        if step <= self.start:
            self.teacher.copy()
        else:
            self.teacher.update(self.options.teacher_speed)

    def loss_step(
        self, batch: Batch, step: int, *, labelled: bool = True, unlabelled: bool = True
    ) -> Mapping[str, Tensor]:
        """One update of the student on the whole loss, or on one part of it.

        Pseudo-labels come from the teacher as it is, augmentation is drawn anew from the context's generator. Neither
        the teacher nor any schedule moves. Returns the weighted terms.
        """
        self.iterations = step + 1
        images, labels = weaken(batch["image"], batch["label"], self.student.weak, self.context.generator)
        assert labels is not None
        mixed = self.mix(images, labels, batch) if unlabelled and step >= self.start else None
        self.student.begin(step)
        losses: dict[str, Tensor] = {}
        if mixed is not None and labelled and self.options.joint_forward:
            output = self.student.forward(torch.cat((images, mixed.images)))
            losses |= self.joint_losses(images, labels, mixed, output, step)
            torch.stack(tuple(losses.values())).sum().backward()
        else:
            # Two backward passes: the graph of one is freed before the next is built.
            if labelled:
                losses |= self.labelled_losses(images, labels, self.student.forward(images))
                torch.stack(tuple(losses.values())).sum().backward()
            if mixed is not None:
                loss = self.unlabelled_loss(mixed, self.student.forward(mixed.images), step)
                loss.backward()
                losses["unlabelled_loss"] = loss
        self.optimiser.step()
        self.passes += 1
        return {name: loss.detach() for name, loss in losses.items()}

    def joint_losses(
        self, images: Tensor, labels: Tensor, mixed: Mixed, output: SegmentationOutput, step: int
    ) -> dict[str, Tensor]:
        """Weighted terms of the ``output`` for labelled and mixed images, one behind the other; their sum is minimised.

        A method with further terms on the same forward pass extends this.
        """
        n = len(images)
        losses = self.labelled_losses(images, labels, rows(output, slice(None, n)))
        losses["unlabelled_loss"] = self.unlabelled_loss(mixed, rows(output, slice(n, None)), step)
        return losses

    def labelled_losses(self, images: Tensor, labels: Tensor, output: SegmentationOutput) -> dict[str, Tensor]:
        """The cross entropy on true labels, and the feature distance where it is on."""
        losses = {"labelled_loss": self.student.loss(output, labels)}
        if self.distance is not None:
            losses["feature_distance"] = self.options.feature_distance * self.distance(output.features, images, labels)
        return losses

    def unlabelled_loss(self, mixed: Mixed, output: SegmentationOutput, step: int) -> Tensor:
        """The cross entropy on pseudo-labels, times ``lambda_u`` and the ramp."""
        logits = self.student.logits(output.logits, mixed.labels)
        if self.quality.quality != "entropy":
            loss = mean_over_all(logits, mixed.labels, mixed.weights)
        elif self.quality.reweight:
            loss = reliable_ratio(logits, mixed.labels)
        else:
            loss = mean_over_valid(logits, mixed.labels)
        return self.unlabelled_weight(step) * (loss + self.student.auxiliary_loss(output, mixed.labels))

    def unlabelled_weight(self, step: int) -> float:
        """``lambda_u`` times the linear ramp at ``step``."""
        steps = self.options.ramp * self.context.total_steps
        return self.options.lambda_u * (min(1.0, (step - self.start + 1) / steps) if steps else 1.0)

    # ------------------------------------------------------------------------------------------------ labelling
    def label(self, images: Tensor, *, evaluation: bool = True) -> PseudoLabels:
        """Pseudo-labels of ``images`` [N,3,H,W]; batch norm uses statistics of ``images`` unless in ``evaluation``."""
        labeller = self.labeller.train(not evaluation)
        with torch.no_grad():
            with self.context.autocast():
                logits = labeller(images).logits
            progress = max(self.iterations - 1, 0) / self.context.total_steps
            return label_pixels(self.student.logits(logits, images[:, 0]), self.quality, progress)

    def mix(self, images: Tensor, labels: Tensor, batch: Batch) -> Mixed:
        """Label the batch's unlabelled images, mix them (with labelled ``images`` or each other) and disturb them."""
        o, generator = self.options, self.context.generator
        clean, _ = weaken(batch["unlabelled_image"], None, self.student.weak, generator)
        found, weight = targets(self.label(clean, evaluation=o.teacher_eval), self.quality)
        mixed = self._pasted(clean, found, weight, images, labels)
        strong = mixed.images
        if o.jitter:
            strong = colour_jitter(strong, JITTER_STRENGTH, o.jitter, generator)
        if o.blur:
            strong = gaussian_blur(strong, o.blur, generator)
        return Mixed(strong, mixed.labels, mixed.weights)

    def _pasted(self, images: Tensor, labels: Tensor, weight: Tensor | None, true: Tensor, truth: Tensor) -> Mixed:
        o, generator = self.options, self.context.generator
        n, height, width = labels.shape
        weights = None if weight is None else weight.expand(labels.shape)
        if o.mix == "none":
            return Mixed(images, labels, weights)
        if o.mix == "class":
            turn = torch.arange(n, device=labels.device) % len(true)
            source, names = true[turn], truth[turn]
            mask = class_mask(names, generator, o.mix_scope)
        elif o.mix == "classmix":
            source, names = images.roll(-1, 0), labels.roll(-1, 0)
            mask = ~class_mask(labels, generator, "image", up=False)
        else:
            source, names = images.roll(-1, 0), labels.roll(-1, 0)
            mask = rectangle_mask(n, height, width, generator)
            if o.mix == "cutout":
                source, names = torch.zeros_like(images), torch.full_like(labels, IGNORE)
        mask = sometimes(mask, o.mix_probability, generator)
        if weights is not None and o.mix == "class":
            weights = torch.where(mask, 1.0, weights)
        return Mixed(torch.where(mask[:, None], source, images), torch.where(mask, names, labels), weights)

    # ------------------------------------------------------------------------------------------------ use
    def segment(self, images: Tensor, network: str) -> Tensor:
        """Logits f32 [N,C,H,W] of ``network``, one of ``networks``."""
        if network == "teacher" and self.teacher is not None:
            return predict(self.teacher.network, images)
        return predict(self.student.network, images)

    def pseudo_labels(self, images: Tensor) -> PseudoLabels:
        """What the labelling network says of ``images`` now, in evaluation mode."""
        parts = [self.label(part) for part in images.split(CHUNK)]
        return PseudoLabels(
            torch.cat([p.labels for p in parts]),
            torch.cat([p.confidence for p in parts]),
            torch.cat([p.kept for p in parts]),
        )

    def state_dict(self) -> dict[str, Any]:
        """Student with optimiser, teacher, and the numbers of iterations and of updates of the student."""
        return {
            "student": self.student.state_dict(),
            "teacher": None if self.teacher is None else self.teacher.state_dict(),
            "iterations": self.iterations,
            "passes": self.passes,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.student.load_state_dict(state["student"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        self.iterations, self.passes = int(state["iterations"]), int(state["passes"])


def rows(output: SegmentationOutput, which: slice) -> SegmentationOutput:
    """The part of a network's output that belongs to some images of the batch."""
    optional = (output.representation, output.auxiliary)
    representation, auxiliary = (None if part is None else part[which] for part in optional)
    return SegmentationOutput(output.logits[which], output.features[which], representation, auxiliary)
