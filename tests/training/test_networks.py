"""Networks to train: every tensor accounted for, new heads, the part that stays, and what is refused."""

from __future__ import annotations

import re
import textwrap

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from saliscope.errors import DataError, LayerError, ModelError, OptionError
from saliscope.models.sources import build
from saliscope.training.freezing import frozen_names, run_once
from saliscope.training.networks import build_trainable
from saliscope.training.recipes import Recipe, make_recipe
from saliscope.training.saving import save_model

TIMM = "timm:test_resnet"  # conv1, bn1, ..., layer1 to layer4, fc; 1000 classes


def recipe(**changes) -> Recipe:
    base = {"name": "t", "optimizer": "sgd", "learning_rate": 0.1, "batch_size": 2, "epochs": 1}
    return make_recipe({**base, "size": 64, "weights": "untrained", **changes})


NET = """
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.conv = nn.Conv2d(a, b, 3, 2, 1)
            self.bn = nn.BatchNorm2d(b)
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.bn(self.conv(x)))

    class Net(nn.Module):
        # listed the other way round than they run
        def __init__(self, num_classes):
            super().__init__()
            self.head = nn.Linear(8, num_classes)
            self.after = nn.BatchNorm2d(8)
            self.stages = nn.ModuleList([Block(4, 6), Block(6, 8)])
            self.drop = nn.Dropout(0.5)
            self.stem = Block(3, 4)
            self.shift = nn.Parameter(torch.ones(1, 4, 1, 1))
            self.scale = nn.Parameter(torch.ones(1, 8, 1, 1))

        def forward(self, x):
            x = self.drop(self.stem(x)) + self.shift
            for stage in self.stages:
                x = stage(x)
            return self.head((self.after(x) * self.scale).mean((2, 3)))

    def build(num_classes=5):
        return Net(num_classes)
"""


@pytest.fixture
def net(tmp_path):
    def write(text: str = NET) -> str:
        file = tmp_path / "net.py"
        file.write_text(textwrap.dedent(text))
        return f"{file}:build"

    return write


@pytest.fixture
def weights(tmp_path):
    """A file of trained-looking values for the network of `net`, changed by a function."""

    def write(model: str, change=lambda tensors: None, *, num_classes=5, half=False):
        torch.manual_seed(9)
        tensors = build(model, "untrained", num_classes=num_classes).module.state_dict()
        for key, value in tensors.items():
            if value.is_floating_point():
                tensors[key] = torch.rand_like(value) + 0.5
                if half:
                    tensors[key] = tensors[key].half()
        change(tensors)
        file = tmp_path / "weights.safetensors"
        save_file(dict(tensors), file)
        return str(file), tensors

    return write


def states(trainable) -> dict[str, str]:
    return {entry.name: entry.state for entry in trainable.report}


def test_a_new_head_and_everything_else_from_the_file(net, weights):
    model = net()
    file, tensors = weights(model, half=True)
    made = build_trainable(model, recipe(weights=file, seed=7), num_classes=3, labels="abc")
    fresh = build(model, "untrained", num_classes=3, seed=7).module.state_dict()
    assert states(made).pop("head.weight") == "fresh: shape differs"
    for key, value in made.module.state_dict().items():
        expected = fresh[key] if key.startswith("head.") else tensors[key].to(value.dtype)
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
    assert {value.dtype for value in made.module.parameters()} == {torch.float32}
    assert made.labels == ("a", "b", "c")
    assert made.new == {"head.weight", "head.bias"}
    assert all(parameter.requires_grad for parameter in made.module.parameters())
    assert (made.frozen, made.still) == ((), ())
    entry = next(entry for entry in made.report if entry.name == "head.weight")
    assert (entry.shape, entry.found, entry.frozen) == ((3, 8), (5, 8), False)
    assert str(entry) == "head.weight (3, 8): fresh: shape differs, (5, 8) in the file"
    assert made.summary() == (
        f"weights: {file}; 24 of 26 tensors loaded",
        "fresh: shape differs: head.weight, head.bias",
    )


