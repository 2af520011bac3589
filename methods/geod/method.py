"""GeoD (Shi et al., NeurIPS 2022) over any radiance-field GAN: the discriminator also reads geometry from images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Generator, Tensor

from harness.types import Cameras, ConfigError, Context, DataSpec, Guide, RadianceField, Renders, SceneRenders, Stage
from methods.blocks.ema import Ema
from methods.blocks.geometry_head import GeometryHead
from methods.blocks.schedule import rate_factor, set_rate
from methods.geod.guidance import geometry_loss, rendered_geometry, resized
from methods.geod.heads import build_head, learns_depth, reading_errors
from methods.geod.novel_views import NovelViews
from methods.geod.options import parse
from methods.geod.schedule import Clock, Ramp

if TYPE_CHECKING:
    from harness.types import Batch

HEAD_STREAM = 7 << 40  # seeds of the head's weights, apart from the base's
REPORT_EVERY = 10
REPORT_MEMORY = 0.8
READING_CHUNK = 256


class GeoD:
    """Trains a base and a geometry head side by side; what the head reads from fakes guides the base's generator.

    Up to ``geo_t0`` the base is trained as it is without GeoD, bit for bit. Everything that generates is the base's.
    """

    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)

    @staticmethod
    def supervision(config: Any) -> tuple[str, ...]:
        """Heads that learn depth are shown that of the training images."""
        return ("depth",) if learns_depth(config["head"]) else ()

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        o = self.options = parse(config)
        if data.prior is None:
            raise ConfigError("GeoD needs a pose prior", where="geod", remedy="Give the data a `prior` option.")
        self.context, self.resolution = context, data.resolution
        self.base = _built_base(config, data, context)
        seeded = Generator().manual_seed(HEAD_STREAM + context.seed)
        self.head = build_head(o, data.prior, seeded).to(context.device)
        self.head_optimiser = torch.optim.Adam(
            self.head.parameters(), lr=o.head_lr, betas=(o.head_beta1, o.head_beta2), weight_decay=o.head_weight_decay
        )
        self.head_average = Ema(self.head, o.head_ema_decay) if o.head_in_use == "ema" else None
        self.head.requires_grad_(False)  # only its own step lets it learn
        self.views = NovelViews(o, data.prior, context)
        self.clock = Clock(o.schedule_unit, context.total_steps, context.batch_size)
        self.head_end = min(o.head_stop, o.geo_t0) if o.head_in_use == "frozen" else o.head_stop
        full = o.geo_t1 if o.geo_ramp else o.geo_t0
        self.geo_ramp = Ramp(o.geo_t0, full, o.geo_stop, o.geo_w0, o.geo_w1)
        self.nvs_ramp = Ramp(o.geo_t0, full, o.geo_stop, 0.0, o.nvs_weight if o.nvs != "none" else 0.0)
        self.report = torch.full((3,), torch.nan, device=context.device)
        self._seen: dict[str, list[Tensor]] = defaultdict(list)
        self._fakes: list[SceneRenders] = []
        self.base.guides.append(self._guide)

    # ------------------------------------------------------------------------------------------------- training
    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """The head's step on real images, then a step of the base, in which the guide speaks (GeoD, 4.4)."""
        log: dict[str, Tensor] = {}
        images, depth = self._mirrored(batch["image"], batch.get("depth"), step)
        learning = self.clock.at(step) < self.head_end
        if learning:
            log |= self._head_step(images, depth, step)
        log |= self.views.learn(images, self._reader)
        self._seen.clear()
        self._fakes.clear()
        log |= self.base.train_step(batch, step)
        log |= {name: torch.stack(values).mean() for name, values in self._seen.items()}
        if learning and self.options.head_learns_from == "real_fake":
            for fake in self._fakes:
                log["head_fake"] = self._learn_fakes(fake)
        self._fakes.clear()
        if learning and self.head_average is not None:
            self.head_average.update(step)
        return log

    def _head_step(self, images: Tensor, depth: Tensor | None, step: int) -> dict[str, Tensor]:
        """One step on real images; now and then how well they were read before it, while each is still new."""
        log: dict[str, Tensor] = {}
        if depth is not None and step % REPORT_EVERY == 0:
            with torch.no_grad(), self.context.autocast():
                read = self.head.depth(images)
            read = resized(read[:, None], (depth.shape[1], depth.shape[2]))[:, 0]
            errors = reading_errors(read, depth)
            self.report = torch.where(self.report.isnan(), errors, torch.lerp(errors, self.report, REPORT_MEMORY))
            log |= dict(zip(("head_side", "head_side_const", "head_corr"), errors.unbind(), strict=True))
        if self.options.head_lr_schedule == "linear_to_zero":
            factor = rate_factor(step, self.clock.step(self.head_end), "linear_to_zero")
            set_rate(self.head_optimiser, self.options.head_lr * factor)
        parts = self._learn(images, depth)
        return log | {f"head_{name}": value for name, value in parts.items()}

    def _learn(self, images: Tensor, depth: Tensor | None) -> dict[str, Tensor]:
        self.head.requires_grad_(True)
        self.head_optimiser.zero_grad(set_to_none=True)
        with self.context.autocast():
            parts = self.head.learn(images, depth)
        parts["total"].backward()
        self.head_optimiser.step()
        self.head.requires_grad_(False)
        return {name: value.detach() for name, value in parts.items()}

    def _learn_fakes(self, scene: SceneRenders) -> Tensor:
        """The control that has to fail: the head also learns from fakes and what their generator took for depth."""
        images = resized(scene.rgb, (self.resolution, self.resolution))
        if not learns_depth(self.options.head):
            return self._learn(images, None)["total"]
        with torch.no_grad():
            depth, mask = rendered_geometry(scene, (self.resolution, self.resolution), self.options.opaque, 0)
        return self._learn(images, torch.where(mask, depth, 0.0))["total"]

    def _mirrored(self, images: Tensor, depth: Tensor | None, step: int) -> tuple[Tensor, Tensor | None]:
        """Every second row turned left to right, in the next step the others: no coin is tossed for the head."""
        if not self.options.head_mirror:
            return images, depth
        turned = (torch.arange(len(images), device=images.device) + step) % 2 == 0
        if depth is not None:
            depth = torch.where(turned[:, None, None], depth.flip(2), depth)
        return torch.where(turned[:, None, None, None], images.flip(3), images), depth

    # ------------------------------------------------------------------------------------------------- guidance
    @property
    def _reader(self) -> GeometryHead:
        """The head as the generator meets it."""
        return self.head if self.head_average is None else self.head_average.module

    def _guide(self, scene: SceneRenders, step: int) -> Tensor:
        """What the base adds to the loss of its generator: w L_geo + w' L_nvs, 0 without any work before ``geo_t0``."""
        o, time = self.options, self.clock.at(step)
        total = scene.rgb.new_zeros(())
        if o.head_learns_from == "real_fake":
            self._fakes.append(replace(scene, rgb=scene.rgb.detach(), depth=scene.depth.detach()))
        with torch.autocast(scene.rgb.device.type, enabled=False):
            if self.geo_ramp.active(time) and step % o.geo_every == 0:
                weight = self.geo_ramp.weight(time)
                loss = self._geometry(scene)
                self._log(geo_weight=loss.new_tensor(weight), l_geo=loss.detach())
                total = total + weight * (o.geo_every if o.lazy_scaled else 1) * loss
            if self.nvs_ramp.high and self.nvs_ramp.active(time) and step % o.nvs_every == 0:
                loss, share = self.views.loss(scene, self._reader)
                self._log(l_nvs=loss.detach(), nvs_share=share)
                total = total + self.nvs_ramp.weight(time) * (o.nvs_every if o.lazy_scaled else 1) * loss
        self._log(opacity=scene.opacity.detach().mean())
        return total

    def _geometry(self, scene: SceneRenders) -> Tensor:
        o = self.options
        images = scene.rgb.detach() if o.detach_image else scene.rgb
        images = resized(images, (self.resolution, self.resolution))
        with self.context.autocast():
            terms = geometry_loss(self._reader, images, scene, o)
        if len(terms) > 1:
            self._log(**{f"l_{name}": value.detach() for name, value in terms.items()})
        weights = {"normals": 1.0, "depth": o.geo_depth_weight}
        return torch.stack([weights[name] * value for name, value in terms.items()]).sum()

    def _log(self, **values: Tensor) -> None:
        for name, value in values.items():
            self._seen[name].append(value)

    # ------------------------------------------------------------------------------------------------- the head
    @torch.no_grad()
    def read_depth(self, images: Tensor) -> Tensor:
        """z-depth [N,H,W] that the head reads from images [N,3,H,W] in [-1,1]; beside the object it means nothing."""
        size, made = (images.shape[2], images.shape[3]), list[Tensor]()
        for part in images.to(self.context.device).split(READING_CHUNK):
            with self.context.autocast():
                read = self._reader.depth(part)
            made.append(resized(read.float()[:, None], size)[:, 0])
        return torch.cat(made) if made else images.new_zeros(0, *size)

    def head_report(self) -> dict[str, float]:
        """Running means over training batches, each read before it was learned: ``side`` of the head, ``side_const`` of
        a constant depth, ``corr`` of log depths; NaN for a head that is shown no depth."""
        return dict(zip(("side", "side_const", "corr"), self.report.tolist(), strict=True))

    # --------------------------------------------------------------------------------- what generates is the base
    @property
    def averages(self) -> Sequence[Any]:
        """The base's averages."""
        return getattr(self.base, "averages", ())

    @property
    def guides(self) -> list[Guide]:
        """The base's guides, of which GeoD is one."""
        return self.base.guides

    def latents(self, n: int, generator: Generator) -> Tensor:
        """As the base."""
        return self.base.latents(n, generator)

    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        """As the base."""
        return self.base.sample(latents, cameras)

    def codes(self, latents: Tensor) -> Tensor:
        """As the base."""
        return self.base.codes(latents)

    def mean_code(self) -> Tensor:
        """As the base."""
        return self.base.mean_code()

    def render_codes(self, codes: Tensor, cameras: Cameras) -> Renders:
        """As the base."""
        return self.base.render_codes(codes, cameras)

    def density(self, codes: Tensor, points: Tensor) -> Tensor:
        """As the base."""
        return self.base.density(codes, points)

    # ---------------------------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """The base's state, the head with its optimiser, the state of the novel views and the running report."""
        return {name: part.state_dict() for name, part in self._parts().items()} | {"report": self.report}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.report = state["report"].to(self.context.device)

    def _parts(self) -> dict[str, Any]:
        parts = {"base": self.base, "head": self.head, "head_optimiser": self.head_optimiser, "views": self.views}
        return parts if self.head_average is None else {**parts, "head_average": self.head_average}


def _built_base(config: Any, data: DataSpec, context: Context) -> Any:
    """The method that GeoD is plugged into. Raises ConfigError where there is none, or it renders no geometry."""
    if context.base is None:
        raise ConfigError("no base was lent", where="geod.base", remedy="Name a method with a radiance field.")
    base = context.base(config, data, context)
    if not isinstance(base, RadianceField):
        raise ConfigError(
            f"{context.base.__name__} renders neither depth nor density: there is nothing to guide",
            where="geod.base",
            remedy="Choose a method whose card has the capability radiance_field, such as triplane.",
        )
    return base
