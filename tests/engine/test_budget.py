"""Memory as users write it, how much a pass takes, how many images go at once, and what happens where it runs out."""

import gc
import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn

import saliscope as sc
from saliscope.engine import (
    Budget,
    Footprint,
    Living,
    Network,
    Room,
    make_budget,
    memory_in_bytes,
    out_of_memory,
)
from saliscope.models import logits_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (5, 5),
        ("4096", 4096),
        ("500MB", 500_000_000),
        ("2 GB", 2_000_000_000),
        ("2gb", 2_000_000_000),
        ("1.5GiB", 3 << 29),
        ("1.5 gib", 3 << 29),
        (".5K", 500),
        ("1Ki", 1024),
        ("3T", 3 * 10**12),
        ("10B", 10),
    ],
)
def test_memory_as_it_is_written(given, count):
    assert memory_in_bytes(given) == count
    assert make_budget(given).memory == count


@pytest.mark.parametrize("given", ["", "many", "2 EB", "-1GB", "0", 0, -3, "GB", "1..5GB", "1IB", True, None, "1,5GB"])  # fmt: skip
def test_memory_that_is_none(given):
    with pytest.raises(sc.OptionError, match=r'memory is a number of bytes or a text like "500MB", "2GB" or "1.5GiB"; got'):  # fmt: skip
        memory_in_bytes(given)


def test_no_memory_given_is_the_usual_one():
    assert make_budget().memory == Budget().memory == 1 << 30


def test_how_many_images_go_at_once():
    budget = Budget(100_000_000)
    assert budget.images(Footprint(10_000_000), CPU) == 10
    assert budget.images(Footprint(10_000_000, 45_000_000), CPU) == 5
    assert budget.images(Footprint(200_000_000), CPU) == 1, "one image always runs"
    assert budget.images(Footprint(1, 200_000_000), CPU) == 1
    assert Budget(1 << 40).images(Footprint(8_000_000), CPU) == 16, "more are not faster on a CPU"
    assert Budget(1 << 40).images(Footprint(1 << 30), CPU) == 8
    assert Budget(1 << 40).images(Footprint(0), CPU) == 1024
    assert Budget(1 << 40).images(Footprint(8_000_000), torch.device("cuda")) == 536


