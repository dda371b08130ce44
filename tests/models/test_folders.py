"""Folders of trained networks: opened by name, refused where damaged, and told from everything else."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch import nn

from saliscope.errors import DataError, ModelError
from saliscope.models.folders import build_folder, network_facts, read_folder
from saliscope.models.load import load_model
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import build, spelled, weights_file
from saliscope.training.networks import build_trainable
from saliscope.training.recipes import make_recipe
from saliscope.training.saving import save_model

NET = """
from torch import nn

def build(num_classes=2, width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))
"""
MEAN = (0.1, 0.2, 0.3)


@pytest.fixture
def saved(tmp_path):
    """A folder of a trained network."""

    def save(model="timm:test_resnet", classes="abc", name="run", seed=3) -> Path:
        values = {
            "name": "r",
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "batch_size": 2,
            "epochs": 1,
        }
        recipe = make_recipe(
            {**values, "weights": "untrained", "size": 32, "mean": MEAN, "seed": seed}
        )
        made = build_trainable(model, recipe, num_classes=len(classes), labels=classes)
        facts = {"scores": {}, "data_name": "d", "data_fingerprint": "f"}
        return save_model(tmp_path / name, made, recipe=recipe, classes=classes, **facts)

    return save


@pytest.fixture
def net(tmp_path) -> Path:
    file = tmp_path / "net.py"
    file.write_text(NET)
    return file


@pytest.mark.parametrize(
    "model", ["squeezenet1_1", "timm:test_resnet:drop_rate=0.5", "test_vit:img_size=32"]
)
def test_networks_of_all_libraries(saved, model):
    source = build_folder(saved(model))
    again = build(model, "untrained", num_classes=3, seed=3)
    assert source.labels == ("a", "b", "c")
    assert source.preprocessing == Preprocessing((32, 32), MEAN, (1, 1, 1))
    assert (source.name, source.weights) == (again.name, "run")
    for key, value in source.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[key]), key


def test_a_network_of_ones_own(saved, net, tmp_path, monkeypatch):
    folder = saved(f"{net}:build:width=6")
    assert read_folder(folder).model == f"{net}:build:width=6"
    monkeypatch.chdir(folder)
    source = build("../run")
    assert (source.name, source.weights) == ("net.py:build", "run")
    assert source.module[0].out_channels == 6
    assert build(Path("../run")).labels == ("a", "b", "c")
    assert build(Path()).weights == "run"


def test_the_function_must_be_the_same(saved, net):
    folder = saved(f"{net}:build")
    net.write_text(NET + "# changed\n")
    message = (
        r"network in \S*run was built by \S*net.py, which has changed since: put it back as it was, or name a file that "
        r"builds the same network and take only the weights from here: --model FILE.py:build --weights \S*run"
    )
    with pytest.raises(ModelError, match=message):
        load_model(folder)
    net.rename(net.with_name("moved.py"))
    with pytest.raises(ModelError, match=r"net.py, which is not there: put it back"):
        load_model(folder)
    model = load_model(f"{net.with_name('moved.py')}:build", folder)  # what the message says works
    assert (model.labels, model.weights) == (("a", "b", "c"), "model.safetensors")
    assert model.preprocessing.mean == MEAN
    assert torch.equal(
        model.module[0].weight,
        build(f"{net.with_name('moved.py')}:build", "untrained", seed=3).module[0].weight,
    )


def test_other_weights_in_the_same_network(saved):
    folder, other = saved(), saved(name="other", classes="vwxyz", seed=4)
    source = build(str(folder), "untrained", num_classes=7, seed=1)
    assert (source.module.fc.out_features, source.labels, source.weights) == (7, None, "untrained")
    assert source.preprocessing.mean == MEAN
    expected = build("timm:test_resnet", "untrained", num_classes=7, seed=1).module
    assert torch.equal(source.module.fc.weight, expected.fc.weight)
    given = build(str(folder), other, num_classes=5)
    assert given.labels == tuple("vwxyz")
    with pytest.raises(ModelError, match="has 3 classes, not 4: leave num_classes out"):
        build_folder(folder, num_classes=4)


def test_weights_of_a_folder(saved):
    folder = saved()
    assert weights_file(folder) == folder / "model.safetensors"
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(
        DataError, match=r"model.safetensors is damaged or from another training: its sha"
    ):
        weights_file(folder)


def test_a_folder_called_like_a_network(saved, tmp_path, monkeypatch):
    saved(name="squeezenet1_1")
    saved(name="dogs")
    monkeypatch.chdir(tmp_path)
    assert build("squeezenet1_1", "untrained", num_classes=2).name == "squeezenet1_1"
    for given in ("./squeezenet1_1", "dogs", "dogs" + os.sep, Path("squeezenet1_1")):
        assert build(given).name == "timm:test_resnet"
    monkeypatch.chdir(tmp_path / "dogs")
    assert build(".").weights == "dogs"


def test_names_that_open_again(saved, net, monkeypatch):
    folder = saved(f"{net}:build")
    for given in (str(folder), folder, f"{net}", f"{net}:build"):
        assert spelled(given, build(given, "untrained")) == f"{net}:build"
    monkeypatch.chdir(net.parent)
    source = build("net.py:width=8", "untrained")
    assert spelled("net.py:width=8", source) == f"{net}:build:width=8"
    assert network_facts(f"{net}:build", ("a",), Preprocessing())["source"]["file"] == str(net)


@pytest.fixture
def vit(tmp_path) -> Path:
    """A network of transformers in a local folder, two classes."""
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32, patch_size=16,
    )  # fmt: skip
    transformers.utils.logging.disable_progress_bar()
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    transformers.utils.logging.enable_progress_bar()
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_a_network_of_transformers(vit, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = saved("hf:vit")
    assert read_folder(folder).model == f"hf:{vit}"
    monkeypatch.chdir(folder)
    source = build(folder)
    assert (source.name, source.labels, source.weights) == ("hf:vit", ("a", "b", "c"), "run")
    assert source.module.classifier.out_features == 3
    again = build(f"hf:{vit}", "untrained", num_classes=3, seed=3)
    assert (again.labels, again.weights) == (None, "untrained")
    assert torch.equal(again.module.classifier.weight, source.module.classifier.weight)
    assert not torch.equal(
        again.module.classifier.weight,
        build(f"hf:{vit}", "untrained", num_classes=3).module.classifier.weight,
    )
    recipe = read_folder(folder).facts["recipe"] | {"weights": "pretrained"}
    made = build_trainable(f"hf:{vit}", make_recipe(recipe), num_classes=3)
    states = {entry.name: entry.state for entry in made.report if entry.state != "loaded"}
    assert set(states) == {"classifier.weight", "classifier.bias"}


def test_critternet(saved, tmp_path, monkeypatch):
    """The package's own network: untrained, from a file, and from the folder that is shipped."""

    def critternet(num_classes=24):
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
        )

    own = SimpleNamespace(critternet=critternet)
    monkeypatch.setitem(sys.modules, "saliscope.models.critternet", own)
    monkeypatch.setattr("saliscope.models.folders._SHIPPED", tmp_path)
    assert build("critternet", "untrained").module[3].out_features == 24
    folder = saved("critternet", classes="wxyz", name="critternet", seed=8)
    shipped = build("critternet")
    assert (shipped.name, shipped.weights, shipped.labels) == (
        "critternet",
        "shipped",
        tuple("wxyz"),
    )
    same = build("critternet", "untrained", num_classes=4, seed=8).module
    assert torch.equal(shipped.module[0].weight, same[0].weight)
    given = build("critternet", folder / "model.safetensors")
    assert (given.weights, given.module[3].out_features) == ("model.safetensors", 4)
    with pytest.raises(ModelError, match=r"critternet takes no options, got \{'a': 1\}"):
        build("critternet:a=1")


