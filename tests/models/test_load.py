import json

import pytest
import torch

import saliscope as sc
from saliscope.models import Preprocessing
from saliscope.models.load import load_model


def test_a_network_by_name():
    model = load_model("timm:test_resnet", "untrained", device="cpu")
    assert (model.name, model.weights) == ("timm:test_resnet", "untrained")
    assert model.labels[207] == "golden retriever"
    assert model.num_classes == 1000
    assert model.preprocessing.size == (160, 160)
    assert not model.module.training
    assert "timm:test_resnet: untrained" in repr(model)


def test_settings_replace_the_networks_own(tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps(["cat", "dog", "owl"]))
    own = Preprocessing((64, 96))
    model = load_model(
        "timm:test_resnet", "untrained", labels=names, num_classes=3, preprocessing=own,
        precision="bfloat16", prepare=False, device=torch.device("cpu"),
    )  # fmt: skip
    assert tuple(model.labels) == ("cat", "dog", "owl")
    assert model.preprocessing is own
    assert model.num_classes == 3
    assert model.precision == "bfloat16"
    again = load_model("timm:test_resnet", "untrained", labels=["a", "b"], num_classes=2)
    assert tuple(again.labels) == ("a", "b")


def test_the_same_weights_each_time(tmp_path):
    first = load_model("squeezenet1_1", "untrained", num_classes=4, device="cpu")
    file = tmp_path / "net.pt"
    torch.save(first.module.state_dict(), file)
    second = load_model("squeezenet1_1", file, device="cpu")
    assert (second.weights, second.num_classes, second.labels) == ("net.pt", 4, None)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(first.module(x), second.module(x))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("resnt50",), sc.ModelError, "no network is called 'resnt50'; nearest: .*\"resnet50\""),
        (("resnet18", "none.pt"), sc.ModelError, "there is no weights file 'none.pt'"),
        (("none.py:build",), sc.ModelError, "there is no file none.py"),
    ],
)
def test_what_cannot_be_loaded(arguments, error, message):
    with pytest.raises(error, match=message):
        load_model(*arguments)


def test_labels_that_cannot_be_read(tmp_path):
    with pytest.raises(sc.DataError, match=r"label file .*none.txt cannot be read"):
        load_model("timm:test_resnet", "untrained", labels=str(tmp_path / "none.txt"))
