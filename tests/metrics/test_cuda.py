"""What is asked about maps has the same answers on a GPU as on the CPU; run where there is one."""

import copy

import numpy as np
import pytest
import torch

from saliscope.engine import BatchTarget, Budget, Network, Question
from saliscope.frames import Frame
from saliscope.methods import map_batch, parse_method
from saliscope.metrics import INQUIRIES, Panel, Twin, impute

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.usefixtures("exact"),
]
DEVICE = "cuda"
SIZE = 48
METHODS = ("grad-cam@act1", "gradient")


def panel(net, device):
    network = Network(copy.deepcopy(net).to(device), read=lambda output: output)
    images = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).to(device)
    classes = torch.tensor([0, 2, 4], device=device)
    specs = [parse_method(m) for m in METHODS]

    def explain(pictures, which, own=None):
        some = [specs[i] for i in which]
        target = classes if own is None else own.to(device)
        found = map_batch(network, pictures, some, target=target)
        return [s.method.finish(m)[:, 0] for s, m in zip(some, found.signed, strict=True)]

    # Maps with few levels: what stands first among equal values is drawn, and must be the same draw.
    maps = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    maps = ((maps * 8).round() - 3).to(device)
    targets = [BatchTarget(classes, "probability"), BatchTarget(classes, "logit")]
    question = Question(network, images, images, (), {}, targets, Budget())
    masks = [np.indices((SIZE, SIZE)).sum(0) % (3 + i) == 0 for i in range(3)]
    frames = [Frame.squash((SIZE, SIZE), (SIZE, SIZE))] * 3
    twin = Twin(torch.tensor([1, 3, 0]), masks, frames)
    return Panel(question, images, maps, explain, (0, 1), twin=twin)


@pytest.mark.parametrize("name", INQUIRIES)
def test_answers_agree_with_the_cpu(nets, name):
    inquiry, net = INQUIRIES[name], nets.gap("inplace")
    with torch.no_grad():
        here, there = (
            inquiry.ask(panel(net, device), frozenset(inquiry.metrics), 0)
            for device in ("cpu", DEVICE)
        )
    assert set(here.values) == set(there.values) == set(inquiry.combos)
    for combo, expected in here.values.items():
        assert expected.isfinite().any(), combo
        torch.testing.assert_close(
            there.values[combo].cpu(), expected, rtol=2e-3, atol=2e-3, equal_nan=True
        )
    for kind, (fractions, scores) in here.curves.items():
        torch.testing.assert_close(there.curves[kind][0].cpu(), fractions)
        torch.testing.assert_close(there.curves[kind][1].cpu(), scores, rtol=2e-3, atol=2e-3)


def test_what_is_removed_is_filled_in_alike():
    random = torch.Generator().manual_seed(3)
    images = torch.randn(20, 3, 61, 50, generator=random)
    gone = torch.rand(20, 61, 50, generator=random) < torch.linspace(0.05, 0.95, 20)[:, None, None]
    found = impute(images.to(DEVICE), gone.to(DEVICE)).cpu()
    torch.testing.assert_close(found, impute(images, gone), rtol=0, atol=2e-4)
