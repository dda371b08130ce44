"""What a training will cost is told before it begins, and telling it changes nothing."""

import time

import pytest
import torch

from saliscope.models.preprocessing import Preprocessing
from saliscope.training.cost import Cost, duration, time_steps
from saliscope.training.images import Images
from saliscope.training.module import Training


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (44.6, "45 seconds"),
        (600, "10 minutes"),
        (9000, "2.5 hours"),
        (259200, "3.0 days"),
    ],
)
def test_times_are_said_as_a_person_would(seconds, words):
    assert duration(seconds) == words


def test_a_cost_counts_steps_and_validated_images():
    assert Cost(step=2.0, image=0.5).seconds(3, 10, 4) == 3 * (20 + 2)


def test_timing_measures_a_step_and_changes_nothing(toy, monkeypatch):
    images = Images(toy.data(), Preprocessing((24, 24)), augment="standard")
    slow = images.__getitems__
    monkeypatch.setattr(images, "__getitems__", lambda rows: (time.sleep(0.05), slow(rows))[1])
    network = toy.Net(3)
    module = Training(network, toy.recipe(), normalise=images.normalised, steps=5)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    cost = time_steps(module, images, toy.recipe(), bfloat16=True)
    assert 0.05 < cost.step < 1
    assert 0 < cost.image < 0.1
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)
