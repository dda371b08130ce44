import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from saliscope.cli.app import main

NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, 1, 1), nn.ReLU()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        return self.fc(self.pool(self.features(x)).flatten(1))


def build(num_classes: int = 5):
    return Net(num_classes)
"""
LABELS = ("red fox", "arctic fox", "cat", "tabby", "owl")


def photograph(height=60, width=80, seed=0):
    """Something round and warm before something green, elsewhere for each seed, with grain."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    cy, cx = random.uniform(0.3, 0.7, 2) * (height, width)
    body = np.exp(-(((x - cx) / (width / 5)) ** 2 + ((y - cy) / (height / 5)) ** 2))
    colours = np.stack([60 + 180 * body, 120 - 40 * body, 50 + 20 * body], axis=2)
    noise = random.normal(0, 5, colours.shape)
    return Image.fromarray(np.clip(colours + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder; beside it net.py, labels.txt and a folder of four photographs."""
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    (tmp_path / "four.txt").write_text("\n".join(LABELS[:4]))
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(4):
        photograph(60 + 4 * seed, 80, seed).save(photos / f"p{seed}.png")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path


@pytest.fixture
def tree():
    """List every file below a folder with its content."""

    def files(folder):
        return {
            str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()
        }

    return files


@pytest.fixture
def run(place, capsys):
    """Run a command in this process: `run("explain", ...)` gives code, out and err; `net` names the small network."""

    def call(*words, net=True):
        network = ["--model", f"{place / 'net.py'}:build", "--weights", "untrained", "--size", "64"]
        code = main([*map(str, words), *(network if net else [])])
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err, lines=said.err.splitlines())

    return call


@pytest.fixture
def snap():
    """Make a photograph: `snap(path, height=, width=, seed=)`."""

    def save(path, **more):
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(**more).save(path)
        return path

    return save


@pytest.fixture
def copy():
    return shutil.copy
