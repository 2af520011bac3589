"""FST as a method of the harness: a teacher that follows students of the future."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.types import Context, DataSpec
from methods.blocks.self_training import Mixed, SelfTraining
from methods.blocks.virtual_steps import Rewind, Snapshot, Soup
from methods.fst.options import parse

if TYPE_CHECKING:
    from harness.types import Batch

FUTURE = "future_"
STREAMS = ("image", "label", "unlabelled_image")


class FST(SelfTraining):
    """Self-training whose teacher also follows steps that the student takes and takes back (Du et al., NeurIPS 2022).

    An iteration is virtual steps, their undoing and one real step with pseudo-labels of the teacher they moved. Up to
    and with ``start``, the first iteration with pseudo-labels, iterations are ordinary.
    """

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        self.fst = parse(config)
        super().__init__(config, data, context)
        self.future_batches = self.fst.ahead
        self._rewind = Rewind(self.student.network, self.optimiser, self.fst.restore == "all")
        self._soup = Soup(list(self.student.network.parameters())) if self.fst.variant == "wide" else None
        self._before = Snapshot()
        self._gradients: list[Tensor | None] = []

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One iteration: K + 1 (deep) or N + 1 (wide) losses, of which the real step's are returned."""
        if step <= self.start:
            self.move_teacher(step)
            losses = self.loss_step(batch, step)
            if step == self.start and self.fst.first_update:
                self._follow(step, 1)
            return losses
        if self._soup is not None:
            return self._wide(self._soup, batch, step)
        return self._deep(batch, step)

    # ------------------------------------------------------------------------------------------------ iterations
    def _deep(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """A chain of virtual steps, the teacher following each student of it (FST-D; FST, sections 4.4 and 4.5)."""
        o = self.fst
        passes = 1 + (step - self.start - 1) * (o.K + 1)
        labelled: dict[str, Tensor] = {}
        self._rewind.take()
        for k in range(o.K + 1):
            if k or o.teacher_init_update:
                self._follow(step, passes + k, virtual=k > 0)
            if k == 0 and o.teacher_rollback:
                self._remember_teacher()
            if k < o.K and o.reuse_labelled_grad:
                labelled = self._first_step(batch, step)
            elif k < o.K:
                self._virtual_step(batch, step, k)
        self._rewind.restore()
        losses = self._second_step(batch, step, labelled) if labelled else self.loss_step(batch, step)
        if o.teacher_rollback:
            self._before.restore()
        if o.last_update:
            self._follow(step, passes + o.K + 1)
        return losses

    def _wide(self, soup: Soup, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """Virtual steps side by side from one student, the teacher following their mean (FST-W; FST, section 4.6)."""
        o = self.fst
        passes = 1 + (step - self.start - 1) * (o.N + 1)
        self._rewind.take()
        for branch in range(o.N):
            if branch:
                self._rewind.restore()
            self._virtual_step(batch, step, branch)
            soup.add()
        soup.pour()
        if o.teacher_rollback:
            self._remember_teacher()
        self._follow(step, passes + o.N, virtual=True)
        self._rewind.restore()
        losses = self.loss_step(batch, step)
        if o.teacher_rollback:
            self._before.restore()
        if o.teacher_init_update:
            self._follow(step, passes + o.N + 1)
        return losses

    # ------------------------------------------------------------------------------------------------ parts
    def _virtual_step(self, batch: Batch, step: int, number: int) -> None:
        """A loss and a step of the real optimiser, on this batch or on future batch ``number``."""
        if self.fst.ahead:
            batch = {name: batch[FUTURE + name].chunk(self.fst.ahead)[number] for name in STREAMS}
        part = self.fst.virtual_loss
        self.loss_step(batch, step, labelled=part != "unlabelled", unlabelled=part != "labelled")

    def _follow(self, step: int, passes: int, *, virtual: bool = False) -> None:
        """One update of the teacher with the student as it is, after ``passes`` losses (FST, section 4.1).

        The warm-up of the momentum counts losses, or iterations as in the released semi-supervised code.
        """
        o, teacher = self.fst, self.teacher
        assert teacher is not None
        teacher.updates = (passes if o.momentum_clock == "passes" else step - self.start) - 1
        teacher.momentum = o.mu_virtual if virtual and o.mu_virtual is not None else self.options.mu
        teacher.update()

    def _remember_teacher(self) -> None:
        self._before.take(self.labeller.parameters())

    def _first_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """A virtual step; returns its labelled losses, whose gradients are kept: the real step's are the same."""
        images, labels = batch["image"], batch["label"]
        self.iterations = step + 1
        mixed = self.mix(images, labels, batch)
        self.student.begin(step)
        losses = self.labelled_losses(images, labels, self.student.forward(images))
        torch.stack(tuple(losses.values())).sum().backward()
        self._gradients = [None if p.grad is None else p.grad.clone() for p in self.student.network.parameters()]
        self._rewind.take()  # once more: the labelled pass has moved running statistics, as it would in the real step
        self._descend(mixed, step)
        return losses

    def _second_step(self, batch: Batch, step: int, losses: dict[str, Tensor]) -> Mapping[str, Tensor]:
        """The real step after ``_first_step``, with its labelled losses and their gradients: one network pass less."""
        mixed = self.mix(batch["image"], batch["label"], batch)
        self.student.begin(step)
        for parameter, gradient in zip(self.student.network.parameters(), self._gradients, strict=True):
            parameter.grad = gradient
        return {name: loss.detach() for name, loss in losses.items()} | self._descend(mixed, step)

    def _descend(self, mixed: Mixed, step: int) -> dict[str, Tensor]:
        loss = self.unlabelled_loss(mixed, self.student.forward(mixed.images), step)
        loss.backward()
        self.optimiser.step()
        self.passes += 1
        return {"unlabelled_loss": loss.detach()}
