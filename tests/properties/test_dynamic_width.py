from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.blocks.dynamic_width import WidthOptions
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.width_layout import Share, layout, shares
from tests.dynamic_bench import SMALL, gradients, judge, noise, width_of

RATIOS = st.floats(0.05, 1.0)
SETTINGS = settings(deadline=None, max_examples=12)
PLAN = layout(judge(1.0).layers)


def kept_weights(ratio: float, **width: Any) -> list[torch.Tensor]:
    """Which weights of each layer take part in the first training pass."""
    network = judge(ratio, **width)
    with torch.no_grad():
        for _, layer in network.layers:
            layer.weight.fill_(1.0)
    thin = width_of(network).draw()
    made = []
    for index, (_, layer) in enumerate(network.layers):
        weight = None if thin is None else thin.weights(index, layer)[0]
        made.append((layer.weight if weight is None else weight).detach() != 0)
    return made


@SETTINGS
@given(RATIOS, st.integers(-1, 10), st.sampled_from(["whole", "official"]))
def test_counts(ratio: float, keepd: int, reading: Any) -> None:
    for index, (wire, share) in enumerate(zip(PLAN.wires, shares(PLAN, ratio, keepd, reading), strict=True)):
        total = wire.inputs - wire.protected
        protected = wire.protectable and index < keepd
        reads = {total} if protected or index == 0 else {max(1, int(ratio * total))}
        if wire.protectable and index >= keepd >= 0:
            reads.add(total)  # some of these read what full layers write
        assert share.reads in reads
        whole = protected or wire.writes is None
        assert share.writes == (wire.outputs if whole else max(1, int(ratio * wire.outputs)))
        assert isinstance(share, Share)


@SETTINGS
@given(RATIOS, RATIOS)
def test_prefixes_are_nested(first: float, second: float) -> None:
    low, high = sorted((first, second))
    for narrow, wide in zip(kept_weights(low), kept_weights(high), strict=True):
        assert not (narrow & ~wide).any()


@SETTINGS
@given(RATIOS, st.integers(0, 5), st.sampled_from(["random", "random_consistent"]))
def test_random_masks_have_the_counts_of_prefixes(ratio: float, seed: int, select: Any) -> None:
    for random, prefix in zip(kept_weights(ratio, seed=seed, select=select), kept_weights(ratio), strict=True):
        assert int(random.sum()) == int(prefix.sum())


@SETTINGS
@given(RATIOS, st.integers(-1, 11), st.sampled_from(["whole", "official"]), st.booleans(), st.sampled_from([8, 16, 32]))
def test_slices_compute_what_masks_compute(
    ratio: float, keepd: int, reading: Any, mask_bias: bool, resolution: int
) -> None:
    for select in ("prefix", "random_consistent"):
        width = {"select": select, "keepd": keepd, "reading": reading, "mask_bias": mask_bias}
        masked, sliced = (judge(ratio, SMALL, resolution, sliced=sliced, **width) for sliced in (False, True))
        images = noise(4, resolution)
        assert sliced(images).allclose(masked(images), rtol=1e-4, atol=1e-6)
        width_of(masked).begin(0, 4, 100)  # draws the same channels again
        width_of(sliced).begin(0, 4, 100)
        a, b = gradients(masked, images), gradients(sliced, images)
        for name, gradient in a.items():
            assert gradient.allclose(b[name], rtol=1e-4, atol=1e-5 * float(gradient.abs().max()) + 1e-9), name


@SETTINGS
@given(RATIOS, st.sampled_from([8, 16, 32]), st.integers(1, 8))
def test_subnets_compute_what_masks_compute(ratio: float, resolution: int, batch: int) -> None:
    network = judge(ratio, SMALL, resolution)
    images = noise(batch if batch in (1, 2, 3, 4, 8) else 4, resolution)
    with torch.no_grad():
        subnet = network.extract_subnet(ratio)
        assert subnet(images).allclose(network(images), rtol=1e-4, atol=1e-6)
    assert sum(p.numel() for p in subnet.parameters()) <= sum(p.numel() for p in network.parameters())


@SETTINGS
@given(RATIOS)
def test_weights_outside_the_subnet_have_no_gradient(ratio: float) -> None:
    network, made = judge(ratio), kept_weights(ratio)
    found = gradients(network, noise(4))
    for (name, _), live in zip(network.layers, made, strict=True):
        assert not found[f"network.{name}.weight"][~live].any()
        bias = found.get(f"network.{name}.bias")
        if bias is not None:
            assert not bias[~live.flatten(1).any(1)].any()


@SETTINGS
@given(st.integers(1, 8), st.sampled_from([8, 16, 32]))
def test_the_full_ratio_is_the_plain_network(batch: int, resolution: int) -> None:
    images = noise(4 if batch > 4 else batch, resolution)
    for select in ("prefix", "random"):
        network = judge(1.0, SMALL, resolution, select=select)
        assert network(images).equal(StyleDiscriminator.forward(network, images))


@SETTINGS
@given(RATIOS, RATIOS, st.sampled_from(["linear", "step", "cosine"]), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_the_schedule_is_monotone_between_its_ends(start: float, end: float, kind: Any, moments: list[float]) -> None:
    options = WidthOptions(start, end, kind)
    assert options.ratio(0, 1) == start
    assert abs(options.ratio(1, 1) - end) < 1e-12
    made = [options.ratio(moment, 1.0) for moment in sorted(moments)]
    assert made == sorted(made, reverse=end < start)
