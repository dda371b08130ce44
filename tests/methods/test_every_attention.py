"""What holds for every method that reads attention: nothing left behind, together as alone, threads, half precision."""

import threading

import pytest
import torch

import saliscope as sc
from saliscope.methods import METHODS
from small_vit import Vit

ATTENDING = [name for name, kind in METHODS.items() if kind.family == "transformers"]


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize("door", ["raw", "model"])
def test_attention_leaves_nothing_behind(batch, unchanged, name, door):
    net = Vit().train()
    thing = sc.Model(net, (24, 16)) if door == "model" else net
    inputs = batch.clone().requires_grad_(True)
    with unchanged(net, inputs):
        first = sc.attribute(thing, inputs, 1, method=name)
        with torch.inference_mode():
            second = sc.attribute(thing, inputs, 1, method=name)
        with pytest.raises(sc.SaliscopeError):
            sc.attribute(thing, inputs, 99, method=name)
    assert first.dtype == torch.float32
    assert first.shape == (3, 6, 4)
    assert not first.requires_grad
    torch.testing.assert_close(first, second)


def test_attention_together_as_alone(batch):
    from saliscope.methods import map_batch, parse_method

    network = sc.Model(Vit(), (24, 16), prepare=False).network()
    targets = torch.tensor([[0, 3], [2, 2], [4, 1]])
    specs = [parse_method(s) for s in ("grad-cam@encoder.layers.0", *ATTENDING)]
    together = map_batch(network, batch, specs, target=targets).signed
    for spec, maps in zip(specs, together, strict=True):
        for i in range(3):
            (one,) = map_batch(network, batch[i : i + 1], [spec], target=targets[i : i + 1]).signed
            scale = float(maps[i].abs().max())
            torch.testing.assert_close(one[0] / scale, maps[i] / scale, rtol=0, atol=2e-5)
        changes = not torch.equal(maps[0, 0], maps[0, 1])
        assert changes is spec.method.class_discriminative
        assert torch.equal(maps[1, 0], maps[1, 1])


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_in_half_precision(batch, name, dtype):
    net = Vit().eval()
    plain = sc.attribute(net, batch, 1, method=name)
    found = sc.attribute(net.to(dtype), batch.to(dtype), 1, method=name)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert float((found - plain).abs().max()) < 0.1 * float(plain.abs().max())


def test_attention_on_threads(batch):
    """A tap belongs to one thread: others run the fused attention meanwhile."""
    model = sc.Model(Vit(), (24, 16))
    names = [*ATTENDING, "grad-cam@encoder.layers.0"] * 2
    single = {name: sc.attribute(model, batch, 1, method=name) for name in names}
    errors = []

    def work(name):
        try:
            for _ in range(5):
                found = sc.attribute(model, batch, 1, method=name)
                torch.testing.assert_close(found, single[name])
        except BaseException as err:
            errors.append(err)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_attention_does_not_pile_up(batch):
    import gc

    model = sc.Model(Vit(), (24, 16))
    counts = []
    for _ in range(3):
        for name in ATTENDING:
            sc.attribute(model, batch, 1, method=name)
        gc.collect()
        counts.append(sum(type(o) is torch.Tensor for o in gc.get_objects()))
    assert counts[2] <= counts[0]


@pytest.mark.parametrize("name", ATTENDING)
def test_attention_of_a_photograph(photos, name):
    found = sc.explain(sc.Model(Vit(), 32), photos, name)
    assert {e.status for e in found} == {"ok"}
    assert all(e.heatmap().shape == p.shape[:2] for e, p in zip(found, photos, strict=True))
    smooth = sc.explain(sc.Model(Vit(), 32), photos[0], f"{name}:smooth=2")
    assert smooth.map.shape == (8, 8)
