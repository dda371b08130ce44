import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import saliscope as sc
from saliscope.methods import GradCAM


@pytest.fixture
def model(nets):
    return sc.Model(nets.gap(), (24, 16), labels=["ant", "bee", "cat", "dog", "elk"], name="small")


def test_one_image_gives_one_explanation_and_a_list_a_list(model, photos):
    one = sc.explain(model, photos[0])
    assert isinstance(one, sc.Explanation)
    several = sc.explain(model, photos[:1])
    assert isinstance(several, list)
    np.testing.assert_array_equal(several[0].map, one.map)
    assert sc.explain(model, []) == []
    assert len(sc.explain(model, tuple(photos))) == 5


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
def test_batches_of_any_size_give_the_same(model, photos, batch_size):
    targets = [4, 0, 3, 1, 2]
    singles = [
        sc.explain(model, p, "grad-cam@conv2:relu=false", target=t)
        for p, t in zip(photos, targets, strict=True)
    ]
    found = sc.explain(
        model, photos, "grad-cam@conv2:relu=false", target=targets, batch_size=batch_size
    )
    for a, b, photo, target in zip(singles, found, photos, targets, strict=True):
        np.testing.assert_allclose(b.map, a.map, rtol=1e-4, atol=1e-6)
        assert b.target.index == target
        np.testing.assert_array_equal(b.photo.pixels, photo)
        assert b.frame.source == photo.shape[:2]


@pytest.mark.parametrize(
    "targets", [[4, 0, 3, 1, 2], ["elk", "ant", 3, "bee", "cat"], np.array([4, 0, 3, 1, 2]),
                torch.tensor([4, 0, 3, 1, 2])], ids=["list", "labels", "array", "tensor"]
)  # fmt: skip
def test_targets_of_all_kinds(model, photos, targets):
    found = sc.explain(model, photos, target=targets, batch_size=2)
    assert [e.target.index for e in found] == [4, 0, 3, 1, 2]


@pytest.mark.parametrize("target", [2, np.int64(2), torch.tensor(2), "cat"])
def test_one_target_for_all(model, photos, target):
    assert {e.target.name for e in sc.explain(model, photos, target=target)} == {"cat (#2)"}
    assert sc.explain(model, photos[0], target=target).target.index == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([0, 1], "2 targets for 5 images"),
        ([0, 1, 2, 3, 4, 0], "6 targets for 5 images"),
        (torch.tensor([0, 1]), "2 targets for 5 images"),
        (torch.zeros(5, 2, dtype=torch.long), r"\(5, 2\) targets for 5 images"),
        ([0, 1, 2, 3, 9], "class 9 is outside the 5 classes of small"),
        ([0, 1, 2, 3, "cow"], "cow"),
        ([0, 1, 2, 3, 1.5], "got 1.5"),
        ([0, 1, 2, 3, True], "got True"),
        (True, "not a boolean"),
        (9, "class 9 is outside"),
        (2.5, "a float is no target"),
    ],
)
@pytest.mark.parametrize("batch_size", [2, 8])
def test_targets_that_do_not_fit_raise(model, photos, target, message, batch_size):
    with pytest.raises(sc.TargetError, match=message):
        sc.explain(model, photos, target=target, batch_size=batch_size)


def test_a_list_of_targets_for_one_image_raises(model, photos):
    with pytest.raises(sc.TargetError, match="2 targets for 1 images"):
        sc.explain(model, photos[0], target=[0, 1])
    with pytest.raises(sc.TargetError, match="2 targets for 1 images"):
        sc.compare(model, photos[0], ["cam"], target=[0, 1])


def test_wrong_settings_raise(model, photos):
    with pytest.raises(sc.OptionError, match="batch_size is at least 1; got 0"):
        sc.explain(model, photos, batch_size=0)
    with pytest.raises(sc.OptionError, match='target space "odds" is unknown'):
        sc.explain(model, photos, target_space="odds")
    with pytest.raises(sc.LayerError, match='"conv9" is not in GapNet; nearest: "conv2", "conv1"'):
        sc.explain(model, photos, layer="conv9")
    with pytest.raises(sc.MethodError, match="there is nothing to compare"):
        sc.compare(model, photos[0], [])


