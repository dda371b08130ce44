"""Asking the network again: the same answers in any chunks, within the memory given, with word of how far it is."""

import gc
import logging

import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.engine import BatchTarget, Budget, Living, Network, Question
from saliscope.methods import METHODS, map_batch, parse_method
from saliscope.models import logits_of

CLASSES = torch.tensor([[0, 3], [2, 2], [4, 1]])
PROBES = [name for name, kind in METHODS.items() if getattr(kind, "at_layer", False) and kind.family == "probes"]  # fmt: skip
QUICK = {"ss-cam": ":samples=2", "is-cam": ":samples=2"}


def written(name, layer="features.2"):
    return f"{name}@{layer}{QUICK.get(name, '')}"


def question(net, x, targets=None, **budget):
    network = Network(net.eval(), read=logits_of)
    targets = targets or [BatchTarget(torch.arange(len(x)) % 4)]
    return Question(network, x, x, (), {}, targets, Budget(**budget), "asker")


@pytest.mark.parametrize("name", PROBES)
def test_chunks_do_not_change_the_map(nets, batch, name):
    net = nets.deep_head()
    usual = sc.attribute(net, batch, CLASSES, method=written(name))
    for memory in (1, 40_000, 200_000):
        few = sc.attribute(net, batch, CLASSES, method=written(name), memory=memory)
        torch.testing.assert_close(few, usual, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("door", ["class", "function"])
def test_answers_are_the_networks_own(nets, batch, door):
    net = nets.deep_head()
    target = [BatchTarget(torch.tensor([1, 2, 3]))]
    if door == "function":
        target = [BatchTarget(None, "logit", lambda out: out[torch.arange(3), torch.tensor([1, 2, 3])])]  # fmt: skip
    for memory in (1, 60_000, 1 << 30):
        asked = question(net, batch, target, memory=memory)

        def make(variants, some):
            return torch.stack([batch[some] * (1 + v) for v in variants])

        found = {}
        for variants, scores in asked.answers(7, make):
            assert scores.shape == (len(variants), 3, 1)
            found |= dict(zip(variants, scores[..., 0], strict=True))
        assert list(found) == list(range(7))
        for v, scores in found.items():
            expected = net(batch * (1 + v))[torch.arange(3), torch.tensor([1, 2, 3])]
            torch.testing.assert_close(scores, expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("door", ["class", "function"])
def test_some_variants_of_some_images(nets, batch, door):
    net = nets.deep_head()
    target = [BatchTarget(torch.tensor([1, 2, 3]))]
    if door == "function":
        target = [BatchTarget(None, "logit", lambda out: out[torch.arange(3), torch.tensor([1, 2, 3])])]  # fmt: skip
    wanted = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]]).bool()
    for memory in (1, 1 << 30):
        told = []
        asked = question(net, batch, target, memory=memory, tell=lambda *a, told=told: told.append(a))  # fmt: skip
        found = asked.asked(wanted, lambda rows, ns: batch[rows] * (1 + ns)[:, None, None, None])
        for i in range(3):
            for v in range(4):
                if wanted[i, v]:
                    expected = net(batch[i : i + 1] * (1 + v))[0, i + 1]
                    torch.testing.assert_close(found[i, v, 0], expected.detach(), rtol=1e-4, atol=1e-5)  # fmt: skip
                else:
                    assert found[i, v].isnan().all()
        total = 4 if door == "class" else 9
        assert told[0] == ("asker", 0, total)
        assert told[-1] == ("asker", total, total)
    nothing = asked.asked(wanted & False, lambda rows, ns: batch[rows])
    assert nothing.shape == (3, 4, 1)
    assert nothing.isnan().all()


def test_what_is_told(nets, batch):
    told = []
    asked = question(nets.deep_head(), batch, memory=1, tell=lambda *a: told.append(a))
    list(asked.answers(3, lambda vs, some: torch.stack([batch[some]] * len(vs))))
    assert told == [("asker", d, 9) for d in (0, 3, 6, 9)]


def test_whoever_has_heard_enough_leaves_and_that_is_told(nets, batch):
    told, made = [], []
    asked = question(nets.deep_head(), batch, memory=1, tell=lambda *a: told.append(a))

    def make(variants, some):
        made.extend(variants)
        return torch.stack([batch[some]] * len(variants))

    for variants, _ in asked.answers(50, make):
        if variants.stop == 2:
            break
    assert max(made) == 1, "nothing is asked after that"
    assert told[-1] == ("asker", 150, 150)


def test_progress_reaches_whoever_asks_for_it(nets, batch, photos):
    told = []
    net = nets.deep_head()
    sc.attribute(net, batch, 1, method="score-cam", layer="features.2", progress=lambda *a: told.append(a))  # fmt: skip
    assert told[0] == ("score-cam@features.2", 0, 24)
    assert told[-1] == ("score-cam@features.2", 24, 24)
    told.clear()
    model = sc.Model(net, 24)
    sc.explain(model, photos[0], "ablation-cam@features.2", progress=lambda *a: told.append(a))
    assert told[-1][0] == "ablation-cam@features.2"
    told.clear()
    sc.compare(model, photos[0], ["grad-cam@features.2"], progress=lambda *a: told.append(a))
    assert told == []


