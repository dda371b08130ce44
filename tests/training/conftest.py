import importlib.util
from types import SimpleNamespace

import pytest

# A program of its own, so that other processes can run the same training.
TOY = '''
import numpy as np
import torch
from torch import nn

from saliscope.data import Listing, Sample
from saliscope.errors import ImageError
from saliscope.images import Photo
from saliscope.training.recipes import make_recipe


class Net(nn.Module):
    """Small, with all that has a state: batch norm (whole numbers too) and dropout (random numbers)."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, 3, 1, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(self.dropout(self.pool(x).flatten(1)))


def build(num_classes: int = 3):
    return Net(num_classes)


def picture(number, *, height=40, width=50, classes=3):
    """Grain, brighter in the channel of its class."""
    random = np.random.default_rng(number)
    pixels = random.integers(0, 100, (height, width, 3), dtype=np.uint8)
    pixels[..., number % classes] += 120
    return pixels


class Reader:
    """Reads a sample; those that are `broken` cannot be decoded."""

    def __init__(self, split, first, broken):
        self.split, self.first, self.broken = split, first, broken

    def __call__(self, index):
        name = f"{self.split}/{index}"
        if index in self.broken:
            return Sample(name, b"not a picture", index % 3, self.split)
        return Sample(name, Photo(picture(self.first + index)), index % 3, self.split)


def data(split="train", count=22, *, broken=(), labels=None, classes=("a", "b", "c")):
    first = {"train": 0, "val": 3000, "test": 6000}[split]
    ids = [f"{split}/{i}" for i in range(count)]
    labels = [i % 3 for i in range(count)] if labels is None else labels
    return Listing("toy", split, classes, ids, labels, Reader(split, first, broken))


def splits(**more):
    return {"train": data("train", **more), "val": data("val", 9), "test": data("test", 10)}


def recipe(**more):
    values = dict(
        name="toy", weights="untrained", size=24, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), augment="standard",
        optimizer="adamw", learning_rate=0.02, weight_decay=0.01, batch_size=4, epochs=4, schedule="cosine",
        warmup_epochs=0.5, label_smoothing=0.1, ema=0.9, keep="best-validation-accuracy", seed=3, workers=0,
    )
    return make_recipe(values | more)
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The little world above: `toy.data()`, `toy.splits()`, `toy.recipe()`, `toy.model` (a name), `toy.file`."""
    file = tmp_path / "toy.py"
    file.write_text(TOY)
    spec = importlib.util.spec_from_file_location("toy", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(file=file, model=f"{file}:build", **vars(module))
