"""What explaining costs on this machine, as shares of a plain forward pass."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn

from saliscope.api import attribute
from saliscope.data import DataSet
from saliscope.errors import SaliscopeError
from saliscope.models import Model
from saliscope.provenance import machine

__all__ = ["Timing", "data_table", "interleaved", "machine", "speed_cases", "speed_table"]

STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Timing:
    """Seconds of one job over the rounds: the median, and how it compares with the first job of the same rounds.

    `ratio` is the median over the rounds of this job's time divided by the first job's in the same round, so a machine
    that slows down for a while slows both.
    """

    name: str
    seconds: float
    ratio: float
    spread: tuple[float, float]


def interleaved(
    jobs: Mapping[str, Callable[[], Any]], *, rounds: int = 15, warmup: int = 3
) -> list[Timing]:
    """Run all jobs once per round, in turn, and compare them; `spread` is the quartiles of the ratio."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for round_ in range(warmup + rounds):
        for name, job in jobs.items():
            _wait()
            start = time.perf_counter()
            job()
            _wait()
            if round_ >= warmup:
                times[name].append(time.perf_counter() - start)
    first = next(iter(times.values()))
    table = []
    for name, own in times.items():
        ratios = [a / b for a, b in zip(own, first, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
        table.append(Timing(name, statistics.median(own), statistics.median(ratios), (low, high)))
    return table


def speed_cases(
    module: nn.Module, inputs: Tensor, *, bfloat16: bool = True
) -> dict[str, Callable[[], Any]]:
    """The jobs of the speed table on a ResNet-like network; the plain forward pass of the module comes first."""
    size = (inputs.shape[2], inputs.shape[3])
    five = torch.arange(5).repeat(len(inputs), 1)

    def plain() -> Tensor:
        with torch.no_grad():
            logits: Tensor = module(inputs)
            return logits

    jobs: dict[str, Callable[[], Any]] = {"plain forward": plain}
    for precision in ("float32", "bfloat16") if bfloat16 else ("float32",):
        model = Model(module, size, precision=precision)
        named = {
            "grad-cam at layer4": _job(model, inputs, None, "layer4"),
            "five classes at layer4": _job(model, inputs, five, "layer4"),
            "four stages": _job(model, inputs, None, list(STAGES)),
        }
        jobs |= {f"{name}, {precision}": job for name, job in named.items()}
    return jobs


def _job(
    model: Model, inputs: Tensor, target: Tensor | None, layer: str | list[str]
) -> Callable[[], Any]:
    return lambda: attribute(model, inputs, target, method="grad-cam", layer=layer)


def speed_table(
    name: str = "resnet50",
    *,
    size: int = 224,
    batch: int = 8,
    rounds: int = 15,
    device: str | None = None,
    bfloat16: bool = True,
) -> list[Timing]:
    """Time the speed table on a torchvision network with random weights: speed does not depend on their values."""
    from saliscope.models import load_model

    model = load_model(name, "untrained", device=device)
    module = model.module.to(model.device).eval()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batch, 3, size, size, generator=generator).to(model.device)
    return interleaved(speed_cases(module, inputs, bfloat16=bfloat16), rounds=rounds)


def data_table(
    data: DataSet,
    name: str = "resnet50",
    *,
    batch: int = 8,
    rounds: int = 15,
    device: str | None = None,
) -> list[Timing]:
    """Time a plain forward pass of a network in float32, and reading as many samples as it takes: a ratio above 1 starves it.

    Reading is the annotation, the photograph decoded and preprocessed, on as many threads as torch has. Each round reads
    other samples, all of them once before a sample comes again. Damaged ones count: they take time too.
    """
    from saliscope.models import load_model

    model = load_model(name, "untrained", device=device)
    module = model.module.to(model.device).eval()
    inputs = torch.randn(batch, 3, *model.preprocessing.size).to(model.device)
    order = cycle(range(len(data)))

    def network() -> Tensor:
        with torch.no_grad():
            logits: Tensor = module(inputs)
            return logits

    def read(index: int) -> None:
        with suppress(SaliscopeError):
            model.preprocessing(data[index].photo().pixels)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        jobs = {
            "network alone, float32": network,
            "decode and preprocess": lambda: list(pool.map(read, islice(order, batch))),
        }
        return interleaved(jobs, rounds=rounds)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
