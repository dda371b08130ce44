import pytest
import torch

from saliscope.errors import MethodError
from saliscope.methods import (
    CAM,
    KPCACAM,
    METHODS,
    Edges,
    GradCAM,
    GradCAMPlusPlus,
    LayerCAM,
    MethodSpec,
    layers_of,
    make_method,
    parse_method,
)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("cam", MethodSpec(CAM())),
        ("grad-cam", MethodSpec(GradCAM())),
        (" grad-cam@layer4 ", MethodSpec(GradCAM(), "layer4")),
        ("grad-cam@layer4.2:relu=false", MethodSpec(GradCAM(relu=False), "layer4.2")),
        ("grad-cam:relu=no:sign=negative", MethodSpec(GradCAM(relu=False, sign="negative"))),
        ("cam:relu=True", MethodSpec(CAM(relu=True))),
        ("edges:pool=2", MethodSpec(Edges(pool=2))),
        ("grad-cam++@a", MethodSpec(GradCAMPlusPlus(), "a")),
        ("layer-cam@a.1+b+c", MethodSpec(LayerCAM(), "a.1+b+c")),
        (
            "kpca-cam@a:kernel=linear:gamma=0.5",
            MethodSpec(KPCACAM(kernel="linear", gamma=0.5), "a"),
        ),
    ],
)
def test_a_method_is_written_one_way(text, spec):
    parsed = parse_method(text)
    assert parsed == spec
    assert parse_method(str(parsed)) == parsed
    assert parse_method(parsed) is parsed


def test_str_leaves_out_defaults():
    assert str(parse_method("grad-cam@x:relu=true")) == "grad-cam@x"
    assert str(parse_method("grad-cam@x:relu=false")) == "grad-cam@x:relu=false"
    assert str(parse_method("centre:sigma=0.5:grid=9")) == "centre:sigma=0.5:grid=9"


def test_a_layer_given_beside_the_text():
    assert parse_method("grad-cam", layer="a").layer == "a"
    assert parse_method("grad-cam@b", layer="a").layer == "b"
    assert parse_method("random", layer="a").layer is None
    assert parse_method(GradCAM(relu=False), layer="a") == MethodSpec(GradCAM(relu=False), "a")
    assert parse_method(MethodSpec(GradCAM()), layer="a").layer == "a"
    assert parse_method(MethodSpec(GradCAM(), "b"), layer="a").layer == "b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gradcam", 'method "gradcam" is unknown; nearest: "grad-cam"'),
        ("", 'method "" is unknown'),
        ("grad-cam@", 'names no layer after "@"'),
        ("cam:relu=true@layer4", 'names its layer last; write "cam@layer4:relu=true"'),
        ("grad-cam@a+", 'names no layer beside a "\\+"; write "grad-cam@LAYER\\+LAYER"'),
        ("grad-cam@+a", 'names no layer beside a "\\+"'),
        ("random@layer4", 'random is not read from a layer; write "random"'),
        ("grad-cam:rleu=true", 'grad-cam has no option "rleu"; nearest: "relu"'),
        ("grad-cam:relu", '"relu" in "grad-cam:relu" is no option; write'),
        ("grad-cam:relu=", "is no option"),
        ("grad-cam:=1", "is no option"),
        ("grad-cam:relu=maybe", "grad-cam:relu is true or false; got 'maybe'"),
        ("grad-cam:sign=up", "sign is one of 'positive', 'negative'; got 'up'"),
        ("edges:pool=1.5", "edges:pool is a whole number; got '1.5'"),
        ("edges:pool=x", "edges:pool is a whole number"),
        ("centre:sigma=x", "centre:sigma is a number; got 'x'"),
    ],
)
def test_wrong_texts_raise(text, message):
    with pytest.raises(MethodError, match=message):
        parse_method(text)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("grad-cam", {"relu": 1}, "true or false"),
        ("edges", {"pool": True}, "whole number"),
        ("edges", {"pool": 2.5}, "whole number"),
        ("edges", {"pool": None}, "whole number"),
    ],
)
def test_wrong_values_raise(name, options, message):
    with pytest.raises(MethodError, match=message):
        make_method(name, options)


def test_values_are_read_as_the_options_type():
    assert make_method("edges", {"pool": 2.0}) == Edges(pool=2)
    assert isinstance(make_method("edges", {"pool": "3"}).pool, int)


def test_every_method_states_its_facts():
    for name, kind in METHODS.items():
        method = kind()
        assert str(method) == method.name == name
        assert method.options() == {}
        assert method.on_layer or method.family != "one capture"
        for fact in ("title", "family", "passes", "paper", "equation"):
            assert getattr(method, fact)
        assert isinstance(method.class_discriminative, bool)


def test_finish_applies_the_methods_own_relu():
    values = torch.tensor([-1.0, 2.0])
    assert GradCAM().finish(values).tolist() == [0.0, 2.0]
    assert GradCAM(relu=False).finish(values).tolist() == [-1.0, 2.0]
    assert CAM().finish(values).tolist() == [-1.0, 2.0]
    assert Edges().finish(values).tolist() == [-1.0, 2.0]


def test_layers_are_read_from_the_text_once_each():
    specs = [parse_method(s) for s in ("grad-cam@b+a", "random", "fem@a", "cam")]
    assert [s.layers for s in specs] == [("b", "a"), (), ("a",), ()]
    assert layers_of(specs) == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("rise:masks=1000001", "1,000,000"),
        ("rise:cells=1001", "1,000"),
        ("lime:samples=100001", "100,000"),
        ("kernel-shap:samples=100001", "100,000"),
        ("gradient-shap:samples=100001", "100,000"),
        ("integrated-gradients:steps=10001", "10,000"),
        ("random:grid=4097", "4,096"),
        ("centre:grid=4097", "4,096"),
    ],
)
def test_tables_that_no_memory_holds_are_refused(text, limit):
    name, _, rest = text.partition(":")
    option, _, value = rest.partition("=")
    with pytest.raises(
        MethodError, match=rf"{name}:{option} is at most {limit}; got {int(value):,}"
    ):
        parse_method(text)
    parse_method(f"{name}:{option}={int(value) - 1}")
