"""What holds for every method: together as alone, on any evidence and in any precision, nothing left behind."""

import threading

import pytest
import torch

import saliscope as sc
from quick import at
from saliscope.methods import METHODS, Evidence, parse_method

CAPTURED = [name for name, kind in METHODS.items() if kind.family == "one capture"]
EVERY = [name for name, kind in METHODS.items() if kind.family not in ("trivial", "transformers")]
ANYWHERE = [name for name in CAPTURED if METHODS[name].reads != "head"]
GRADIENTS = [name for name in ANYWHERE if METHODS[name].reads != "activations"]


def evidence(a, g):
    return Evidence(torch.empty(0), a, g, None, torch.zeros_like(g))


@pytest.fixture
def gap(nets):
    return nets.gap("inplace")


@pytest.mark.parametrize("name", EVERY)
def test_the_facts(name):
    kind = METHODS[name]
    assert kind.name == name
    for fact in (kind.title, kind.passes, kind.paper, kind.equation):
        assert isinstance(fact, str)
        assert fact
    assert kind.class_discriminative is (kind.reads != "activations")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("door", ["raw", "model"])
def test_nothing_is_left_behind(gap, batch, unchanged, name, door):
    gap.train()
    thing = sc.Model(gap, (24, 16)) if door == "model" else gap
    inputs = batch.clone().requires_grad_(True)
    with unchanged(gap, inputs):
        first = sc.attribute(thing, inputs, 1, method=at(name))
        with torch.inference_mode():
            second = sc.attribute(thing, inputs, 1, method=at(name))
        with pytest.raises(sc.SaliscopeError):
            sc.attribute(thing, inputs, 99, method=at(name))
    assert first.dtype == torch.float32
    assert not first.requires_grad
    torch.testing.assert_close(first, second)


def test_all_together_as_each_alone(gap, batch):
    targets = torch.tensor([[0, 3], [2, 2], [4, 1]])
    specs = [at(name) for name in EVERY] + ["lrp", "c-mwp@conv1+act2"]
    specs += [f"{name}@conv1+act2" for name in ANYWHERE]
    from saliscope.methods import map_batch, parse_method

    network = sc.Model(gap, (24, 16), prepare=False).network()
    together = map_batch(network, batch, [parse_method(s) for s in specs], target=targets)
    for spec, maps in zip(specs, together.signed, strict=True):
        (alone,) = map_batch(network, batch, [parse_method(spec)], target=targets).signed
        torch.testing.assert_close(maps, alone, rtol=1e-4, atol=1e-6, msg=spec)
        for i in range(3):
            (one,) = map_batch(network, batch[i : i + 1], [parse_method(spec)], target=targets[i : i + 1]).signed  # fmt: skip
            scale = float(maps[i].abs().max())
            torch.testing.assert_close(one[0] / scale, maps[i] / scale, rtol=0, atol=2e-5, msg=spec)
        if not METHODS[parse_method(spec).method.name].class_discriminative:
            assert torch.equal(maps[:, 0], maps[:, 1])
        else:
            assert not torch.equal(maps[0, 0], maps[0, 1])
            assert torch.equal(maps[1, 0], maps[1, 1])


def test_passes_are_shared(gap, batch, monkeypatch):
    """All methods on all layers for two classes: one forward pass, and of backward passes no more than the facts say."""
    calls = []
    real = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(a) or real(*a, **k))
    from saliscope.methods import map_batch

    network = sc.Model(gap, (24, 16), prepare=False).network()
    layers = ["conv1", "bn1", "act2"]
    plain = [n for n in ANYWHERE if METHODS[n]().scalar() is None]
    specs = [parse_method(f"{name}@{layer}") for name in plain for layer in layers]
    targets = torch.tensor([[0, 3]] * 3)
    map_batch(network, batch, specs, target=targets)
    assert len(calls) == 2
    calls.clear()
    map_batch(network, batch, [parse_method(f"finer-cam@{x}") for x in layers], target=targets)
    assert len(calls) == 2
    calls.clear()
    map_batch(network, batch, [parse_method(f"shapley-cam@{x}") for x in layers], target=targets)
    assert len(calls) == 2 * (1 + 3)
    calls.clear()
    free = [parse_method(f"{n}@conv1") for n in ANYWHERE if METHODS[n].reads == "activations"]
    map_batch(network, batch, free, target=targets)
    assert calls == []


@pytest.mark.parametrize("name", ANYWHERE)
@pytest.mark.parametrize(
    "case", ["no activation", "no gradient", "neither", "one cell", "constant"]
)
def test_degenerate_evidence_gives_no_nan(name, case):
    r = torch.Generator().manual_seed(0)
    a, g = torch.rand(2, 5, 4, 4, generator=r), torch.randn(2, 5, 4, 4, generator=r)
    if case in ("no activation", "neither"):
        a = a * 0
    if case in ("no gradient", "neither"):
        g = g * 0
    if case == "one cell":
        a, g = a[..., :1, :1], g[..., :1, :1]
    if case == "constant":
        a, g = torch.full_like(a, 0.1), torch.full_like(g, 0.3)
    found = METHODS[name]().signed_map(evidence(a, g))
    assert found.isfinite().all()
    assert found.shape == (2, *a.shape[2:])
    silent = case in ("no activation", "neither") or (case == "no gradient" and name in GRADIENTS)
    assert (float(found.abs().max()) == 0) or not silent


