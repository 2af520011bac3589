"""What a method is, and what the harness lends to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from harness.types.data import Batch, Cameras, DataSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor


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
