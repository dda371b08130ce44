import pickle

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.images import load_image
from saliscope.models import Preprocessing
from saliscope.models import model as module


def maps_of(thing, x, **options):
    return sc.attribute(thing, x, 1, **({"layer": "conv2", "relu": False} | options))


def test_it_says_what_it_is(nets):
    model = sc.Model(nets.gap(), (24, 16), labels=list("abcde"), name="small", resize="crop")
    assert repr(model) == "<Model small: as given, crop to 24x16, 5 labels, float32 on cpu>"
    assert (
        repr(sc.Model(nets.gap())) == "<Model GapNet: as given, squash to 224x224, float32 on cpu>"
    )
    assert model.num_classes == 5
    assert model.survey.recommended == "act2"


def test_settings_reach_the_preprocessing(nets):
    model = sc.Model(nets.gap(), 20, mean=(0.1, 0.2, 0.3), std=(1, 2, 4), interpolation="nearest")
    photo = load_image(np.full((40, 30, 3), 255, np.uint8))
    inputs, frames = model.inputs([photo, photo])
    assert inputs.shape == (2, 3, 20, 20)
    assert inputs.dtype == torch.float32
    for channel, value in enumerate([0.9, 0.4, 0.175]):
        torch.testing.assert_close(inputs[:, channel], torch.full((2, 20, 20), value))
    assert [f.source for f in frames] == [(40, 30)] * 2
    own = Preprocessing((8, 12))
    assert sc.Model(nets.gap(), 20, preprocessing=own).preprocessing is own


def test_photographs_are_rgb(nets):
    """The first channel of the input is red."""
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[..., 0] = 255
    model = sc.Model(nets.gap(), 10, mean=(0, 0, 0), std=(1, 1, 1))
    inputs, _ = model.inputs([load_image(pixels)])
    assert inputs[0].mean((1, 2)).tolist() == [1.0, 0.0, 0.0]


CHANGES = {
    "in place": lambda net: net.conv2.weight.mul_(-1),
    "one cell": lambda net: net.fc.bias.__setitem__(0, 9.0),
    "buffer": lambda net: net.bn1.running_mean.add_(2),
    "state dict": lambda net: net.load_state_dict(
        {k: v + 0.5 if v.is_floating_point() else v for k, v in net.state_dict().items()}
    ),
    "parameter": lambda net: setattr(net.conv2, "weight", nn.Parameter(-net.conv2.weight)),
    "data": lambda net: setattr(net.conv2.weight, "data", -net.conv2.weight.data),
    "module": lambda net: setattr(net, "act1", nn.Tanh()),
    "step": lambda net: torch.optim.SGD(net.parameters(), lr=0.05).step(
        lambda: [p.__setattr__("grad", torch.ones_like(p)) for p in net.parameters()] and 0
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("prepare", [True, False])
def test_changed_weights_are_noticed(nets, batch, change, prepare):
    net = nets.gap()
    model = sc.Model(net, (24, 16), prepare=prepare)
    before = model.network()
    assert model.network() is before
    maps_of(model, batch)
    with torch.no_grad():
        CHANGES[change](net)
    assert model.network() is not before
    for method in ("cam", "grad-cam"):
        layer = "act2" if method == "cam" else "conv2"
        found = maps_of(model, batch, method=method, layer=layer)
        expected = maps_of(net, batch, method=method, layer=layer)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert model.network() is model.network()


def test_a_copy_is_made_once_for_each_kind_of_layer(nets):
    model = sc.Model(nets.gap(), (24, 16))
    standard = model.network()
    assert model.network(["act1", "conv2", "bn1"]) is standard
    unfolded = model.network(["conv1"])
    assert unfolded is not standard
    assert model.network(["conv1", "act2"]) is unfolded
    assert (model.prepared().folded, model.prepared(["conv1"]).folded) == (1, 0)


@pytest.mark.parametrize("prepare", [True, False])
def test_bfloat16_maps_are_close(nets, batch, prepare):
    net = nets.gap()
    expected = maps_of(net, batch)
    model = sc.Model(net, (24, 16), precision="bfloat16", prepare=prepare)
    found = maps_of(model, batch)
    assert next(model.network().module.parameters()).dtype == torch.bfloat16
    assert next(net.parameters()).dtype == torch.float32
    assert found.dtype == torch.float32
    difference = float((found - expected).abs().max() / expected.abs().max())
    assert 1e-6 < difference < 0.03
    cam = sc.attribute(model, batch, 1, method="cam")
    exact = sc.attribute(net, batch, 1, method="cam")
    assert float((cam - exact).abs().max() / exact.abs().max()) < 0.03


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_half_precision_network_is_computed_in_float32(nets, batch, dtype):
    net = nets.gap().to(dtype)
    found = maps_of(sc.Model(net, (24, 16)), batch)
    expected = maps_of(net.float(), batch)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_auto_is_bfloat16_only_where_the_hardware_multiplies_it(nets, monkeypatch):
    for able, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(module, "_multiplies_bfloat16", lambda device, able=able: able)
        network = sc.Model(nets.gap(), 24, precision="auto").network()
        assert network.dtype == dtype
    monkeypatch.undo()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert module._multiplies_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert not module._multiplies_bfloat16(torch.device("cpu"))


def test_settings_out_of_range(nets):
    with pytest.raises(
        sc.OptionError, match="precision 'float16' is none of 'float32', 'bfloat16', 'auto'"
    ):
        sc.Model(nets.gap(), precision="float16")
    with pytest.raises(sc.ModelError, match="got OrderedDict"):
        sc.Model(nets.gap().state_dict())


def test_classes_by_index_and_by_label(nets):
    model = sc.Model(
        nets.gap(), 24, labels=["beagle", "pug", "Norwich terrier", "Norfolk terrier", "boxer"]
    )
    assert model.class_index("pug") == 1
    assert model.class_index(" 3 ") == 3
    assert model.class_index(np.int64(4)) == 4
    assert model.label(2) == "Norwich terrier"
    assert sc.Model(nets.gap(), 24).label(2) is None
    assert sc.Model(nets.gap(), 24, labels=["one"]).label(2) is None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("pugg", '"pug"'),
        (5, r"class 5 is outside the 5 classes of GapNet \(0 to 4\)"),
        ("-1", "class -1 is outside"),
        (1.5, "a class is an index or a label; got 1.5"),
        (True, "a class is an index or a label; got True"),
        (None, "a class is an index or a label; got None"),
    ],
)
def test_wrong_classes(nets, target, message):
    model = sc.Model(nets.gap(), 24, labels=["beagle", "pug", "chow", "corgi", "boxer"])
    with pytest.raises(sc.TargetError, match=message):
        model.class_index(target)