# --- what is no such folder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), r"is no folder of a trained network: it has no model.json; give a folder that `saliscope train`"),
        (("run.json",), "its training has not finished, so model.json is missing; the same command"),
        (("config.json", "model.safetensors"), r"it has no model.json, but a config.json; a network of transformers is opened with hf:"),
        (("model.safetensors",), r"it has model.safetensors but no model.json, which says how to build"),
    ],
)  # fmt: skip
def test_folders_without_a_network(tmp_path, files, message):
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match=message):
        load_model(tmp_path)


def test_folders_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(DataError, match=r"it is not there; give a folder that"):
        read_folder(tmp_path / "none")
    for given in (str(tmp_path / "none"), "runs/none"):
        with pytest.raises(
            ModelError, match=r"there is no folder '.*none': give a folder that `sal"
        ):
            load_model(given)


def test_weights_that_are_missing_or_anothers(saved):
    folder, other = saved(), saved(name="other", seed=4)
    (other / "model.safetensors").replace(folder / "model.safetensors")
    message = r"model.safetensors is damaged or from another training: its sha256 is not the one in model.json"
    with pytest.raises(DataError, match=message):
        load_model(folder)
    with pytest.raises(
        DataError, match=r"other has model.json but no model.safetensors: copy it from"
    ):
        load_model(other)


def test_a_cut_file_is_noticed(saved):
    file = saved() / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # one bit of one weight
    file.write_bytes(content)
    with pytest.raises(DataError, match="is damaged or from another training"):
        load_model(file.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.update(schema=2), "has schema 2; this version reads 1: update saliscope"),
        (lambda facts: facts.pop("schema"), r"is damaged \(KeyError: 'schema'\): copy it again"),
        (lambda facts: facts.pop("classes"), r"is damaged \(KeyError: 'classes'\)"),
        (lambda facts: facts.pop("weights"), r"is damaged \(KeyError: 'weights'\)"),
        (lambda facts: facts["preprocessing"].update(sizes=3), r"is damaged \(TypeError: .*sizes"),
        (lambda facts: facts.update(preprocessing=[]), r"is damaged \(AttributeError"),
        (lambda facts: facts["preprocessing"].update(std=[0, 1, 1]), r"is damaged \(OptionError: std is three"),
    ],
)  # fmt: skip
def test_damaged_facts(saved, change, message):
    folder = saved()
    facts = json.loads((folder / "model.json").read_text())
    change(facts)
    (folder / "model.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=rf"model.json {message}"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b'{"schema": 1', b"[]", b"\xff\xfe"])
def test_facts_that_are_no_json(saved, content):
    folder = saved()
    (folder / "model.json").write_bytes(content)
    with pytest.raises(DataError, match=r"model.json is damaged \(\w+: .*copy it again from"):
        load_model(folder)