def test_the_same_head_is_kept(net, weights):
    model = net()
    file, tensors = weights(model)
    made = build_trainable(model, recipe(weights=file), num_classes=5)
    assert set(states(made).values()) == {"loaded"}
    assert torch.equal(made.module.head.weight, tensors["head.weight"])
    assert made.labels == ("0", "1", "2", "3", "4")
    assert made.new == frozenset()


def test_the_seed_decides_what_is_fresh():
    def heads(seed):
        made = build_trainable(TIMM, recipe(seed=seed), num_classes=3)
        return torch.cat([value.flatten() for value in made.module.parameters()])

    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = heads(1), heads(1), heads(2)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_untrained(net):
    made = build_trainable(net(), recipe(), num_classes=3)
    assert set(states(made).values()) == {"fresh: untrained"}
    assert made.new == frozenset()  # nothing is newer than the rest
    assert made.origin == "untrained"
    assert made.summary() == ("weights: untrained; 0 of 26 tensors loaded",)


def test_tensors_too_many_and_too_few(net, weights):
    def change(tensors):
        del tensors["after.weight"], tensors["after.num_batches_tracked"]
        tensors["teacher.weight"] = torch.zeros(2, 3)

    model = net()
    file, tensors = weights(model, change)
    made = build_trainable(model, recipe(weights=file), num_classes=5)
    odd = {name: state for name, state in states(made).items() if state != "loaded"}
    assert odd == {"after.weight": "fresh: missing in file", "teacher.weight": "unused in file"}
    assert torch.equal(made.module.after.weight, torch.ones(8))
    assert torch.equal(made.module.after.bias, tensors["after.bias"])
    assert made.new == {"after.weight"}
    assert "unused in file: teacher.weight" in made.summary()


def test_what_is_asked_to_be_fresh_is_not_the_files(net, weights):
    model = net()
    file, tensors = weights(model)
    made = build_trainable(
        model, recipe(weights=file, fresh=("stages.1", "head"), seed=3), num_classes=5
    )
    fresh = build(model, "untrained", num_classes=5, seed=3).module.state_dict()
    asked = {key for key in tensors if key.startswith(("stages.1.", "head."))}
    assert {key for key, state in states(made).items() if state == "fresh: asked"} == {
        key for key in asked if not key.endswith("tracked")
    }
    for key, value in made.module.state_dict().items():
        assert torch.equal(value, fresh[key] if key in asked else tensors[key]), key


def test_weights_of_another_network_are_refused(net, weights, tmp_path):
    model = net()
    file, _ = weights("timm:test_vit")
    message = r"weights file .* fits Net in \d% of its parameters only: .*missing in file.*; in the file but not in the network: .*; give weights of this very"
    with pytest.raises(DataError, match=message):
        build_trainable(model, recipe(weights=file), num_classes=5)
    # A head alone does not make it the same network, and a large new head does not make it another.
    head = {"head.weight": torch.ones(4000, 8), "head.bias": torch.ones(4000)}
    save_file(head, tmp_path / "head.safetensors")
    with pytest.raises(DataError, match=r"in \d% of its parameters only"):
        build_trainable(model, recipe(weights=str(tmp_path / "head.safetensors")), num_classes=4000)
    file, _ = weights(model)
    made = build_trainable(model, recipe(weights=file), num_classes=4000)
    assert states(made)["stem.conv.weight"] == "loaded"