def test_a_label_without_labels(nets):
    with pytest.raises(sc.TargetError, match='"pug" was given by name, but GapNet has no labels'):
        sc.Model(nets.gap()).class_index("pug")


def test_a_model_survives_pickling(nets, batch):
    model = sc.Model(nets.gap(), (24, 16), labels=list("abcde"))
    expected = maps_of(model, batch)
    again = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(maps_of(again, batch), expected)
    assert again.labels == model.labels


def test_a_network_without_parameters():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.AvgPool2d(2)

        def forward(self, x):
            return (self.pool(x) ** 2).mean((2, 3))

    x = torch.randn(1, 3, 8, 8)
    pooled = nn.functional.avg_pool2d(x, 2)
    found = sc.attribute(sc.Model(Plain(), 8), x, 2, layer="pool", relu=False)
    expected = (2 * pooled[:, 2] / 16).mean() * pooled[:, 2]
    torch.testing.assert_close(found, expected)


def test_other_input_sizes_than_the_models(nets):
    net, x = nets.gap(), torch.randn(1, 3, 40, 56)
    model = sc.Model(net, (24, 16))
    torch.testing.assert_close(maps_of(model, x), maps_of(net, x), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        sc.attribute(model, x, 1, relu=False),
        sc.attribute(net, x, 1, relu=False),
        rtol=1e-4,
        atol=1e-6,
    )


def test_refresh_takes_up_what_leaves_no_trace(nets):
    module = nets.gap()
    model = sc.Model(module, (24, 16))
    x = torch.randn(1, 3, 24, 16)
    before = sc.attribute(model, x, 0, method="cam")
    module.fc.weight.data.mul_(2)  # the version counter of the parameter does not see this
    model.refresh()
    torch.testing.assert_close(sc.attribute(model, x, 0, method="cam"), 2 * before)


@pytest.mark.parametrize("labels", [["a", "b"], list("abcdef")])
def test_labels_of_another_number_are_refused(nets, labels):
    with pytest.raises(sc.OptionError, match=f"{len(labels)} labels for the 5 classes"):
        sc.Model(nets.gap(), (24, 16), labels=labels).num_classes  # noqa: B018 - looking is the test