def test_layer_and_method_meet(model, photos):
    assert sc.explain(model, photos[0]).spec == "grad-cam@act2"
    assert sc.explain(model, photos[0], layer="conv1").spec == "grad-cam@conv1"
    assert sc.explain(model, photos[0], "grad-cam@bn1", layer="bn1").spec == "grad-cam@bn1"
    assert sc.explain(model, photos[0], GradCAM(relu=False)).spec == "grad-cam@act2:relu=false"


def test_compare_equals_each_alone(model, photos):
    methods = ["cam", "grad-cam@conv1", "grad-cam@act2:relu=false", "random", "edges", "centre"]
    truth = sc.Box(5, 5, 30, 25)
    found = sc.compare(model, photos[0], methods, truth=truth, target="bee")
    for method, explanation in zip(methods, found.explanations, strict=True):
        alone = sc.explain(model, photos[0], method, target="bee")
        np.testing.assert_allclose(explanation.map, alone.map, rtol=1e-4, atol=1e-6)
        assert explanation.status == alone.status
        assert explanation.spec == alone.spec
    rows = found.rows()
    assert [r["method"] for r in rows][:2] == ["cam@act2", "grad-cam@conv1"]
    for row, explanation in zip(rows, found.explanations, strict=True):
        box = explanation.box()
        assert row["box"] == (None if box is None else tuple(box))
        assert row["iou"] == sc.iou(box, truth) if box is not None else row["iou"] == 0
        assert row["target"] == "bee (#1)"
        assert row["protocol"].startswith("yang2025")


def test_the_table_says_what_was_counted(model, photos):
    found = sc.compare(
        model, photos[0], "cam", truth=[], convention="inclusive", protocol="cam2016"
    )
    lines = found.table().splitlines()
    assert lines[0].split() == ["method", "target", "status", "box", "IoU"]
    assert set(lines[1]) == {"-", " "}
    assert lines[2].startswith("cam@act2")
    assert lines[2].endswith("n/a")
    assert lines[-1].startswith("boxes: cam2016")
    assert lines[-1].endswith("IoU: inclusive")
    assert repr(found) == found.table()
    with pytest.raises(sc.OptionError, match="yang2026"):
        sc.compare(model, photos[0], "cam", protocol="yang2026")


def test_scaling_the_logit_does_not_move_the_box(model, photos):
    boxes = set()
    for factor in (1e-9, 1.0, 3.0, 1e9):
        found = sc.explain(model, photos[0], layer="conv2", target=lambda z, f=factor: z[:, 1] * f)
        box = found.box()
        assert box is not None
        boxes.add(tuple(round(float(v), 3) for v in box))
        assert found.status == "ok"
    assert len(boxes) == 1


SHAPE = st.tuples(st.integers(2, 40), st.integers(2, 40))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sizes=st.lists(SHAPE, min_size=1, max_size=4), data=st.data())
def test_batch_equals_singles_and_order_does_not_matter(model, sizes, data):
    random = np.random.default_rng(len(sizes))
    images = [random.integers(0, 256, (*s, 3), dtype=np.uint8) for s in sizes]
    order = data.draw(st.permutations(range(len(images))))
    method = data.draw(st.sampled_from(["cam", "grad-cam@conv1", "random", "edges", "centre"]))
    together = sc.explain(model, images, method)
    shuffled = sc.explain(model, [images[i] for i in order], method)
    for place, i in enumerate(order):
        alone = sc.explain(model, images[i], method)
        for other in (together[i], shuffled[place]):
            np.testing.assert_allclose(other.map, alone.map, rtol=1e-3, atol=1e-5)
            assert other.target.index == alone.target.index
            assert other.frame == alone.frame


# attribute


def test_shapes_of_attribute(nets, batch):
    net = nets.gap()
    for target, shape in [
        (None, (3, 12, 8)),
        (1, (3, 12, 8)),
        (np.int64(1), (3, 12, 8)),
        ([1, 2, 3], (3, 12, 8)),
        (torch.tensor([1, 2, 3]), (3, 12, 8)),
        (torch.tensor([[1], [2], [3]]), (3, 1, 12, 8)),
        (torch.tensor([[1, 0]] * 3), (3, 2, 12, 8)),
        (lambda z: z[:, 0], (3, 12, 8)),
    ]:
        for thing in (net, sc.Model(net, (24, 16))):
            maps = sc.attribute(thing, batch, target, layer="conv2")
            assert maps.shape == shape
            assert maps.dtype == torch.float32
            assert not maps.requires_grad