def test_published_weights_that_cannot_be_had(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    import socket

    def refuse(*args, **kwargs):
        raise OSError("no network in tests")

    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    for asked in ("pretrained", "IMAGENET1K_V1"):
        with pytest.raises(ModelError, match=r"the weights of resnet18.* cannot be downloaded"):
            build_trainable("resnet18", recipe(weights=asked), num_classes=3)
    with pytest.raises(ModelError, match=r"there is no weights file 'none.pt'"):
        build_trainable("resnet18", recipe(weights="none.pt"), num_classes=3)


RETURNS = """
    import torch
    from pathlib import Path
    from torch import nn

    def build(num_classes=5):
        net = nn.Sequential()
        net.body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
        net.pool, net.flat = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        net.fc = nn.Linear(16, num_classes)
        {fill}
        return net
"""


def test_what_a_function_returns_counts_as_loaded(net):
    fill = "with torch.no_grad(): net.body[0].weight.fill_(0.1); net.body[0].bias.fill_(0.2)"
    model = net(RETURNS.replace("{fill}", fill))
    made = build_trainable(model, recipe(weights="pretrained"), num_classes=3)
    assert states(made)["body.0.weight"] == "loaded"
    assert states(made)["fc.weight"] == "fresh: missing in file"
    assert made.origin == "what net.py:build returned"
    assert float(made.module.body[0].weight.detach().mean()) == pytest.approx(0.1)
    # An untouched batch norm looks like a folded one, but is only new.
    assert made.still == ()
    anew = build_trainable(model, recipe(weights="pretrained", fresh=("body.0",)), num_classes=3)
    assert float(anew.module.body[0].weight.detach().std()) > 0.05
    assert anew.new == {"body.0.weight", "body.0.bias", "fc.weight", "fc.bias"}


def test_a_function_that_returns_random_values_has_no_weights(net):
    model = net(RETURNS.replace("{fill}", ""))
    with pytest.raises(ModelError, match=r"what net.py:build returned fits Sequential in \d+% of"):
        build_trainable(model, recipe(weights="pretrained"), num_classes=3)


def test_fresh_needs_a_way_to_start_anew(net):
    text = NET.replace("return Net(num_classes)", "torch.manual_seed(0); return Net(num_classes)")
    text = text.replace("self.stem = Block(3, 4)", "self.stem = Loose()").replace(
        "class Net", "class Loose(Block):\n        def __init__(self):\n            super().__init__(3, 4)\n"
        "            self.gain = nn.Parameter(torch.ones(1))\n\n    class Net",
    )  # fmt: skip
    with pytest.raises(OptionError, match=r'fresh "stem": stem \(Loose\) has no reset_parameters'):
        build_trainable(net(text), recipe(weights="pretrained", fresh=("stem",)), num_classes=5)


# --- what stays -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freeze", "modules", "parameters"),
    [
        ("stem", ("stem",), set()),
        ("stem.conv", ("stem.conv",), set()),
        # `shift` belongs to the network itself, but what runs after it depends on it.
        ("stages.0", ("stages.0", "drop", "stem"), {"shift"}),
        ("after", ("after", "stages.0", "stages.1", "drop", "stem"), {"shift"}),
    ],
)
def test_freezing_goes_by_the_order_of_execution(net, weights, freeze, modules, parameters):
    model = net()
    file, _ = weights(model)
    made = build_trainable(model, recipe(weights=file, freeze=freeze), num_classes=5)
    assert made.frozen == modules
    for name, parameter in made.module.named_parameters():
        inside = name in parameters or name.startswith(tuple(f"{m}." for m in modules))
        assert parameter.requires_grad is not inside, name
    made.train()
    for name, part in made.module.named_modules():
        inside = name in modules or name.startswith(tuple(f"{m}." for m in modules))
        assert part.training is not inside, name


def test_what_is_frozen_is_told(net, weights):
    model = net()
    file, _ = weights(model)
    made = build_trainable(model, recipe(weights=file, freeze="stages.0"), num_classes=3)
    assert made.learns == ("scale", "head", "after", "stages.1")
    assert made.summary()[-1] == (
        "frozen: stages.0, drop, stem; trained: scale, head, after, stages.1"
    )
    frozen = {entry.name for entry in made.report if entry.frozen}
    assert {"stem.bn.running_mean", "shift", "stages.0.conv.bias"} <= frozen
    assert not {"scale", "after.running_mean", "head.weight"} & frozen


def test_no_graph_is_built_for_the_frozen_part(net, weights):
    model = net()
    file, _ = weights(model)
    made = build_trainable(model, recipe(weights=file, freeze="stages.0"), num_classes=3)
    made.train()
    seen = {}
    for name in ("stem", "stages.0", "stages.1"):
        part = made.module.get_submodule(name)
        part.register_forward_hook(
            lambda m, i, out, name=name: seen.update({name: out.requires_grad})
        )
    made.module(torch.randn(2, 3, 64, 64)).sum().backward()
    assert seen == {"stem": False, "stages.0": False, "stages.1": True}
    assert made.module.shift.grad is None


