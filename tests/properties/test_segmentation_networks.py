"""Properties of the small segmentation networks over all image sizes."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.blocks.segmentation_networks import NetworkName, NetworkOptions, build_network
from tests.feature_bench import context


@settings(deadline=None, max_examples=12)
@given(
    network=st.sampled_from(["micro_conv", "micro_attention"]),
    rows=st.integers(1, 8),
    columns=st.integers(1, 8),
    classes=st.integers(2, 21),
    width=st.sampled_from([8, 16, 24]),
    representation=st.sampled_from([0, 5]),
)
def test_every_multiple_of_four_is_segmented_and_trained(
    network: NetworkName, rows: int, columns: int, classes: int, width: int, representation: int
) -> None:
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    options = NetworkOptions(network, width, "group", "none", representation, False, 0.0)
    module = build_network(options, classes, context(), generator)
    x = torch.rand(2, 3, 4 * rows, 4 * columns, generator=generator) * 2 - 1
    output = module(x)
    assert output.logits.shape == (2, classes, 4 * rows, 4 * columns)
    assert output.features.shape == (2, 4 * width, rows, columns)
    loss = output.logits.square().mean()
    if representation:
        assert output.representation.shape == (2, 5, 2 * rows, 2 * columns)
        loss = loss + output.representation.square().mean()
    else:
        assert output.representation is None
    loss.backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    flipped = module(x.flip(0)).logits.flip(0)
    torch.testing.assert_close(flipped, output.logits, rtol=1e-3, atol=1e-4)
