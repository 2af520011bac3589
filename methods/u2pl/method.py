"""U2PL as a method of the harness: self-training in which the unreliable pixels are negatives of a contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.types import ConfigError, Context, DataSpec, PseudoLabels
from methods.blocks.entropy_partition import Partition, alpha_at, partition, uncertainty
from methods.blocks.options import parse_options
from methods.blocks.pixel_contrast import ContrastBatch
from methods.blocks.pixel_losses import IGNORE, mean_over_valid, reliable_ratio
from methods.blocks.segmentation_networks import SegmentationOutput
from methods.blocks.segmenter import CHUNK
from methods.blocks.self_training import Mixed, SelfTraining, rows
from methods.u2pl.contrast import ContrastOptions, UnreliableContrast
from methods.u2pl.options import FIXED, Options

if TYPE_CHECKING:
    from harness.types import Batch


@dataclass(frozen=True)
class Taught:
    """What the teacher says of images [N,3,H,W]: ``probabilities`` [N,C,H,W], the same on the grid of its ``keys``
    [N,R,h,w]."""

    probabilities: Tensor
    coarse: Tensor
    keys: Tensor


class U2PL(SelfTraining):
    """Learns from reliable pseudo-labels; unreliable pixels become negatives (Wang et al., CVPR 2022)."""

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        super().__init__({**config, **FIXED}, data, context)
        self.own = parse_options(Options, config, "u2pl")
        contrast = parse_options(ContrastOptions, config, "u2pl")
        width = int(config["representation"])
        if not width:
            raise ConfigError("the contrast needs a representation", where="u2pl.representation", remedy="Set a width.")
        self.contrast = UnreliableContrast(contrast, self.student.classes, width, context.device, context.seed)
        self.figures: dict[str, Tensor] = {}
        # The released code copies student to teacher in every step of the first epoch with pseudo-labels.
        epoch = int(data.splits.get("unlabelled", 0)) // max(1, int(config["unlabelled_batch_size"]))
        self.last_copy = self.start + (max(1, epoch) if contrast.official_quirks else 1)

    # ------------------------------------------------------------------------------------------------ training
    def move_teacher(self, step: int) -> None:
        """One update of momentum min(1 - 1/(t+1), mu), t from 0 at the first step with pseudo-labels: t = 0 copies."""
        if self.teacher is not None and step <= self.last_copy:
            self.teacher.copy()
        else:
            super().move_teacher(step)

    def loss_step(
        self, batch: Batch, step: int, *, labelled: bool = True, unlabelled: bool = True
    ) -> Mapping[str, Tensor]:
        """One update of the student; adds the share of reliable pixels and the contrast's margin to the losses."""
        self.figures = {}
        losses = super().loss_step(batch, step, labelled=labelled, unlabelled=unlabelled)
        return {**losses, **self.figures}

    def joint_losses(
        self, images: Tensor, labels: Tensor, mixed: Mixed, output: SegmentationOutput, step: int
    ) -> dict[str, Tensor]:
        """Labelled, pseudo-labelled and contrastive terms; their sum is minimised.

        The teacher sees the very images that the student sees, in training mode: that is where its running statistics
        come from, and what entropies, ranks and keys refer to.
        """
        n = len(images)
        taught = self.teach(torch.cat((images, mixed.images)), evaluation=False)
        valid = mixed.labels != IGNORE
        scores = uncertainty(taught.probabilities[n:], self.own.partition)
        part = self.divide(scores, valid)
        losses = self.labelled_losses(images, labels, rows(output, slice(None, n)))
        student = rows(output, slice(n, None))
        loss = self.pseudo_label_loss(mixed.labels, taught.probabilities[n:], part, student)
        losses["unlabelled_loss"] = self.unlabelled_weight(step) * loss
        self.figures["reliable"] = part.reliable.float().mean()
        if self.contrast.active:
            assert output.representation is not None
            pixels = self.contrast_batch(taught, torch.cat((labels, mixed.labels)), scores, valid, part, labelled=n)
            contrast, self.figures["margin"] = self.contrast(pixels, output.representation)
            losses["contrastive_loss"] = self.contrast.options.lambda_c * contrast
        return losses

    def pseudo_label_loss(
        self, labels: Tensor, probabilities: Tensor, part: Partition, output: SegmentationOutput
    ) -> Tensor:
        """Cross entropy on ``labels`` int64 [U,H,W] of the reliable pixels, times all / reliable pixels.

        With ``unreliable_ce`` soft the others are asked for the teacher's ``probabilities`` [U,C,H,W], and the loss is
        the mean over all valid pixels.
        """
        kept = labels.masked_fill(~part.reliable, IGNORE)
        logits = self.student.logits(output.logits, labels)
        auxiliary = self.student.auxiliary_loss(output, kept)
        if self.own.unreliable_ce == "soft":
            hard = F.cross_entropy(logits, kept, ignore_index=IGNORE, reduction="sum")
            soft = (F.cross_entropy(logits, probabilities, reduction="none") * part.unreliable).sum()
            return (hard + soft) / (labels != IGNORE).sum().clamp(min=1) + auxiliary
        loss = reliable_ratio(logits, kept) if self.quality.reweight else mean_over_valid(logits, kept)
        return loss + auxiliary

    # ----------------------------------------------------------------------------------------------- partition
    def teach(self, images: Tensor, *, evaluation: bool) -> Taught:
        """What the teacher says of ``images``; batch norm uses their own statistics unless in ``evaluation``."""
        network = self.labeller.train(not evaluation)
        with torch.no_grad():
            with self.context.autocast():
                output = network(images)
            assert output.representation is not None
            keys = output.representation.float()
            probabilities = self.student.logits(output.logits, images[:, 0]).softmax(1)
            if output.logits.shape[2:] == keys.shape[2:]:
                coarse = output.logits.float().softmax(1)
            else:
                size, corners = keys.shape[2:], bool(network.align_corners)
                coarse = F.interpolate(probabilities, size=size, mode="bilinear", align_corners=corners)
        return Taught(probabilities, coarse, keys)

    @property
    def alpha(self) -> float:
        """Share of unreliable pixels now; time counts from the first step with pseudo-labels."""
        steps = max(1, self.context.total_steps - self.start)
        progress = max(0, self.iterations - 1 - self.start) / steps
        return alpha_at(progress, self.quality.alpha, self.quality.alpha_schedule)

    def divide(self, scores: Tensor, valid: Tensor) -> Partition:
        """Reliable and unreliable ones of the ``valid`` pixels [N,H,W] by their uncertainty, now."""
        return partition(scores, valid, self.alpha, self.own.partition)

    def contrast_batch(
        self, taught: Taught, labels: Tensor, scores: Tensor, valid: Tensor, part: Partition, *, labelled: int
    ) -> ContrastBatch:
        """The batch on the grid of the representation: probabilities bilinear, labels and masks nearest.

        ``scores``, ``valid`` and ``part`` are of the images behind the first ``labelled`` ones.
        """
        confident = part.reliable
        if self.contrast.options.official_quirks and self.own.partition != "none":
            # The released anchors are the alpha_t most certain pixels, where the paper has the reliable ones.
            confident = partition(scores, valid, 1.0 - self.alpha).reliable
        masks = torch.stack((confident, self._source(valid, part)), 1)
        masks = F.pad(masks, (0, 0, 0, 0, 0, 0, labelled, 0))
        maps = torch.cat((labels[:, None], masks), 1).to(torch.float32)
        near = F.interpolate(maps, size=taught.keys.shape[2:], mode="nearest")
        return ContrastBatch(
            taught.keys, taught.coarse, near[:, 0].long(), near[:, 1] > 0, near[:, 2] > 0, labelled=labelled
        )

    def _source(self, valid: Tensor, part: Partition) -> Tensor:
        wanted = self.contrast.options.negatives
        if wanted == "none":
            return torch.zeros_like(valid)
        if wanted == "all" or self.own.partition == "none":
            return valid
        return part.unreliable if wanted == "unreliable" else part.reliable

    # ------------------------------------------------------------------------------------------------ use
    def pseudo_labels(self, images: Tensor) -> PseudoLabels:
        """Labels and confidence of the teacher now; kept are the reliable ones by the partition of ``images``."""
        taught = [self.teach(chunk, evaluation=True).probabilities for chunk in images.split(CHUNK)]
        confidence, labels = torch.cat([p.amax(1) for p in taught]), torch.cat([p.argmax(1) for p in taught])
        scores = torch.cat([uncertainty(p, self.own.partition) for p in taught])
        return PseudoLabels(labels, confidence, self.divide(scores, torch.ones_like(labels, dtype=torch.bool)).reliable)

    def negatives(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Which pixels of ``images`` [N,3,H,W] would enter each queue now, bool [N,C,h,w], and which are unreliable,
        bool [N,h,w], on the grid of the representation."""
        parts = [self.teach(chunk, evaluation=True) for chunk in images.split(CHUNK)]
        taught = Taught(
            torch.cat([p.probabilities for p in parts]),
            torch.cat([p.coarse for p in parts]),
            torch.cat([p.keys for p in parts]),
        )
        labels = taught.probabilities.argmax(1)
        valid = torch.ones_like(labels, dtype=torch.bool)
        scores = uncertainty(taught.probabilities, self.own.partition)
        part = self.divide(scores, valid)
        pixels = self.contrast_batch(taught, labels, scores, valid, part, labelled=0)
        n, _, height, width = taught.keys.shape
        mask = self.contrast.negatives(pixels).view(-1, n, height, width).transpose(0, 1)
        return mask, F.interpolate(part.unreliable[:, None].float(), (height, width))[:, 0] > 0

    def state_dict(self) -> dict[str, Any]:
        """Student, teacher and contrast."""
        return {**super().state_dict(), "contrast": self.contrast.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        self.contrast.load_state_dict(state["contrast"])