def test_a_residual_network_by_its_stages():
    file_free = recipe(seed=1)
    module = build_trainable(TIMM, file_free, num_classes=3).module
    layer = "layer3"
    frozen = frozen_names(module, layer, run_once(module, 64, layer=layer))
    assert frozen.modules == ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3")
    assert "layer3.0.conv1.weight" in frozen.parameters
    assert not any(name.startswith(("layer4", "fc")) for name in frozen.parameters)


def test_tokens_and_positions_are_frozen_with_what_they_feed():
    module = build("timm:test_vit", "untrained", num_classes=3).module
    size = module.patch_embed.img_size[0]
    frozen = frozen_names(module, "blocks.0", run_once(module, size, layer="blocks.0"))
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight"} <= frozen.parameters
    assert "blocks.0.mlp.fc1.weight" in frozen.parameters
    assert not any(name.startswith(("blocks.1", "head", "norm.")) for name in frozen.parameters)


def test_a_layer_that_runs_twice_counts_with_its_last_run():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.shared = nn.Conv2d(3, 3, 3), nn.ReLU()
            self.second, self.fc = nn.Conv2d(3, 3, 3), nn.Linear(3, 2)

        def forward(self, x):
            x = self.shared(self.second(self.shared(self.first(x))))
            return self.fc(x.mean((2, 3)))

    module = Twice()
    passed = run_once(module, 16, layer="shared")
    assert passed.finished == ("first", "shared", "second", "shared", "fc")
    assert frozen_names(module, "shared", passed).modules == ("first", "shared", "second")


def test_looking_changes_nothing(net, unchanged):
    module = build(net(), "untrained").module
    with unchanged(module):
        frozen_names(module, "stages.0", run_once(module, 32, layer="stages.0"))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"freeze": "layr3"}, LayerError, 'layer "layr3" is not in ResNet; nearest: "layer3"'),
        ({"fresh": ("layer9",)}, LayerError, 'layer "layer9" is not in ResNet; nearest: "layer'),
        ({"freeze": "layer3", "fresh": ("layer2",)}, OptionError,
         r'freeze "layer3" would keep \d+ tensors that were never trained, first layer2.*fresh: asked'),
        ({"freeze": "layer1", "weights": "untrained"}, OptionError, "first conv1.0.weight .*fresh: untrained, frozen: freeze less"),
        ({"freeze": "fc"}, OptionError, 'freeze "fc" leaves nothing to train'),
    ],
)  # fmt: skip
def test_what_cannot_be_frozen_or_fresh(weights, changes, error, message):
    file, _ = weights(TIMM)
    with pytest.raises(error, match=message):
        build_trainable(TIMM, recipe(**{"weights": file, **changes}), num_classes=5)


def test_a_list_of_layers_does_not_run(net, weights):
    model = net()
    file, _ = weights(model)
    with pytest.raises(LayerError, match='freeze "stages": Net has this layer but does not run it'):
        build_trainable(model, recipe(weights=file, freeze="stages"), num_classes=5)


# --- batch norms ------------------------------------------------------------------------------------------------------


def fold(tensors):
    tensors["stem.bn.running_mean"].zero_()
    tensors["stem.bn.running_var"].fill_(1 - 1e-5)


@pytest.mark.parametrize(
    ("given", "still"),
    [
        ("auto", {"stem.bn"}),
        ("learn", set()),
        ("keep", {"stem.bn", "stages.0.bn", "after"}),
    ],
)
def test_batch_norms_that_were_folded_keep_their_statistics(net, weights, given, still):
    """In training mode a folded norm divides by statistics that it never had: another network."""
    model = net()
    file, _ = weights(model, fold)
    settings = recipe(weights=file, batch_norms=given, fresh=("stages.1",))
    made = build_trainable(model, settings, num_classes=5)
    assert set(made.still) == still
    made.train()
    running = {
        n
        for n, m in made.module.named_modules()
        if isinstance(m, nn.BatchNorm2d) and not m.training
    }
    assert running == still
    assert made.module.stem.bn.weight.requires_grad


