"""A question whose network is a function, which answers in small chunks and counts; and a panel of a small network."""

import copy

import numpy as np
import pytest
import torch

from saliscope.engine import BatchTarget, Budget, Network, Question
from saliscope.frames import Frame
from saliscope.methods import map_batch, parse_method
from saliscope.metrics import Panel, Twin

SIZE = 48
METHODS = ("grad-cam@act1", "gradient")


class Asked:
    def __init__(self, function, batch, chunk=3, images_at_once=2):
        self.function, self.batch, self.chunk, self.at_once = (
            function, batch, chunk, images_at_once,
        )  # fmt: skip
        self.pictures = 0

    def answers(self, count, make):
        for start in range(0, count, self.chunk):
            variants = range(start, min(start + self.chunk, count))
            parts = []
            for first in range(0, self.batch, self.at_once):
                pictures = make(variants, slice(first, min(first + self.at_once, self.batch)))
                self.pictures += pictures.shape[0] * pictures.shape[1]
                scores = self.function(pictures.flatten(0, 1))
                scores = scores if scores.ndim == 2 else scores.unsqueeze(1)
                parts.append(scores.reshape(*pictures.shape[:2], -1))
            yield variants, torch.cat(parts, 1)


@pytest.fixture
def asked():
    return Asked


def small_panel(net, device):
    """Two maps of three pictures, on a copy of a network on a device, and a twin for each picture."""
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


@pytest.fixture
def panel_of():
    return small_panel