def test_the_default_target_is_the_largest_logit(nets, batch):
    net = nets.deep_head()
    predicted = net(batch).argmax(1)
    with torch.no_grad():
        net.classifier[2].bias[int(predicted[0])] -= float(
            (net(batch).amax(1) - net(batch).topk(2).values[:, 1]).min()
        )
    predicted = net(batch).argmax(1)
    expected = sc.attribute(net, batch, predicted, layer="features.2")
    assert torch.equal(sc.attribute(net, batch, layer="features.2"), expected)


def test_several_layers_give_a_dict_by_the_names_given(nets, batch):
    net = nets.gap()
    found = sc.attribute(net, batch, 1, layer=["act2", net.conv1, None], relu=False)
    assert list(found) == ["act2", "conv1"]
    for name, maps in found.items():
        expected = sc.attribute(net, batch, 1, layer=name, relu=False)
        torch.testing.assert_close(maps, expected)
    assert list(sc.attribute(net, batch, 1, layer=("conv1",))) == ["conv1"]


def test_options_are_the_methods_own_fields(nets, batch):
    net = nets.deep_head()
    spelled = sc.attribute(net, batch, 1, method="grad-cam@features.2:relu=false")
    assert torch.equal(sc.attribute(net, batch, 1, layer="features.2", relu=False), spelled)
    both = sc.attribute(net, batch, 1, method="grad-cam@features.2:relu=false", sign="negative")
    assert torch.equal(both, -spelled)
    with pytest.raises(sc.MethodError, match='grad-cam has no option "colour"'):
        sc.attribute(net, batch, 1, colour="red")
    with pytest.raises(sc.MethodError, match="true or false"):
        sc.attribute(net, batch, 1, relu=2)


def test_probability_targets(nets, batch):
    net = nets.gap()
    logits = net(batch).detach()
    found = sc.attribute(net, batch, 3, layer="act2", relu=False, target_space="probability")
    p = logits.softmax(1)
    weight = (
        p[:, 3:4] * (net.fc.weight[3] - p @ net.fc.weight).detach()
    )  # p_c (w_c - sum_j p_j w_j)
    activation = net.act2(net.conv2(net.act1(net.bn1(net.conv1(batch))))).detach()
    expected = torch.einsum("bc,bchw->bhw", weight / 96, activation)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    with pytest.raises(sc.OptionError, match='"odds" is unknown'):
        sc.attribute(net, batch, 3, layer="act2", target_space="odds")


def test_a_bare_module_is_told_to_be_wrapped(photos):
    with pytest.raises(
        sc.ModelError, match="does not say how a photograph becomes its input: wrap it"
    ):
        sc.explain(torch.nn.Identity(), photos[0])


@pytest.mark.parametrize(
    ("method", "layer", "message"),
    [
        ("grad-cam@a", "b", 'two layers were given, "a" in "grad-cam@a" and "b"'),
        ("centre", "a", "centre is not read from a layer; leave out"),
        (["cam"], None, r"a method is written name.*got \['cam'\]"),
        ("grad-cam", ["a", "b"], "layer is one name; got"),
    ],
)
def test_contradicting_arguments_are_refused(model, photos, method, layer, message):
    with pytest.raises(sc.MethodError, match=message):
        sc.explain(model, photos, method, layer=layer)


@pytest.mark.parametrize("truth", [(1, 2, 30, 40), [(1, 2, 30, 40)], "Annotation/", None])
def test_truth_that_is_no_box_is_refused_at_once(model, photos, truth):
    with pytest.raises(sc.OptionError, match="truth is a Box or a list of them"):
        sc.compare(model, photos[0], ["centre"], truth=truth)


def test_a_box_of_another_photograph_is_refused(model, photos):
    with pytest.raises(sc.OptionError, match="lies mostly outside the photograph"):
        sc.compare(model, photos[0], ["centre"], truth=sc.Box(0, 0, 5000, 5000))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [(np.zeros((1, 3, 8, 8)), "got a ndarray"), (torch.zeros(0, 3, 8, 8), "an empty batch")],
)
def test_inputs_that_are_no_batch_are_refused(inputs, message):
    with pytest.raises(sc.OptionError, match=message):
        sc.attribute(torch.nn.Identity(), inputs)
