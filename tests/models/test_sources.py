"""Names of networks, and the files of the user's own."""

import random
import socket
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from saliscope.errors import DataError, ModelError, OptionError
from saliscope.models.checkpoints import fingerprint
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import (
    Source,
    Spec,
    build,
    finished,
    model_names,
    parse_spec,
    weights_file,
)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network in tests")

    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("resnet50", Spec("", "resnet50")),
        ("torchvision:resnet50", Spec("torchvision", "resnet50")),
        ("timm:vit_tiny_patch16_224.augreg", Spec("timm", "vit_tiny_patch16_224.augreg")),
        ("hf:microsoft/resnet-18", Spec("hf", "microsoft/resnet-18")),
        ("net.py:build", Spec("file", "net.py:build")),
        ("net.py", Spec("file", "net.py:")),
        ("../a b/net.py:build", Spec("file", "../a b/net.py:build")),
        ("C:\\nets\\net.py:build", Spec("file", "C:\\nets\\net.py:build")),
        ("net.py:width=2", Spec("file", "net.py:", (("width", 2),))),
        ("net.py:build:file=other.py", Spec("file", "net.py:build", (("file", "other.py"),))),
        (
            "timm:x:a=2:b=true:c=none:d=(1, 2):e=gelu:f=1e-3:g=False",
            Spec("timm", "x", (
                ("a", 2), ("b", True), ("c", None), ("d", (1, 2)), ("e", "gelu"), ("f", 1e-3),
                ("g", False),
            )),
        ),
    ],
)  # fmt: skip
def test_names_are_taken_apart(given, expected):
    assert parse_spec(given) == expected


@pytest.mark.parametrize("given", ["", "  ", "timm:", "hf", "torchvision::a=1"])
def test_empty_names(given):
    with pytest.raises(ModelError, match=r"network name .* is empty: give a name such as"):
        parse_spec(given)


@pytest.mark.parametrize("given", ["resnet50:v2", "tim:resnet50", "timm:x:a=", "x:2a=1", "x:=1"])
def test_options_without_a_value(given):
    message = (
        "is no option; write NAME:option=value, and choose the library with one of torchvision"
    )
    with pytest.raises(ModelError, match=message):
        parse_spec(given)


def test_all_names():
    names = model_names()
    assert set(names) == {*model_names("torchvision"), *model_names("timm")}
    assert {"resnet50", "squeezenet1_1", "timm:mobilenetv2_100"} <= set(names)
    assert all(name.startswith("timm:") for name in model_names("timm"))
    assert not any("deeplab" in name or "quantized" in name for name in model_names("torchvision"))


def test_the_library_is_found():
    assert build("squeezenet1_1", "untrained", num_classes=2).name == "squeezenet1_1"
    assert build("torchvision:squeezenet1_1", "untrained", num_classes=2).name == "squeezenet1_1"
    assert build("test_resnet", "untrained", num_classes=2).name == "timm:test_resnet"
    assert build("timm:test_resnet", "untrained", num_classes=2).name == "timm:test_resnet"


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("resnet5O", "resnet50"),
        ("torchvision:resnt50", "resnet50"),
        ("timm:mobilenet2_100", "mobilenetv2_100"),
    ],
)
def test_unknown_names(given, near):
    name = given.partition(":")[2] or given
    message = f"no network is called '{name}'; nearest: .*\"{near}\".*; list them with `saliscope"
    with pytest.raises(ModelError, match=message):
        build(given, "untrained")


def test_options_that_do_not_belong():
    with pytest.raises(ModelError, match=r"torchvision networks take no options, got \{'a': 1\}"):
        build("resnet18:a=1")
    with pytest.raises(OptionError, match="num_classes must be at least 1, got 0"):
        build("resnet18", num_classes=0)
    for options in ({"weights": "untrained"}, {"num_classes": 3}):
        with pytest.raises(ModelError, match="hf:a/b comes with its own weights, classes and opt"):
            build("hf:a/b", **options)
    with pytest.raises(ModelError, match="comes with its own weights"):
        build("hf:a/b:x=1")


def test_weights_files(tmp_path):
    file = tmp_path / "a.pt"
    file.write_bytes(b"x")
    assert weights_file("pretrained") is None
    assert weights_file("untrained") is None
    assert weights_file(str(file)) == file
    for missing in (tmp_path, tmp_path / "b.pt", ""):
        with pytest.raises(ModelError, match=r'there is no weights file .*give "pretrained", "unt'):
            weights_file(missing)


NAMES = ["squeezenet1_1", "timm:test_resnet", "net.py"]


@pytest.mark.parametrize("name", NAMES)
def test_untrained_networks_are_always_the_same(name, tmp_path):
    if name == "net.py":
        name = str(write(tmp_path, "def f(): return torch.nn.Linear(3, 2)"))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    first = build(name, "untrained")
    after = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    torch.manual_seed(2)
    second = build(name, "untrained")
    assert fingerprint(first.module) == fingerprint(second.module)
    assert first.weights == "untrained"
    assert not any(part.training for part in first.module.modules())
    values = torch.cat([p.flatten() for p in first.module.parameters() if p.ndim > 1])
    assert values.std() > 0


def test_labels_that_do_not_fit_are_dropped():
    net = nn.Linear(2, 2).train()
    source = finished(Source(net, Preprocessing(), ("a", "b", "c"), "x", "y"), num_classes=2)
    assert source.labels is None
    assert not net.training
    kept = finished(Source(net, Preprocessing(), ("a", "b"), "x", "y"), num_classes=2)
    assert kept.labels == ("a", "b")


