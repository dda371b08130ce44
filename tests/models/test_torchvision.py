"""torchvision's classifiers, with a miniature of its cache; no network is touched."""

import logging
import socket

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from saliscope.errors import DataError, ModelError
from saliscope.models.checkpoints import fingerprint
from saliscope.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from saliscope.models.torchvision_ import build_torchvision, torchvision_names

SMALL = "squeezenet1_1"
FILE = "squeezenet1_1-b8a52dc0.pth"


def tried(*args, **kwargs):
    raise OSError("no network in tests")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch's, and no network: every attempt to use it is an OSError."""
    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, tried)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(5)
    return models.get_model(SMALL, weights=None).eval()


def test_names_are_classifiers():
    names = torchvision_names()
    assert {"resnet50", "convnext_tiny", "vit_b_16", "inception_v3"} <= set(names)
    assert not any(word in name for name in names for word in ("rcnn", "fcn", "raft", "r3d"))


def test_published_weights_from_the_cache(cache, trained):
    torch.save(trained.state_dict(), cache / FILE)
    for weights in ("pretrained", "IMAGENET1K_V1"):
        source = build_torchvision(SMALL, weights)
        assert fingerprint(source.module) == fingerprint(trained)
        assert (source.name, source.weights) == (SMALL, "IMAGENET1K_V1")
        assert source.labels[207] == "golden retriever"
        assert len(source.labels) == 1000
        assert source.preprocessing == Preprocessing(
            (224, 224), IMAGENET_MEAN, IMAGENET_STD, "crop", shorter=256
        )
        assert not source.module.training
    assert build_torchvision(SMALL, num_classes=1000).weights == "IMAGENET1K_V1"


def test_no_download_possible(cache, caplog):
    """One sentence: the file, where to put it, and the flags."""
    with caplog.at_level(logging.INFO), pytest.raises(ModelError) as caught:
        build_torchvision(SMALL)
    message = str(caught.value)
    assert message == (
        "the weights of squeezenet1_1 (IMAGENET1K_V1) are not here and cannot be downloaded "
        "(URLError: <urlopen error no network in tests>): "
        f"put {FILE} from {models.get_model_weights(SMALL).DEFAULT.url} into the folder {cache}, "
        'or give your own with --weights FILE (Python: weights="FILE"), '
        "or take random ones with --weights untrained"
    )
    assert "downloading" in caplog.text
    assert list(cache.iterdir()) == []


def test_a_broken_file_in_the_cache(cache):
    (cache / FILE).write_bytes(b"<html>")
    with pytest.raises(DataError, match=rf"{FILE} is no .*or delete this file to have it downl"):
        build_torchvision(SMALL)


def test_the_number_of_published_classes_is_fixed(cache):
    message = "published weights of squeezenet1_1 have 1000 classes, not 5: leave num_classes out"
    with pytest.raises(ModelError, match=message):
        build_torchvision(SMALL, num_classes=5)


def test_unknown_names_and_weights(cache):
    with pytest.raises(ModelError, match="no network is called 'squeeznet'; nearest: \"squeezene"):
        build_torchvision("squeeznet", "untrained")
    with pytest.raises(ModelError, match="there is no weights file 'IMAGENET1K_V9'"):
        build_torchvision(SMALL, "IMAGENET1K_V9")


def test_a_file_of_120_classes(cache, tmp_path):
    torch.manual_seed(1)
    dogs = models.get_model(SMALL, weights=None, num_classes=120)
    save_file(dogs.state_dict(), tmp_path / "dogs.safetensors")
    source = build_torchvision(SMALL, tmp_path / "dogs.safetensors")
    assert fingerprint(source.module) == fingerprint(dogs)
    assert source.labels is None
    assert source.weights == "dogs.safetensors"
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(source.module(x), dogs.eval()(x))
    with pytest.raises(DataError, match="build the network with num_classes=120"):
        build_torchvision(SMALL, tmp_path / "dogs.safetensors", num_classes=7)


def test_a_published_file_elsewhere_brings_its_preprocessing(cache, tmp_path):
    torch.manual_seed(1)
    net = models.get_model("shufflenet_v2_x0_5", weights=None)
    torch.save(net.state_dict(), tmp_path / "shufflenetv2_x0.5-f707e7126e.pth")
    source = build_torchvision(
        "shufflenet_v2_x0_5", str(tmp_path / "shufflenetv2_x0.5-f707e7126e.pth")
    )
    assert source.labels[0] == "tench"
    assert source.weights == "shufflenetv2_x0.5-f707e7126e.pth"
    assert fingerprint(source.module) == fingerprint(net)


def test_untrained(cache):
    source = build_torchvision("shufflenet_v2_x0_5", "untrained")
    assert (source.weights, len(source.labels)) == ("untrained", 1000)
    five = build_torchvision("shufflenet_v2_x0_5", "untrained", num_classes=5)
    assert five.labels is None
    assert five.module.fc.out_features == 5


@pytest.mark.parametrize("auxiliary", [True, False])
def test_training_heads_are_left_out(cache, tmp_path, auxiliary):
    """GoogLeNet's published file has two heads that only training runs."""
    torch.manual_seed(0)
    net = models.get_model(
        "googlenet", weights=None, num_classes=3, aux_logits=auxiliary, init_weights=False,
        transform_input=True,
    )  # fmt: skip
    torch.save(net.state_dict(), tmp_path / "net.pt")
    source = build_torchvision("googlenet", tmp_path / "net.pt")
    names = [name for name, _ in source.module.named_modules()]
    assert not any(name.startswith("aux") for name in names)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(source.module(x), net.eval()(x))
