"""Maps on a GPU are those of the CPU; run where there is one."""

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.methods import layers_of, map_batch, parse_method

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.usefixtures("exact"),
]
METHODS = [
    "cam", "grad-cam@layer4", "grad-cam@layer3", "grad-cam@layer2", "grad-cam++@layer3", "xgrad-cam@layer3", "layer-cam@layer3",
    "hires-cam@layer3", "eigen-cam@layer4", "eigen-grad-cam@layer3", "kpca-cam@layer4", "fem@layer4", "finer-cam@layer4",
    "shapley-cam@layer3", "refine-cam@layer3+layer4", "random", "centre", "edges",
]  # fmt: skip


@pytest.fixture(scope="module")
def inputs():
    return torch.rand(3, 3, 160, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1


def maps_on(device, inputs, target=None, precision="float32"):
    model = sc.load_model("critternet", device=device, precision=precision)
    specs = [parse_method(m, layer="layer4" if m == "cam" else None) for m in METHODS]
    network = model.network(layers_of(specs))
    found = map_batch(network, inputs.to(device), specs, target=target)
    return [stack.cpu().numpy() for stack in found.signed], found.logits.cpu().numpy()


@pytest.mark.parametrize("target", [None, 3])
def test_maps_agree_with_the_cpu(inputs, target):
    here, logits = maps_on("cpu", inputs, target)
    there, found = maps_on("cuda", inputs, target)
    np.testing.assert_allclose(found, logits, rtol=1e-3, atol=1e-3)
    for name, one, other in zip(METHODS, here, there, strict=True):
        span = float(np.abs(one).max())
        worst = float(np.abs(one - other).max()) / span
        assert worst < 2e-3, name


def test_maps_in_bfloat16_are_finite_and_close_at_the_head(inputs):
    here, _ = maps_on("cpu", inputs, 3)
    there, _ = maps_on("cuda", inputs, 3, "bfloat16")
    assert all(np.isfinite(stack).all() for stack in there)
    span = float(np.abs(here[0]).max())
    assert float(np.abs(here[0] - there[0]).max()) / span < 0.05


def test_nothing_is_left_on_the_card(inputs):
    model = sc.load_model("critternet", device="cuda")
    batch = inputs.to("cuda")
    sc.attribute(model, batch, layer=["layer4", "layer2"])
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(50):
        sc.attribute(model, batch, layer=["layer4", "layer2"])
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() - before < 2**20
