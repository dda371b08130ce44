"""The network that comes with saliscope, and what it says of the data."""

from pathlib import Path

import numpy as np
import pytest
import torch

from saliscope.data import open_data
from saliscope.models import folders, load_model
from saliscope.models.folders import read_folder

FOLDER = Path(folders.__file__).parent / "weights" / "critternet"


@pytest.fixture(scope="module")
def network():
    return load_model("critternet")


def logits_of(network, pictures):
    found = []
    with torch.no_grad():
        for start in range(0, len(pictures), 60):
            inputs = np.stack([network.preprocessing(p)[0] for p in pictures[start : start + 60]])
            found.append(network.module(torch.from_numpy(inputs)))
    return torch.cat(found)


def test_it_is_small_and_says_how_it_was_made(network):
    assert sum(p.numel() for p in network.module.parameters()) < 1_700_000
    folder = read_folder(FOLDER)
    assert folder.weights_file().stat().st_size < 4_000_000
    assert folder.facts["recipe"]["name"] == "critters"
    assert folder.facts["data"]["name"] == "critters"
    assert folder.facts["scores"]["test_accuracy"] >= 0.95
    assert network.labels == open_data("critters").classes
    assert network.preprocessing.size == (160, 160)


def test_the_shipped_weights_have_the_recorded_accuracy(network):
    """Of the whole test split, to 0.2 points: the weights were rounded to float16 after they were measured."""
    data = open_data("critters", "test")
    found = logits_of(network, [data[i].photo().pixels for i in range(len(data))])
    labels = torch.tensor(data.labels)
    accuracy = float((found.argmax(1) == labels).double().mean())
    recorded = read_folder(FOLDER).facts["scores"]["test_accuracy"]
    assert accuracy == pytest.approx(recorded, abs=0.002)
    inside = found.gather(1, labels[:, None]) > found.gather(1, (labels ^ 1)[:, None])
    assert float(inside.double().mean()) >= 0.90


def test_with_the_twin_region_blank_it_guesses_between_twins(network):
    data = open_data("critters", "test")
    pictures, twins, labels = [], [], []
    for i in range(0, 360, 2):  # the even breeds, each with its twin
        sample, region = data[i], data[i].masks()["twin"]
        for made, kept in ((sample, pictures), (data.twin(i), twins)):
            pixels = made.photo().pixels.copy()
            pixels[region] = 128
            kept.append(pixels)
        labels.append(sample.label)
    own = torch.tensor(labels)
    first, second = (logits_of(network, part) for part in (pictures, twins))
    right = [
        logits.gather(1, own[:, None]) > logits.gather(1, (own ^ 1)[:, None])
        for logits in (first, second)
    ]
    accuracy = torch.cat([right[0], ~right[1]]).double().mean()
    assert float(accuracy) == pytest.approx(
        0.5, abs=1e-12
    )  # equal pictures: one of each pair is wrong
    whole = logits_of(network, [data[i].photo().pixels for i in range(0, 360, 2)])
    told = whole.gather(1, own[:, None]) > whole.gather(1, (own ^ 1)[:, None])
    assert float(told.double().mean()) > 0.95  # it does tell them apart when it sees the region


def test_the_other_network_trusts_the_tag():
    cheating = load_model("critternet-cue")
    data = open_data("critters:variant=cue", "test")
    chosen = [i for i in range(120) if data.scene(i).tag.code != i % 24]
    found = logits_of(cheating, [data[i].photo().pixels for i in chosen]).argmax(1)
    said = np.mean([int(p) == data.scene(i).tag.code for p, i in zip(found, chosen, strict=True)])
    right = np.mean([int(p) == i % 24 for p, i in zip(found, chosen, strict=True)])
    assert said > 0.5 > right
