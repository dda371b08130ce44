import csv
import importlib.util
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from saliscope.training import callbacks, train
from saliscope.training.callbacks import CHECKPOINT, load_checkpoint

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


@pytest.fixture(scope="session")
def _toy(tmp_path_factory):
    file = tmp_path_factory.mktemp("program") / "toy.py"
    file.write_text(TOY)
    spec = importlib.util.spec_from_file_location("toy", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return SimpleNamespace(file=file, model=f"{file}:build", **vars(module))


@pytest.fixture
def toy(_toy, tmp_path, monkeypatch):
    """The little world above: `toy.data()`, `toy.splits()`, `toy.recipe()`, `toy.model` (a name), `toy.file`."""
    monkeypatch.chdir(tmp_path)
    return _toy


@pytest.fixture(scope="session")
def _whole(_toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "whole"
    train(_toy.model, _toy.splits(), _toy.recipe(), folder)
    return folder


@pytest.fixture
def whole(_whole, tmp_path):
    """A training that nobody stopped: a copy of its folder."""
    return Path(shutil.copytree(_whole, tmp_path / "whole"))


def weights(folder):
    return load_file(folder / "model.safetensors")


def table(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def course(folder):
    """What is in the checkpoint, without what is told by a clock."""
    state = load_checkpoint(folder / CHECKPOINT)["callbacks"]["Keeper"]
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
        for row in state["history"]
    ]


class Watch:
    """Notes what it is told; does `act` at a step of an epoch."""

    def __init__(self, at=None, act=None):
        self.at, self.act = at, act
        self.read, self.steps, self.epochs = [], [], []

    def reading(self, split, done, failed, total):
        self.read.append((split, done, failed, total))

    def step(self, step):
        self.steps.append(step)
        if (step.epoch, step.step) == self.at:
            self.act()

    def epoch(self, epoch, epochs):
        self.epochs.append((epoch.epoch, epochs))


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def look():
    """Ways to look at a training: `weights(folder)`, `course(folder)`, `table(file)`, `same(a, b)`, `Watch`, `kill`."""
    return SimpleNamespace(
        weights=weights, course=course, table=table, same=same, Watch=Watch, kill=kill
    )


@pytest.fixture
def every_step(monkeypatch):
    """Tell every step, not a few a second."""
    real = callbacks.time.monotonic
    monkeypatch.setattr(
        callbacks, "time", type("T", (), {"monotonic": staticmethod(lambda: real() * 1000)})
    )