@pytest.mark.parametrize("name", ANYWHERE)
def test_nan_is_not_hidden(name):
    a, g = torch.rand(2, 2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    a[0, 0, 0, 0] = float("nan")
    found = METHODS[name]().signed_map(evidence(a, g))
    assert found[0].isnan().any() or name == "fem"
    assert found[1].isfinite().all()


@pytest.mark.parametrize("name", ANYWHERE)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_evidence_never_overflows(name, dtype):
    """Values whose squares, cubes and sums leave float16: the map is that of the same numbers in float32."""
    r = torch.Generator().manual_seed(0)
    a = (torch.rand(2, 6, 9, 9, generator=r) ** 6 * 6e4).to(dtype)
    g = (torch.randn(2, 6, 9, 9, generator=r) * 1e4).to(dtype)
    g[1] = (torch.randn(6, 9, 9, generator=r) * 1e-7).to(dtype)  # squares are 0 in float16
    found = METHODS[name]().signed_map(evidence(a, g))
    expected = METHODS[name]().signed_map(evidence(a.float(), g.float()))
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert bool((found.abs().amax((1, 2)) > 0).all())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", EVERY)
def test_networks_in_half_precision(nets, batch, name):
    found = sc.attribute(nets.gap().bfloat16(), batch.bfloat16(), 1, method=at(name))
    plain = sc.attribute(nets.gap(), batch, 1, method=at(name))
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert found.shape == plain.shape


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("factor", [1e-15, 1e-6, 1e6])
def test_a_scaled_gradient_scales_the_map(name, factor):
    """No absolute epsilon. Grad-CAM++ (and what builds on it) is no linear map: as g grows, its shares fall."""
    a, g = torch.rand(2, 2, 7, 5, 5, generator=torch.Generator().manual_seed(0))
    g = g - 0.4
    method = METHODS[name]()
    plain = method.signed_map(evidence(a, g))
    found = method.signed_map(evidence(a, g * factor))
    if name in ("grad-cam++", "refine-cam"):
        linear = method.signed_map(evidence(a, g * factor * 0.5))
        if factor < 1:  # the share is 1/2 for all then
            torch.testing.assert_close(linear * 2, found, rtol=1e-4, atol=0)
        return
    torch.testing.assert_close(found / factor, plain, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ANYWHERE)
@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3)])
def test_mirrored_evidence_gives_the_mirrored_map(name, axes):
    a, g = torch.rand(2, 2, 7, 6, 5, generator=torch.Generator().manual_seed(0))
    method = METHODS[name]()
    plain = method.signed_map(evidence(a, g - 0.4))
    found = method.signed_map(evidence(a.flip(axes), (g - 0.4).flip(axes)))
    torch.testing.assert_close(found.flip([x - 1 for x in axes]), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ANYWHERE)
def test_the_order_of_channels_does_not_matter(name):
    a, g = torch.rand(2, 2, 7, 6, 5, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    method = METHODS[name]()
    plain = method.signed_map(evidence(a, g - 0.4))
    found = method.signed_map(evidence(a[:, order], g[:, order] - 0.4))
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ANYWHERE)
def test_evidence_is_never_changed(name):
    """Methods share what they compute: one that worked in place would spoil the next one's map."""
    a, g = torch.rand(2, 2, 70, 9, 9, generator=torch.Generator().manual_seed(0))
    shared = evidence(a, g - 0.4)
    for other in ANYWHERE:
        shared.made_by(METHODS[other]())
    again = METHODS[name]().signed_map(shared)
    assert torch.equal(again, shared.made_by(METHODS[name]()))
    fresh = METHODS[name]().signed_map(evidence(a, g - 0.4))
    torch.testing.assert_close(again, fresh)


def test_threads_on_one_network(gap, batch):
    model = sc.Model(gap, (24, 16))
    single = {name: sc.attribute(model, batch, 1, method=at(name)) for name in EVERY}
    found, errors = {}, []

    def work(name):
        try:
            for _ in range(3):
                found[name] = sc.attribute(model, batch, 1, method=at(name))
        except Exception as err:
            errors.append(err)

    threads = [threading.Thread(target=work, args=(name,)) for name in EVERY]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for name in EVERY:
        torch.testing.assert_close(found[name], single[name])


def test_nothing_piles_up(gap, batch):
    """Graphs of graphs above all: the number of living tensors is the same after each round."""
    import gc

    model = sc.Model(gap, (24, 16))
    counts = []
    for _ in range(3):
        for name in EVERY:
            sc.attribute(model, batch, 1, method=at(name))
            sc.attribute(gap, batch, 1, method=at(name))
        gc.collect()
        counts.append(sum(type(o) is torch.Tensor for o in gc.get_objects()))
    assert counts[2] <= counts[0]


@pytest.mark.parametrize("name", EVERY)
def test_an_explanation_of_a_photograph(gap, photos, name):
    found = sc.explain(sc.Model(gap, 32), photos, at(name))
    assert {e.status for e in found} <= {"ok", "negative"}
    chosen = ":composite=epsilon-plus-flat" if name == "lrp" else ""  # what "auto" stands for here
    assert [e.spec for e in found] == [str(parse_method(at(name))) + chosen] * 5
    assert all(e.heatmap().shape == p.shape[:2] for e, p in zip(found, photos, strict=True))
