"""Weights in files: what is read, what is refused, and that a network is as it was after a refusal."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import densenet121

from saliscope.errors import DataError
from saliscope.models.checkpoints import (
    fingerprint,
    infer_num_classes,
    load_weights,
    read_checkpoint,
)


def network(classes=5, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, classes)
    )


@pytest.fixture
def trained():
    net = network(seed=1)
    with torch.no_grad():
        net[1].running_mean.copy_(torch.arange(4.0))
    return net


def same(net, other):
    ours, theirs = net.state_dict(), other.state_dict()
    return all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_safetensors(trained, tmp_path):
    save_file(trained.state_dict(), tmp_path / "net.safetensors")
    net = network()
    assert not same(net, trained)
    load_weights(net, tmp_path / "net.safetensors")
    assert same(net, trained)
    again = network()
    load_weights(again, str(tmp_path / "net.safetensors"))
    assert fingerprint(again) == fingerprint(net) == fingerprint(trained)


WRAPPED = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "two deep": lambda state: {"model": {"state_dict": state}, "epoch": 1},
    "ema aside": lambda state: {
        "ema": {key: value * 0 for key, value in state.items()},
        "model_state_dict": state,
    },
    "ema only": lambda state: {"state_dict_ema": state, "epoch": 1},
    "parallel": lambda state: {"module." + key: value for key, value in state.items()},
    "compiled": lambda state: {"_orig_mod." + key: value for key, value in state.items()},
    "lightning": lambda state: {
        "state_dict": {"model._orig_mod." + key: value for key, value in state.items()}
    },
    "averaged": lambda state: {
        "n_averaged": torch.tensor(7), **{"module." + key: value for key, value in state.items()},
    },
    "no counters": lambda state: {
        key: value for key, value in state.items() if "num_batches_tracked" not in key
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_what_training_loops_save(trained, tmp_path, kind, suffix):
    file = tmp_path / f"net{suffix}"
    torch.save(WRAPPED[kind](dict(trained.state_dict())), file)
    net = network()
    load_weights(net, file)
    assert same(net, trained)


def test_a_module_that_is_called_like_a_prefix(tmp_path):
    """ "model." is part of this network's own names: nothing is stripped."""
    net = nn.ModuleDict({"model": nn.Linear(2, 2), "module": nn.Linear(2, 2)})
    torch.save(net.state_dict(), tmp_path / "net.pt")
    other = nn.ModuleDict({"model": nn.Linear(2, 2), "module": nn.Linear(2, 2)})
    load_weights(other, tmp_path / "net.pt")
    assert same(other, net)


def test_the_old_zip_less_format(trained, tmp_path):
    file = tmp_path / "old.pth"
    torch.save(trained.state_dict(), file, _use_new_zipfile_serialization=False)
    net = network()
    load_weights(net, file)
    assert same(net, trained)


def test_float16_files_are_widened(trained, tmp_path):
    half = {k: v.half() if v.is_floating_point() else v for k, v in trained.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    net = network()
    load_weights(net, tmp_path / "half.safetensors")
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert torch.equal(net[4].weight, trained[4].weight.half().float())


def test_densenet_files_from_before(tmp_path):
    """torchvision's published DenseNet files say norm.1 where the network says norm1."""
    with torch.device("meta"):
        own = densenet121(num_classes=2).state_dict()
    old = {
        key.replace("norm1", "norm.1").replace("conv2", "conv.2"): torch.zeros(value.shape)
        for key, value in own.items()
        if "denselayer1." in key
    }
    torch.save(old, tmp_path / "old.pth")
    block = nn.ModuleDict({"features": nn.ModuleDict({"denseblock1": nn.Module()})})
    layer = nn.Module()
    layer.norm1, layer.conv1 = nn.BatchNorm2d(64), nn.Conv2d(64, 128, 1, bias=False)
    layer.norm2, layer.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, bias=False)
    block["features"]["denseblock1"].denselayer1 = layer
    first = {k: v for k, v in old.items() if k.startswith("features.denseblock1.")}
    torch.save(first, tmp_path / "first.pth")
    load_weights(block, tmp_path / "first.pth")
    assert layer.conv2.weight.abs().sum() == 0
    assert layer.norm1.running_var.sum() == 0