@pytest.mark.parametrize("door", ["attribute", "explain", "compare"])
def test_memory_that_is_none_is_refused_at_every_door(nets, batch, photos, door):
    net = nets.deep_head()
    calls = {
        "attribute": lambda: sc.attribute(net, batch, layer="features.2", memory="lots"),
        "explain": lambda: sc.explain(sc.Model(net, 24), photos[0], memory="lots"),
        "compare": lambda: sc.compare(sc.Model(net, 24), photos[0], ["grad-cam"], memory="lots"),
    }
    with pytest.raises(sc.OptionError, match=r'memory is a number of bytes or a text like .* got \'lots\''):  # fmt: skip
        calls[door]()


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, stride=2),
            nn.ReLU(),
        ]
        self.features, self.late = nn.Sequential(*layers), nn.Conv2d(24, 8, 3)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.late(self.features(x)).tanh().mean((2, 3)))  # fmt: skip


@pytest.mark.parametrize("memory", [2_000_000, 8_000_000, 30_000_000])
@pytest.mark.parametrize("name", PROBES)
def test_the_peak_stays_below_the_budget(name, memory, monkeypatch):
    """Everything alive at once while a method asks, counted tensor by tensor, with the garbage collector off."""
    model = sc.Model(Stage().eval(), 64, prepare=False)
    x = torch.rand(4, 3, 64, 64)
    kind, peaks = METHODS[name], []
    real = kind.ask

    def ask(self, asked):
        with Living() as living:
            found = real(self, asked)
        peaks.append((living.peak, living.now - found.nbytes))
        return found

    run = lambda: sc.attribute(model, x, 1, method=written(name, "features.3"), memory=memory)  # noqa: E731
    run()  # what is measured once is measured
    monkeypatch.setattr(kind, "ask", ask)
    gc.disable()
    try:
        run()
    finally:
        gc.enable()
    ((peak, left),) = peaks
    assert left == 0, "no chunk outlives itself"
    assert peak < memory
    most = 5_000_000 if name == "ablation-cam" else 20_000_000  # of all channels at once
    assert peak > 0.3 * min(memory, most), "the memory is also used"


def test_where_memory_runs_out_the_map_is_the_same(nets, batch, monkeypatch, caplog):
    net = nets.deep_head()
    usual = sc.attribute(net, batch, CLASSES, method="score-cam", layer="features.2")
    real = Network.capture

    def tight(self, inputs, layers, **more):
        if len(inputs) > 5:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return real(self, inputs, layers, **more)

    monkeypatch.setattr(Network, "capture", tight)
    with caplog.at_level(logging.WARNING):
        found = sc.attribute(net, batch, CLASSES, method="score-cam", layer="features.2")
    torch.testing.assert_close(found, usual)
    assert "memory ran out" in caplog.text


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "score-cam"])
def test_smoothing_in_any_chunks(nets, batch, method):
    net = nets.deep_head()
    options = {"method": method, "layer": "features.2", "smooth": 5}
    usual = sc.attribute(net, batch, CLASSES, **options)
    for memory in (1, 300_000):
        found = sc.attribute(net, batch, CLASSES, memory=memory, **options)
        torch.testing.assert_close(found, usual, rtol=1e-4, atol=1e-6)


def test_smoothing_stays_below_the_budget(monkeypatch):
    """Gradients keep what a plain pass lets go: counted with them, and with several copies at once where they fit."""
    from saliscope.methods import batch as module

    network = Network(Stage().eval(), read=logits_of)
    x = torch.rand(2, 3, 64, 64)
    specs = [parse_method(f"{name}@features.1:smooth=12") for name in ("grad-cam", "layer-cam")]
    sizes = []
    real = module.Pass
    monkeypatch.setattr(module, "Pass", lambda n, i, *a, **k: sizes.append(len(i)) or real(n, i, *a, **k))  # fmt: skip
    for memory in (1, 12_000_000, 1 << 30):
        run = lambda memory=memory: map_batch(network, x, specs, target=1, budget=Budget(memory))  # noqa: E731
        run()
        sizes.clear()
        with Living() as living:
            run()
        if memory == 12_000_000:
            assert living.peak < memory
        assert max(sizes[1:]) == {1: 2, 12_000_000: max(sizes[1:]), 1 << 30: 24}[memory]
        assert sum(sizes[1:]) == 24


def test_smoothing_goes_on_where_memory_runs_out(nets, batch, monkeypatch, caplog):
    net = nets.deep_head()
    usual = sc.attribute(net, batch, 1, layer="features.2", smooth=6)
    real = Network.capture

    def tight(self, inputs, layers, **more):
        if len(inputs) > 7:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(self, inputs, layers, **more)

    monkeypatch.setattr(Network, "capture", tight)
    found = sc.attribute(net, batch, 1, layer="features.2", smooth=6)
    torch.testing.assert_close(found, usual)
    assert "memory ran out" in caplog.text


def test_no_small_pass_is_left_over(nets, monkeypatch):
    monkeypatch.setattr(Question, "at_once", lambda self: 64)
    x = torch.randn(1, 3, 16, 16)
    one = question(nets.gap(), x)
    sizes = [len(v) for v, _ in one.answers(65, lambda v, s: x[s].expand(len(v), 1, 3, 16, 16))]
    assert sizes == [33, 32]
    drawn = []

    def draw(rows, numbers):
        drawn.append(len(rows))
        return x[rows]

    one.asked(torch.ones(1, 130, dtype=torch.bool), draw)
    assert drawn == [44, 43, 43]
