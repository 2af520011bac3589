"""A method, a data set and a protocol that run in milliseconds, for tests of the store, the loop and the executors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.running.cell import run_cell
from harness.running.settings import Observer, RunSettings
from harness.store import Store
from harness.types import Budget, Cell, Context, DataSpec, MissingAsset, Outcome, Renders, Scores, Stage
from methods.blocks.ema import Ema

SIZE = 8


class Tiny:
    """A linear autoencoder that uses every source of randomness, two stages and a moving average."""

    stages = (Stage("warm", 0.25), Stage("main", 0.75))

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        self.config, self.context = config, context
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(0.1), nn.Conv2d(4, 3, 3, padding=1))
        self.net.to(context.device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=config.lr, foreach=True)
        self.ema = Ema(self.net, 0.9)
        self.averages = (self.ema,)
        self.second: torch.optim.Optimizer | None = None

    def begin_stage(self, stage: Stage) -> None:
        if stage.name == "main":
            self.second = torch.optim.SGD(self.net.parameters(), lr=1e-4, momentum=0.9)

    def train_step(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        time.sleep(self.config.get("sleep", 0.0))
        images = batch["image"]
        noise = torch.randn(images.shape, generator=self.context.generator)
        scale = torch.full((), -1.0 if step == self.config.get("poison_step", -1) else 1.0)
        with self.context.autocast():
            made = self.net(images + 0.1 * noise)
        loss = (made.float() - images).square().mean() * scale.log().add(1.0)
        self.optimiser.zero_grad()
        if self.second is not None:
            self.second.zero_grad()
        loss.backward()
        self.optimiser.step()
        if self.second is not None:
            self.second.step()
        if step == self.config.get("spoil_step", -1):
            with torch.no_grad():
                self.net[0].weight.mul_(float("nan"))
        return {"loss": loss.detach(), **({"odd": loss.detach().double()} if step % 2 else {})}

    def state_dict(self) -> dict[str, Any]:
        second = None if self.second is None else self.second.state_dict()
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "second": second,
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.load_state_dict(state["ema"])
        if self.second is not None:
            self.second.load_state_dict(state["second"])

    def latents(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 3, SIZE, SIZE, generator=generator)

    @torch.no_grad()
    def sample(self, latents: Tensor, cameras: Any) -> Renders:
        return Renders(self.ema.module(latents).tanh())


class View(dict[str, np.ndarray]):
    def view(self, fields: tuple[str, ...]) -> Mapping[str, np.ndarray]:
        return {name: self[name] for name in fields}

    digest = "tiny-data"


class TinyProtocol:
    """Samples eight pictures and scores their mean; ``settings`` make it fail."""

    REQUIRES = ("generates",)
    TRAIN = ("train", ("image",))

    def predict(self, model: Any, dataset: Any, settings: Mapping[str, Any], context: Context) -> dict[str, np.ndarray]:
        rgb = model.sample(model.latents(8, context.generator), None).rgb
        return {"images": ((rgb + 1) * 127.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()}

    def predict_reference(
        self, name: str, dataset: Any, settings: Mapping[str, Any], seed: int
    ) -> dict[str, np.ndarray]:
        return {"images": np.zeros((8, SIZE, SIZE, 3), np.uint8)}

    def score(
        self, predictions: Mapping[str, np.ndarray], dataset: Any, settings: Mapping[str, Any], root: Path, cell: Cell
    ) -> Scores:
        if settings.get("needs_weights"):
            raise MissingAsset("weights are not here", remedy="Put them there.")
        if settings.get("broken"):
            raise RuntimeError("the protocol is broken")
        means = predictions["images"].astype(np.float64).mean((1, 2, 3))
        metrics = {"mean[x1]": float(means.mean()), "none": float("nan")}
        return Scores(metrics, {"mean[x1]": means}, {"grid": predictions["images"][0]}, {"none": "never defined"})


class TinySources:
    """Stand-ins for the registry and the data room; ``calls`` lists what was asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.code = "1"

    def method(self, cell: Cell) -> type[Tiny]:
        self.calls.append("method")
        return Tiny

    def protocol(self, name: str) -> TinyProtocol:
        self.calls.append("protocol")
        return TinyProtocol()

    def dataset(self, spec: DataSpec, cache: Path, workers: int, progress: Callable[[str, int, int], None]) -> Any:
        images = np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE, 3), dtype=np.uint8)
        return SimpleNamespace(spec=spec, split=lambda name: View(image=images))

    def training_code(self, cell: Cell) -> str:
        return self.code


def tiny_cell(images: int = 240, seed: int = 0, method: str = "tiny", code: str = "", **config: Any) -> Cell:
    """A cell of 30 steps of batch 8."""
    settings = {name: config.pop(name) for name in ("needs_weights", "broken") if name in config}
    return Cell(
        suite="tiny",
        protocol="tiny",
        method=method,
        tier="smoke",
        seed=seed,
        budget=Budget("quick", images),
        data=DataSpec("objects/tiny", SIZE, {"train": 40}),
        config={"batch_size": 8, "lr": 1e-3, **config},
        settings=settings,
        precision="fp32",
        code=code,
    )


def tiny_settings(cache: Path, **changes: Any) -> RunSettings:
    """Checkpoints at every log record, every seven steps."""
    return RunSettings(device="cpu", cache=cache, **{"checkpoint_seconds": 0.0, "log_every": 7, **changes})


def work(cell: Cell, store: Store, settings: RunSettings, observer: Observer | None) -> Outcome:
    """Run a tiny cell, as executors do."""
    return run_cell(cell, store, settings, observer, sources=TinySources())
