"""Real weights through the real loaders: stored reference outputs, and the accuracy that the files are known for."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from saliscope.images import load_image
from saliscope.models.outputs import logits_of
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import Source, build

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
WEIGHTS = DATA / "weights"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data"),
]
HALF = (0.5, 0.5, 0.5)
MOBILENET = "timm:mobilenetv2_100:pad_type=same"


def imagenet() -> list[tuple[Path, int]]:
    """24 photographs of 24 classes."""
    classes = (DATA / "imagenet_samples" / "wnids.txt").read_text().split()
    files = sorted((DATA / "imagenet_samples" / "images").iterdir())
    return [(file, classes.index(file.name.partition("_")[0])) for file in files[:120:5]]


def dogs() -> list[tuple[Path, int]]:
    """24 test photographs, spread over the breeds."""
    with (DATA / "stanford_dogs" / "index.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    folder = DATA / "stanford_dogs" / "Images"
    return [(folder / row["file"], int(row["label"])) for row in rows[:: len(rows) // 24][:24]]


def correct(source: Source, photographs: list[tuple[Path, int]]) -> int:
    right = 0
    for file, label in photographs:
        pixels, _ = source.preprocessing(load_image(file).pixels)
        with torch.no_grad():
            logits = logits_of(source.module(torch.from_numpy(pixels)[None]))
        right += int(logits.argmax()) == label
    return right


@pytest.fixture(scope="module")
def squeezenet() -> Source:
    return build("squeezenet1_1", WEIGHTS / "squeezenet1_1_imagenet.safetensors")


@pytest.mark.parametrize("number", range(3))
def test_squeezenet_reproduces_its_reference(squeezenet, number):
    folder = WEIGHTS / "reference"
    stored = torch.from_numpy(np.load(folder / f"squeezenet1_1_input_{number}.npy"))
    wanted = torch.from_numpy(np.load(folder / f"squeezenet1_1_output_{number}.npy"))
    with torch.no_grad():
        got = squeezenet.module(stored)
    # The outputs go up to about 300; measured: equal within 1.6e-4.
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=5e-4)


def test_squeezenet_on_photographs(squeezenet):
    assert squeezenet.preprocessing == Preprocessing(resize="crop", shorter=256)
    assert len(squeezenet.labels) == 1000
    assert correct(squeezenet, imagenet()) >= 15  # measured: 17 of 24


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_mobilenet_on_photographs(resize):
    source = build(MOBILENET, WEIGHTS / "mobilenetv2_imagenet.safetensors")
    source = replace(source, preprocessing=Preprocessing((224, 224), HALF, HALF, resize))
    assert source.labels[207] == "golden retriever"
    assert correct(source, imagenet()) >= 20  # measured: 22 of 24


def test_mobilenet_of_the_dogs_has_120_classes():
    source = build(MOBILENET, WEIGHTS / "mobilenetv2_dogs120.safetensors")
    assert source.labels is None
    assert source.module.get_classifier().out_features == 120
    source = replace(source, preprocessing=Preprocessing((224, 224), HALF, HALF, "crop"))
    assert correct(source, dogs()) >= 21  # measured: 23 of 24


def test_resnet_of_the_dogs():
    source = build(f"{WEIGHTS}/resnet50v2.py:build", WEIGHTS / "resnet50v2_dogs120.safetensors")
    assert {value.dtype for value in source.module.parameters()} == {torch.float32}
    assert source.preprocessing == Preprocessing()  # squash, as its figure was measured
    assert correct(source, dogs()) >= 19  # measured: 21 of 24
