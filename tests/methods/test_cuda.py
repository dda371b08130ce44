"""Every method's maps on a GPU are those of the CPU; run where there is one."""

import copy

import pytest
import torch

import saliscope as sc
from quick import at
from saliscope.methods import METHODS
from small_vit import Vit

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.usefixtures("exact"),
]
DEVICE = "cuda"
TARGETS = torch.tensor([[0, 3], [2, 2], [4, 1]])
CONVOLUTIONAL = [n for n, kind in METHODS.items() if kind.family not in ("trivial", "transformers")]
ATTENDING = [n for n, kind in METHODS.items() if kind.family == "transformers"]


def same(net, batch, method):
    here = sc.attribute(net, batch, TARGETS, method=method)
    there = sc.attribute(copy.deepcopy(net).to(DEVICE), batch.to(DEVICE), TARGETS, method=method)
    assert there.device.type == DEVICE
    scale = float(here.abs().max())
    torch.testing.assert_close(there.cpu() / scale, here / scale, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_maps_agree_with_the_cpu(nets, batch, name):
    same(nets.gap("inplace"), batch, at(name))


@pytest.mark.parametrize("name", [n for n in CONVOLUTIONAL if METHODS[n]().on_layer and n != "cam"])
def test_maps_of_an_earlier_layer_too(nets, batch, name):
    same(nets.gap("inplace"), batch, at(name, "conv1"))


@pytest.mark.parametrize("name", ATTENDING)
def test_maps_of_attention_agree(batch, name):
    same(Vit(), batch, name)