# FILE.py:function


def write(folder, text, name="net.py"):
    file = folder / name
    file.write_text("import torch\n" + textwrap.dedent(text))
    return file


NET = """
    from functools import partial
    class Net(torch.nn.Linear): pass
    def build(num_classes=4, *, width=3):
        return torch.nn.Linear(width, num_classes)
    def fixed():
        return torch.nn.Linear(3, 4)
    def raises(x=1):
        raise KeyError("no such thing")
    def returns_none():
        pass
    def needs(a):
        return torch.nn.Linear(a, a)
    made = partial(build, width=5)
    number = 7
"""


@pytest.fixture
def own(tmp_path):
    return write(tmp_path, NET)


def test_a_function_of_the_users(own):
    source = build(f"{own}:build")
    assert source.module.weight.shape == (4, 3)
    assert source.name == "net.py:build"
    assert source.weights == "as net.py:build returned them"
    assert source.preprocessing == Preprocessing()
    assert source.labels is None
    assert not source.module.training
    assert build(f"{own}").name == "net.py:build"
    assert build(f"{own}:width=7").module.weight.shape == (4, 7)
    wide = build(f"{own}:build:width=7:num_classes=2", num_classes=None)
    assert wide.module.weight.shape == (2, 7)
    assert build(f"{own}:build", num_classes=9).module.weight.shape == (9, 3)
    assert build(f"{own}:made").module.weight.shape == (4, 5)
    assert build(f"{own}:made").name == "net.py:made"


def test_the_path_may_be_relative_and_import_its_neighbours(tmp_path, monkeypatch):
    import sys

    write(tmp_path, "def width(): return 6", "neighbour_of_net.py")
    write(tmp_path, "import neighbour_of_net as n\ndef f(): return torch.nn.Linear(n.width(), 2)")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert build("net.py:f").module.weight.shape == (2, 6)
    assert build("./net.py").name == "net.py:f"
    assert sys.path == before
    sys.modules.pop("neighbour_of_net")


def test_weights_for_a_function_of_the_users(own, tmp_path):
    trained = nn.Linear(3, 120)
    file = tmp_path / "dogs.safetensors"
    save_file(trained.state_dict(), file)
    source = build(f"{own}:build", file)
    assert torch.equal(source.module.weight, trained.weight)
    assert source.weights == "dogs.safetensors"
    with pytest.raises(DataError, match=r"weight is \(120, 3\) in the file, .*num_classes=120$"):
        build(f"{own}:build", file, num_classes=5)
    with pytest.raises(DataError, match=r"does not fit: bias is \(120,\) in the file"):
        build(f"{own}:fixed", file)
    four = tmp_path / "four.pt"
    torch.save(nn.Linear(3, 4).state_dict(), four)
    assert build(f"{own}:fixed", str(four)).weights == "four.pt"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.py:build", "there is no file .*none.py: write FILE.py:function with a path that"),
        ("net.py:biuld", "net.py has no function 'biuld'; nearest: \"build\"; write FILE.py:fun"),
        ("net.py:number", "net.py has no function 'number'; known: .*\"build\""),
        ("net.py:raises", r"net.py:raises\(\) raised KeyError: 'no such thing'"),
        ("net.py:raises:x=2", r"net.py:raises\(x=2\) raised KeyError"),
        ("net.py:build:depth=2", r"net.py:build\(depth=2\) raised TypeError: .*'depth'"),
        ("net.py:needs", r"net.py:needs\(\) raised TypeError: .*missing 1 required"),
        ("net.py:returns_none", r"net.py:returns_none\(\) returned a NoneType: return the netwo"),
        ("two.py", 'two.py was given without a function; .*"a", "b"; write FILE.py:function'),
        ("empty.py", "empty.py was given without a function; it defines no function"),
        ("bad.py:f", r"bad.py cannot be imported \(SyntaxError"),
        ("stops.py:f", r"stops.py cannot be imported \(ModuleNotFoundError: No module named 'ab"),
    ],
)
def test_functions_that_fail(own, tmp_path, given, message):
    import sys

    write(tmp_path, "def a(): pass\ndef b(): pass", "two.py")
    write(tmp_path, "x = 1", "empty.py")
    write(tmp_path, "def f(:", "bad.py")
    write(tmp_path, "import absent_package_x", "stops.py")
    path, before = list(sys.path), {m for m in sys.modules if m.endswith(("_bad", "_stops"))}
    with pytest.raises(ModelError, match=message):
        build(f"{tmp_path}/{given}")
    assert sys.path == path
    assert {m for m in sys.modules if m.endswith(("_bad", "_stops"))} == before


def test_no_place_for_the_number_of_classes(own):
    with pytest.raises(ModelError, match=r"fixed\(\) has no parameter num_classes to pass 3 to"):
        build(f"{own}:fixed", num_classes=3)


def test_a_file_is_left_as_it_was_found_when_it_stops_the_program(tmp_path):
    import sys

    write(tmp_path, "raise SystemExit(3)")
    before = set(sys.modules)
    with pytest.raises(SystemExit):
        build(f"{tmp_path}/net.py:f")
    assert set(sys.modules) == before


def test_a_changed_file_is_read_again(tmp_path):
    import os

    file = write(tmp_path, "def f(): return torch.nn.Linear(1, 2)")
    assert build(f"{file}:f").module.out_features == 2
    write(tmp_path, "def f(): return torch.nn.Linear(1, 3000)")
    os.utime(file, (1, 1))
    assert build(f"{file}:f").module.out_features == 3000