def test_labels_are_no_text(nets):
    with pytest.raises(sc.OptionError, match="labels are a list of names"):
        sc.Model(nets.gap(), (24, 16), labels="abcde")


def test_a_softmax_at_the_end_is_said(nets, caplog):
    sc.Model(torch.nn.Sequential(nets.gap(), torch.nn.Softmax(1)), (24, 16)).survey  # noqa: B018
    assert "returns probabilities" in caplog.text
    caplog.clear()
    sc.Model(nets.gap(), (24, 16)).survey  # noqa: B018
    assert not caplog.text


def test_a_pruned_network_is_explained(nets):
    from torch.nn.utils import prune

    module = nets.gap()
    prune.l1_unstructured(module.conv1, "weight", amount=0.5)
    x = torch.randn(1, 3, 24, 16)
    raw = sc.attribute(module, x, 0, layer="conv2")
    torch.testing.assert_close(sc.attribute(sc.Model(module, (24, 16)), x, 0, layer="conv2"), raw)


@pytest.mark.parametrize("layers", [["conv2"], ["bn1", "conv2"], ["bn1", "act1", "conv2", "act2"]])
def test_a_model_learns_where_an_operation_in_place_follows(nets, layers):
    model = sc.Model(nets.gap("inplace"), (24, 16))
    plain = nets.gap("module")
    plain.load_state_dict(model.module.state_dict())
    plain.act1.inplace = plain.act2.inplace = False
    x = torch.randn(2, 3, 24, 16)
    wanted = sc.attribute(plain, x, 1, layer=layers, relu=False)
    network, passes = model.network(layers), []
    network.module.register_forward_pre_hook(lambda *_: passes.append(1))
    for expected_passes in (2, 3, 4):  # the first is made twice, the others once
        found = sc.attribute(model, x, 1, layer=layers, relu=False)
        for layer in layers:
            torch.testing.assert_close(found[layer], wanted[layer], rtol=1e-4, atol=1e-6)
        assert len(passes) == expected_passes


def test_the_same_model_in_another_precision(nets):
    model = sc.Model(nets.gap(), 24, labels=list("abcde"))
    half = model.in_precision("bfloat16")
    assert model.in_precision("float32") is model
    assert half.module is model.module
    assert (half.precision, half.labels, half.preprocessing) == (
        "bfloat16",
        model.labels,
        model.preprocessing,
    )
    assert (half.network().dtype, model.network().dtype) == (torch.bfloat16, torch.float32)
    with pytest.raises(sc.OptionError, match=r"precision 'half' is none of"):
        model.in_precision("half")


class Fixed(nn.Module):
    """Runs on pictures of 16 x 12 alone."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, stride=4)
        self.fc = nn.Linear(4 * 4 * 3, 5)

    def forward(self, x):
        return self.fc(self.features(x).flatten(1))


def test_a_size_that_the_network_does_not_run_on_is_told_with_its_own_words():
    assert sc.Model(Fixed(), (16, 12)).num_classes == 5
    said = (
        r"^fixed does not run on pictures of 12 x 20 \(RuntimeError: mat1 and mat2 .*\); give the size that it was built for "
        r"\(--size HEIGHTxWIDTH\), or leave --size out$"
    )
    for use in (lambda m: m.layers, lambda m: m.network(), lambda m: m.num_classes):
        with pytest.raises(sc.ModelError, match=said) as found:
            use(sc.Model(Fixed(), (12, 20), name="fixed"))
        assert isinstance(found.value.__cause__, RuntimeError)


def test_what_goes_wrong_around_a_network_that_runs_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(module, "survey", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _ = sc.Model(Fixed(), (16, 12)).survey
    with pytest.raises(ZeroDivisionError):
        _ = sc.Model(Fixed(), (12, 20)).survey


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("no memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        AttributeError("'Broken' object has no attribute 'blokcs'"),
        TypeError("forward() takes 1 positional argument but 2 were given"),
        NotImplementedError('Module [Broken] is missing the required "forward" function'),
    ],
)
def test_what_no_size_helps_against_is_not_taken_for_a_wrong_size(error):
    class Broken(Fixed):
        def forward(self, x):
            raise error

    with pytest.raises(type(error)) as found:
        _ = sc.Model(Broken(), (16, 12)).survey
    assert found.value is error
    assert found.traceback[-1].name == "forward"