def test_living_counts_what_lives_at_once():
    given = torch.zeros(1000)
    with Living() as living:
        a = given + 1
        b = a.view(10, 100).T
        assert living.now == 4000
        b += 1
        assert living.now == 4000, "views and operations in place take nothing"
        c = [a * i for i in range(3)]
        assert living.now == living.peak == 16000
        del c
        assert living.now == 4000
        d = given.double()
        assert living.now == 12000
    del a, b, d
    assert living.now == 0
    assert living.peak == 16000


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float32, 3 * 64 * 4 + 2 * 5 * 36 * 4), (torch.float64, 5 * 36 * 8 + 36 * 27 * 8)])  # fmt: skip
def test_living_counts_what_a_convolution_needs_besides(dtype, expected):
    """In float32 a copy of input (3 x 8 x 8) and output (5 x 6 x 6) beside the output; in float64 columns of 27 rows."""
    conv, x = nn.Conv2d(3, 5, 3).to(dtype), torch.rand(1, 3, 8, 8, dtype=dtype)
    with Living() as living, torch.no_grad():
        conv(x)
    assert living.peak == expected
    assert living.weight == conv.weight.nbytes
    assert living.footprint(2) == Footprint(int(1.1 * expected) // 2, conv.weight.nbytes)


class Squaring(nn.Module):
    """Refuses more than `most` images, as memory would."""

    def __init__(self, most=10**9, error=None):
        super().__init__()
        self.conv, self.most = nn.Conv2d(3, 5, 3), most
        self.error = error or RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")
        self.sizes: list[int] = []

    def forward(self, x):
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise self.error
        return self.conv(x).mean((2, 3))


def test_a_network_is_measured_once_for_a_size_and_a_precision():
    module = Squaring().eval()
    network = Network(module, read=logits_of)
    x = torch.rand(1, 3, 8, 8)
    first = network.footprint(x)
    assert network.footprint(torch.rand(5, 3, 8, 8)) is first
    assert module.sizes == [2]
    larger = network.footprint(torch.rand(1, 3, 16, 16))
    assert larger.each > first.each
    module.double()
    exact = network.footprint(x.double())
    assert exact.each > first.each
    assert module.sizes == [2, 2, 2]


def test_a_network_without_a_picture_cannot_be_asked_about_variants():
    network = Network(nn.Linear(3, 2), read=logits_of)
    with pytest.raises(sc.LayerError, match=r"the inputs hold no \(B, C, H, W\) tensor"):
        network.footprint(torch.rand(1, 3))


def test_a_larger_batch_takes_no_more_than_its_images_say():
    """On a real network: what two images take tells what many do, and a chunk of a budget stays below it."""
    model = sc.Model(torchvision.models.resnet18(num_classes=5).eval(), 64)
    network = model.network()
    each = network.footprint(torch.rand(1, 3, 64, 64)).each
    many = torch.rand(16, 3, 64, 64)
    with Living() as living:
        network.capture(many, [], gradients=False)
    assert 0.8 * each < living.peak / 16 < each


def ask(room, count, batch, job=None):
    calls = []

    def kept(variants, images):
        calls.append((len(variants), images.stop - images.start))
        if job is not None:
            job(variants, images)
        rows = torch.arange(images.start, images.stop)
        return torch.stack([v * 100 + rows for v in variants])

    found = room.ask(kept, range(3, 3 + count), slice(0, batch))
    expected = (torch.arange(3, 3 + count) * 100)[:, None] + torch.arange(batch)
    assert torch.equal(found, expected)
    return calls


def test_a_room_parts_what_does_not_fit():
    assert ask(Room(12), 4, 3) == [(4, 3)]
    assert max(v * b for v, b in ask(Room(7), 4, 3)) <= 7
    assert max(v * b for v, b in ask(Room(2), 4, 3)) <= 2
    assert ask(Room(1), 2, 2) == [(1, 1)] * 4
    assert ask(Room(3, whole=True), 1, 8) == [(1, 8)], "a batch that belongs together stays whole"


def test_where_memory_runs_out_a_room_halves_and_goes_on(caplog):
    def too_many(variants, images):
        if len(variants) * (images.stop - images.start) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    room = Room(100)
    calls = ask(room, 4, 3, too_many)
    assert room.limit == 3
    assert calls[0] == (4, 3)
    assert "memory ran out with 12 images at once; going on with 6" in caplog.text
    caplog.clear()
    ask(room, 4, 3, too_many)
    assert caplog.text == "", "it has learnt"


@pytest.mark.parametrize("error", [RuntimeError("shapes"), ValueError("x"), torch.OutOfMemoryError("gone")])  # fmt: skip
def test_other_errors_and_an_image_that_does_not_fit_alone_are_raised(error):
    def job(variants, images):
        raise error

    with pytest.raises(type(error), match=str(error)):
        Room(8).ask(job, range(2), slice(0, 2))


def test_what_counts_as_out_of_memory():
    assert out_of_memory(MemoryError())
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate"))
    assert not out_of_memory(RuntimeError("size mismatch"))
    assert not out_of_memory(ValueError("DefaultCPUAllocator"))


def test_counting_leaves_nothing_behind():
    network = Network(Squaring().eval(), read=logits_of)
    x = torch.rand(1, 3, 8, 8)
    network.footprint(x)
    gc.collect()
    before = sum(type(o) is torch.Tensor for o in gc.get_objects())
    for size in range(9, 14):
        network.footprint(torch.rand(1, 3, size, size))
    gc.collect()
    assert sum(type(o) is torch.Tensor for o in gc.get_objects()) <= before


RESIDENT = """
import ctypes, threading, time, psutil, torch, torchvision
import saliscope as sc

torch.set_num_threads(1)
model = sc.Model(torchvision.models.resnet18().eval())
x = torch.randn(1, 3, 224, 224)
run = lambda: sc.attribute(model, x, 1, method="score-cam", layer="layer1.0.conv1", memory=MEMORY)
run()  # copies are made, kernels compiled
ctypes.CDLL("libc.so.6").malloc_trim(0)
process, peak, done = psutil.Process(), 0, False

def watch():
    global peak
    while not done:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.002)

base = process.memory_info().rss
thread = threading.Thread(target=watch)
thread.start()
run()
done = True
thread.join()
print(peak - base)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc to give free memory back")
@pytest.mark.parametrize("memory", [60_000_000, 120_000_000])
def test_resident_memory_of_a_real_network_stays_below_the_budget(memory):
    """What the counting cannot see, such as what oneDNN and the allocator keep, is seen by the operating system."""
    code = RESIDENT.replace("MEMORY", str(memory))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.2 * memory < int(done.stdout) < memory
