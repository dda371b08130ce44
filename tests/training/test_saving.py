"""What a training leaves: whole or not at all, and the same network when opened again."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from saliscope.errors import DataError, ModelError, OptionError
from saliscope.models.load import load_model
from saliscope.provenance import versions
from saliscope.training import saving
from saliscope.training.networks import build_trainable
from saliscope.training.recipes import make_recipe
from saliscope.training.saving import save_half, save_model

RECIPE = make_recipe(
    {
        "name": "mine", "optimizer": "sgd", "learning_rate": 0.1, "batch_size": 2, "epochs": 3, "size": 64,
        "weights": "untrained", "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "resize": "letterbox", "seed": 11,
    }
)  # fmt: skip
CLASSES = ("Chihuahua", "Papillon", "Shih-Tzu é")


@pytest.fixture
def trained():
    made = build_trainable("timm:test_resnet", RECIPE, num_classes=3, labels=CLASSES)
    made.module.to(memory_format=torch.channels_last)
    with torch.no_grad():
        for value in made.module.state_dict().values():
            value.copy_(torch.rand_like(value.float()) + 0.5)
    return made


def save(folder, trained, **changes):
    settings = {
        "recipe": RECIPE, "classes": CLASSES, "scores": {"test_accuracy": np.float64(0.75), "val_loss": math.nan},
        "data_name": "stanford_dogs:validation=0.2", "data_fingerprint": "ab12",
        "history": [{"epoch": 1, "loss": np.float32(0.5)}, {"epoch": 2, "loss": math.inf}],
    }  # fmt: skip
    return save_model(folder, trained, **{**settings, **changes})


def test_the_network_comes_back(trained, tmp_path):
    folder = save(tmp_path / "a" / "run", trained)
    assert folder == tmp_path / "a" / "run"
    model = load_model(str(folder), device="cpu")
    assert (model.name, model.weights, model.labels) == ("timm:test_resnet", "run", CLASSES)
    assert model.preprocessing == trained.preprocessing
    assert not model.module.training
    assert model.num_classes == 3
    for key, value in trained.module.state_dict().items():
        found = model.module.state_dict()[key]
        torch.testing.assert_close(found, value, rtol=0, atol=0)
    inputs = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.module(inputs), trained.module.eval()(inputs))


def test_what_stands_in_model_json(trained, tmp_path):
    folder = save(tmp_path, trained)
    text = (folder / "model.json").read_text(encoding="utf-8")
    assert "Shih-Tzu é" in text
    facts = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert facts["schema"] == 1
    assert (facts["model"], facts["num_classes"], facts["classes"]) == (
        "timm:test_resnet",
        3,
        list(CLASSES),
    )
    assert facts["preprocessing"] == {
        "size": [64, 64], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "resize": "letterbox",
        "shorter": None, "interpolation": "bilinear", "fill": None,
    }  # fmt: skip
    assert make_recipe(facts["recipe"]) == RECIPE
    assert (facts["seed"], facts["source"]) == (11, None)
    start = facts["start"]
    assert (start["weights"], start["loaded"], start["frozen"]) == ("untrained", 0, [])
    assert start["not_loaded"]["fc.bias"] == "fresh: untrained"
    assert len(start["not_loaded"]) == len(trained.report)
    assert facts["scores"] == {"test_accuracy": 0.75, "val_loss": None}
    assert facts["data"] == {"name": "stanford_dogs:validation=0.2", "fingerprint": "ab12"}
    assert facts["history"] == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}]
    assert facts["versions"] == versions()
    assert facts["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_half_precision(trained, tmp_path):
    whole, half = save(tmp_path / "whole", trained), save(tmp_path / "half", trained, half=True)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    tensors = load_file(half / "model.safetensors")
    assert tensors["fc.weight"].dtype == torch.float16
    assert tensors["bn1.num_batches_tracked"].dtype == torch.int64
    model = load_model(half)
    assert {value.dtype for value in model.module.parameters()} == {torch.float32}
    expected = trained.module.fc.weight.detach().half().float()
    assert torch.equal(model.module.fc.weight, expected)
    assert json.loads((half / "model.json").read_text())["weights"]["dtype"] == "float16"


def test_a_half_sized_copy_to_ship(trained, tmp_path):
    whole, half = save(tmp_path / "whole", trained), save(tmp_path / "half", trained, half=True)
    copy = save_half(whole, tmp_path / "copy")
    for name in ("model.json", "model.safetensors"):
        assert (copy / name).read_bytes() == (half / name).read_bytes(), name
    with torch.no_grad():
        trained.module.fc.weight[0, 0] = 1e6
    with pytest.raises(ModelError, match=r"fc.weight holds values up to 1e\+06"):
        save_half(save(tmp_path / "large", trained), tmp_path / "none")


def test_a_network_on_its_way_is_stored_as_float32(trained, tmp_path):
    trained.module.bfloat16()
    tensors = load_file(save(tmp_path, trained) / "model.safetensors")
    assert tensors["fc.weight"].dtype == torch.float32


def test_tensors_that_share_memory(tmp_path):
    made = build_trainable("timm:test_resnet", RECIPE, num_classes=3)
    made.module.layer1[0].bn2 = made.module.layer1[0].bn1
    load_file(save(tmp_path, made) / "model.safetensors")
    assert torch.equal(
        load_model(tmp_path).module.layer1[0].bn2.weight, made.module.layer1[0].bn1.weight
    )


def test_values_that_cannot_be_stored(trained, tmp_path):
    with torch.no_grad():
        trained.module.fc.weight[0, 0] = 1e6
    save(tmp_path, trained)
    before = (tmp_path / "model.json").read_bytes()
    with pytest.raises(
        ModelError, match=r"fc.weight holds values up to 1e\+06, which float16 cannot"
    ):
        save(tmp_path, trained, half=True)
    with torch.no_grad():
        trained.module.fc.weight[0, 0] = math.nan
    with pytest.raises(
        ModelError, match=r"fc.weight holds values that are not finite: the training div"
    ):
        save(tmp_path, trained)
    assert (tmp_path / "model.json").read_bytes() == before  # what was there is as it was
    assert len(list(tmp_path.iterdir())) == 2
    load_model(tmp_path)


def test_other_classes_than_the_networks(trained, tmp_path):
    with pytest.raises(
        OptionError, match="2 classes for a network of 3: give the names in the ord"
    ):
        save(tmp_path, trained, classes=("a", "b"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reached", [0, 1])
def test_a_crash_leaves_no_mixture(trained, tmp_path, monkeypatch, reached):
    """Killed before the weights or before model.json get their names: never new weights with old facts."""
    save(tmp_path, trained, scores={"n": 1})
    old = load_file(tmp_path / "model.safetensors")
    with torch.no_grad():
        trained.module.fc.bias.fill_(9)
    settle, calls = saving.settle, []

    def crash(fresh, path):
        if len(calls) == reached:
            raise KeyboardInterrupt
        calls.append(path)
        settle(fresh, path)

    monkeypatch.setattr(saving, "settle", crash)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, trained, scores={"n": 2})
    same = torch.equal(load_file(tmp_path / "model.safetensors")["fc.bias"], old["fc.bias"])
    assert same is (reached == 0)
    with pytest.raises(DataError, match=r"it has model.safetensors but no model.json"):
        load_model(tmp_path)
    monkeypatch.undo()
    save(tmp_path, trained, scores={"n": 2})
    assert float(load_model(tmp_path).module.fc.bias.detach()[0]) == 9
    assert len(list(tmp_path.iterdir())) == 2