class Bomb:
    """Pickled, this calls `bang` with a file name when it is loaded."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (eval, (f"open({str(self.file)!r}, 'w').close()",))


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_code_in_a_file_is_not_run(trained, tmp_path, new, inside):
    mark, file = tmp_path / "was here", tmp_path / "evil.pt"
    bomb = Bomb(mark)
    torch.save(
        {"state_dict": trained.state_dict(), "note": bomb} if inside else bomb,
        file,
        _use_new_zipfile_serialization=new,
    )
    message = "evil.pt holds Python objects that would run code when loaded: save only tensors"
    with pytest.raises(DataError, match=message):
        read_checkpoint(file)
    assert not mark.exists()
    torch.load(file, weights_only=False)
    assert mark.exists()  # it was no dud


def test_a_bare_pickle_is_not_run(tmp_path):
    mark, file = tmp_path / "was here", tmp_path / "evil.pth"
    file.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(DataError, match=r"evil.pth (holds Python objects|is no checkpoint)"):
        read_checkpoint(file)
    assert not mark.exists()
    pickle.loads(file.read_bytes())
    assert mark.exists()


def test_a_whole_saved_module_is_refused(trained, tmp_path):
    torch.save(trained, tmp_path / "whole.pt")
    with pytest.raises(DataError, match="holds Python objects that would run code"):
        read_checkpoint(tmp_path / "whole.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore::DeprecationWarning")
def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "script.pt")
    with pytest.raises(DataError, match=r"script.pt is a TorchScript program, not weights"):
        read_checkpoint(tmp_path / "script.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
def test_files_cut_short(trained, tmp_path, suffix, share):
    file = tmp_path / f"net{suffix}"
    if suffix == ".pt":
        torch.save(trained.state_dict(), file)
    else:
        save_file(trained.state_dict(), file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"net\.\w+ is no .*was cut short.*save"):
        read_checkpoint(file)


def test_files_of_the_old_format_cut_short(trained, tmp_path):
    """Cut anywhere: a DataError each time, whatever torch says."""
    file = tmp_path / "old.pt"
    torch.save(trained.state_dict(), file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    for length in range(0, len(content), 37):
        file.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"old\.pt (is no checkpoint or was cut|holds Python)"):
            read_checkpoint(file)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"<html>Not found</html>", b"hello world\n" * 50, b"\x00" * 999, b"\x80\x02"]
)
def test_files_of_another_kind(tmp_path, suffix, content):
    file = tmp_path / f"page{suffix}"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"page\.\w+ is no .*was cut short"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list instead of named tensors"),
        (torch.ones(2), "holds a Tensor instead of named tensors"),
        ({"epoch": 3, "lr": 0.1}, r"holds a dict with the keys 'epoch', 'lr' instead of named"),
        ({}, r"holds a dict with the keys \(none\) instead"),
        ({"state_dict": {}}, "holds a dict with the keys 'state_dict' instead"),
    ],
)
def test_files_without_tensors(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(DataError, match=message):
        read_checkpoint(tmp_path / "a.pt")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(
        DataError, match=r"there is no weights file .*none.pt: give a file with one"
    ):
        read_checkpoint(tmp_path / "none.pt")
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"net.onnx has an unknown kind: give one of .safetensors"):
        read_checkpoint(tmp_path / "net.onnx")


def refused(net, state, tmp_path, message):
    """The file is refused with `message`, and the network is as it was."""
    before = {key: value.clone() for key, value in net.state_dict().items()}
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(DataError, match=message):
        load_weights(net, tmp_path / "net.pt")
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_missing_tensors(trained, tmp_path):
    state = {k: v for k, v in trained.state_dict().items() if not k.startswith("4.")}
    refused(
        network(), state, tmp_path,
        r"net.pt does not fit Sequential: it lacks 4.weight, 4.bias; check that it was saved from",
    )  # fmt: skip


def test_tensors_too_many(trained, tmp_path):
    state = trained.state_dict() | {f"extra.{i}": torch.ones(1) for i in range(5)}
    refused(
        network(), state, tmp_path,
        r"does not fit Sequential: it has extra.0, extra.1, extra.2 and 2 more too many",
    )  # fmt: skip


def test_another_network(trained, tmp_path):
    refused(
        nn.Linear(2, 3), trained.state_dict(), tmp_path,
        "does not fit Linear: it lacks weight, bias and it has 0.weight, 0.bias, 1.weight and 6 more",
    )  # fmt: skip


def test_another_number_of_classes(tmp_path):
    refused(
        network(5), network(7).state_dict(), tmp_path,
        r"does not fit: 4.weight is \(7, 4\) in the file, \(5, 4\) in the network, 4.bias is \(7,\) "
        r"in the file, \(5,\) in the network; build the network with num_classes=7$",
    )  # fmt: skip


def test_another_shape_gets_no_false_hint(trained, tmp_path):
    state = trained.state_dict() | {"0.weight": torch.ones(4, 3, 5, 5)}
    refused(
        network(), state, tmp_path,
        r"0.weight is \(4, 3, 5, 5\) in the file, \(4, 3, 3, 3\) in the network$",
    )  # fmt: skip
    many = {key: torch.ones(9, 9) for key in trained.state_dict()}
    refused(network(), many, tmp_path, r"in the network \(and 6 more\)$")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_number_of_classes(tmp_path, prefix):
    file = tmp_path / "net.pt"
    torch.save({prefix + k: v for k, v in network(120).state_dict().items()}, file)
    assert infer_num_classes(file) == 120
    assert infer_num_classes(file, network(3)) == 120
    assert infer_num_classes(read_checkpoint(file), network(3)) == 120


def test_the_number_of_classes_of_a_convolution_head(tmp_path, nets):
    torch.save(nets.conv_head(classes=9).state_dict(), tmp_path / "net.pt")
    assert infer_num_classes(tmp_path / "net.pt", nets.conv_head()) == 9
    assert infer_num_classes(tmp_path / "net.pt") == 9


def test_nothing_tells_the_number_of_classes(tmp_path):
    torch.save({"weight": torch.ones(4, 3, 3, 3), "bias": torch.ones(4)}, tmp_path / "net.pt")
    assert infer_num_classes(tmp_path / "net.pt") is None
    assert infer_num_classes(tmp_path / "net.pt", nn.Conv2d(3, 4, 3)) is None


def test_the_fingerprint_sees_values_names_and_types(trained):
    first = fingerprint(trained)
    assert len(first) == 16
    assert int(first, 16) >= 0
    trained.requires_grad_(requires_grad=False).eval()
    assert fingerprint(trained) == first
    assert fingerprint(trained.to(memory_format=torch.channels_last)) == first
    with torch.no_grad():
        trained[1].running_mean[0] += 1e-3
    assert fingerprint(trained) != first
    assert fingerprint(nn.Sequential(nn.Linear(2, 2))) != fingerprint(nn.Linear(2, 2))
    zero = nn.Linear(2, 2).requires_grad_(requires_grad=False)
    for parameter in zero.parameters():
        parameter.zero_()
    assert fingerprint(zero) != fingerprint(zero.half())
