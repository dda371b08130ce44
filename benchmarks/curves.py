"""Deletion and insertion of six methods at once, against bare forward passes of as many pictures.

    python benchmarks/curves.py [--rounds 3] [--images 2] [--steps 28] [--network resnet50 ...] [--device cuda] [--json FILE]

28 steps of each curve at 224 px unless told otherwise, random weights and random maps: neither changes what it takes. Bare is the prepared copy that
saliscope runs, asked about as many pictures in batches of the same sizes and nothing around it. Both run in turn in one
process, medians of rounds; at most 1.10 is wanted, and fewer pictures than 6 x 56 an image. The ratio is one for each
picture, so that a few images show it as well as many.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from saliscope.bench import interleaved, machine
from saliscope.engine import BatchTarget, Budget, Network, Question
from saliscope.metrics.curves import CurveProtocol, removal_curves
from saliscope.models import Model, load_model

METHODS, SIZE = 6, 224


class Counted:
    """A question that notes how many pictures went into each pass."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.sizes: list[int] = []

    def answers(
        self, count: int, make: Callable[[range, slice], Tensor]
    ) -> Iterator[tuple[range, Tensor]]:
        def counted(variants: range, some: slice) -> Tensor:
            pictures = make(variants, some)
            self.sizes.append(pictures.shape[0] * pictures.shape[1])
            return pictures

        yield from self.question.answers(count, counted)


def bare(network: Network, inputs: Tensor, sizes: list[int]) -> Callable[[], None]:
    layout = torch.channels_last if network.channels_last else torch.contiguous_format
    dtype = network.dtype or inputs.dtype
    batches = {
        n: torch.randn(n, *inputs.shape[1:], device=inputs.device).to(dtype, memory_format=layout)
        for n in set(sizes)
    }

    def run() -> None:
        with torch.no_grad():
            for size in sizes:
                network.module(batches[size])

    return run


def compare(name: str, options: argparse.Namespace) -> dict[str, object]:
    source = load_model(name, "untrained", device=options.device)
    module = source.module.to(source.device).eval()
    network = Model(module, (SIZE, SIZE)).network()
    generator = torch.Generator().manual_seed(0)
    shape = options.images, 3, SIZE, SIZE
    inputs = torch.randn(shape, generator=generator).to(source.device)
    maps = torch.randn(METHODS, options.images, SIZE, SIZE, generator=generator).to(source.device)
    target = BatchTarget(torch.zeros(options.images, dtype=torch.long), "probability")
    question = Question(network, inputs, inputs, (), {}, [target], Budget())
    counted = Counted(question)
    protocol = CurveProtocol(name="timed", steps=options.steps)
    removal_curves(counted, inputs, maps, protocol=protocol)
    jobs = {
        "bare": bare(network, inputs, counted.sizes),
        "curves": lambda: removal_curves(question, inputs, maps, protocol=protocol),
    }
    one, all_ = interleaved(jobs, rounds=options.rounds, warmup=1)
    pictures = sum(counted.sizes)
    each = {t.name: 1e3 * t.seconds / pictures for t in (one, all_)}
    low, high = all_.spread
    print(
        f"{name:14s} {pictures / options.images:g} pictures an image (6 x 2 x {options.steps} is {12 * options.steps}), up to {max(counted.sizes)} at once: "
        f"bare {each['bare']:.1f} ms a picture, curves {each['curves']:.1f} ms, {all_.ratio:.3f} ({low:.3f} to {high:.3f})"
    )
    return {"network": name, "pictures": pictures, "ms": each, "ratio": all_.ratio, "spread": all_.spread}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--network", nargs="+", default=["resnet50", "mobilenet_v2"])
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine())
    found = [compare(name, options) for name in options.network]
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": found}, indent=2))


if __name__ == "__main__":
    main()