def test_frozen_batch_norms_are_named_once(net, weights):
    model = net()
    file, _ = weights(model, fold)
    made = build_trainable(model, recipe(weights=file, freeze="stem"), num_classes=5)
    assert (made.frozen, made.still) == (("stem",), ())


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_the_preprocessing_is_the_recipes(net):
    settings = recipe(size=48, resize="crop", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    found = build_trainable(net(), settings, num_classes=3).preprocessing
    assert (found.size, found.resize) == ((48, 48), "crop")
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_names_that_open_from_anywhere(net, tmp_path, monkeypatch):
    net()
    monkeypatch.chdir(tmp_path)
    for given in ("net.py:build", "net.py:build:num_classes=3", "./net.py:build"):
        made = build_trainable(given, recipe(), num_classes=3)
        tail = ":num_classes=3" if given.endswith("=3") else ""
        assert made.name == f"{tmp_path / 'net.py'}:build{tail}"
    assert build_trainable("test_resnet", recipe(), num_classes=3).name == TIMM
    given = f"{TIMM}:drop_rate=0.1:act_layer=gelu"
    assert build_trainable(given, recipe(), num_classes=3).name == given


def test_networks_that_do_not_fit(net):
    fixed = net(NET.replace("return Net(num_classes)", "return Net(4)"))
    with pytest.raises(ModelError, match="returns 4 logits for 3 classes: give its function a par"):
        build_trainable(fixed, recipe(), num_classes=3)
    with pytest.raises(ModelError, match=r"does not run on pictures of 40 x 40 .*another size"):
        build_trainable("timm:test_vit", recipe(size=40), num_classes=3)
    with pytest.raises(OptionError, match="2 labels for 3 classes; give one for each"):
        build_trainable(TIMM, recipe(), num_classes=3, labels=["a", "b"])


def test_names_of_wrappers_and_of_other_libraries(tmp_path):
    """What training loops save is unwrapped; the original ConvNeXt's names are translated by timm, not by us."""
    model = "timm:convnext_atto:depths=(1, 1, 1, 1):dims=(8, 8, 8, 8):conv_mlp=false"
    tensors = build(model, "untrained", num_classes=5, seed=4).module.state_dict()
    theirs = [
        (r"stages\.(\d)\.blocks\.", r"stages.\1."), (r"stages\.(\d)\.downsample", r"downsample_layers.\1"),
        ("stem.", "downsample_layers.0."), ("conv_dw", "dwconv"), (r"mlp\.fc", "pwconv"),
        (r"head\.fc\.", "head."), (r"head\.norm\.", "norm."),
    ]  # fmt: skip
    original = {}
    for name, value in tensors.items():
        for ours, other in theirs:
            name = re.sub(ours, other, name)
        original[name] = value
    wrapped = {f"module.{key}": value for key, value in tensors.items()}
    for content in ({"state_dict": wrapped}, {"model": original}):
        file = tmp_path / "weights.pt"
        torch.save(content, file)
        made = build_trainable(model, recipe(weights=str(file)), num_classes=3)
        odd = {name for name, state in states(made).items() if state != "loaded"}
        assert odd == {"head.fc.weight", "head.fc.bias"}
        for key in ("stem.0.weight", "stages.2.blocks.0.mlp.fc1.weight", "head.norm.bias"):
            assert torch.equal(made.module.state_dict()[key], tensors[key])


def test_a_trained_network_of_ones_own_starts_another(net, tmp_path):
    """A folder may stand for the network, for the weights, or for both."""
    first = build_trainable(net(), recipe(seed=5), num_classes=4, labels="abcd")
    folder = save_model(
        tmp_path / "first", first, recipe=recipe(), classes="abcd", scores={}, data_name="d", data_fingerprint="f"
    )  # fmt: skip
    body = first.module.stem.conv.weight
    for model, start in (
        (str(folder), "pretrained"),
        (net(), str(folder)),
        (str(folder), str(folder)),
    ):
        made = build_trainable(model, recipe(weights=start), num_classes=3)
        assert torch.equal(made.module.stem.conv.weight, body)
        assert made.module.head.out_features == 3
        assert states(made)["head.weight"] == "fresh: shape differs"
        assert made.name == first.name
    again = build_trainable(str(folder), recipe(weights="untrained", seed=6), num_classes=3)
    assert not torch.equal(again.module.stem.conv.weight, body)
