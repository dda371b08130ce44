"""Methods that ask about masked pictures, against bare forward passes of as many pictures on the same network.

    python benchmarks/masks.py [--masks 64] [--rounds 5] [--device cuda] [--precision bfloat16] [--json FILE]

A bare pass is the prepared network on a batch that lies ready, of the size the method asks about at once, the last one
smaller where the count does not divide. Each method is timed in turn with its own bare passes, and the ratio is that of
the same round. What the ratio holds beside them: drawing masks, changing pictures, summing up, superpixels, and the first
pass on the picture itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saliscope import attribute
from saliscope.bench import Timing, interleaved, machine
from saliscope.engine import Network, Question
from saliscope.models import Model, load_model


def sizes_of(job: Callable[[], Any]) -> list[int]:
    """How many pictures each pass of a job takes, without the first, on the picture itself."""
    seen: list[int] = []
    plain = Network.capture

    def watched(self: Network, inputs: Any, *rest: Any, **more: Any) -> Any:
        seen.append(len(inputs))
        return plain(self, inputs, *rest, **more)

    Network.capture = watched  # type: ignore[method-assign]
    try:
        job()
    finally:
        Network.capture = plain  # type: ignore[method-assign]
    return seen[1:]


def bare(network: Network, image: Tensor, sizes: list[int]) -> Callable[[], None]:
    """The network alone, on batches of these sizes."""
    layout = torch.channels_last if network.channels_last else torch.contiguous_format
    ready = image.to(network.dtype).repeat(max(sizes), 1, 1, 1).contiguous(memory_format=layout)

    def run() -> None:
        with torch.no_grad():
            for size in sizes:
                network.module(ready[:size])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, help="pictures in a pass; default: as the library")
    parser.add_argument("--device")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.at_once:
        Question.at_once = lambda _: options.at_once  # type: ignore[method-assign]
    source = load_model("resnet50", "untrained", device=options.device)
    module = source.module.to(source.device).eval()
    model = Model(module, 224, precision=options.precision)
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    image = image.to(source.device)
    n = options.masks
    windows = round(n**0.5) - 1  # about n windows, each two steps wide
    specs = [
        f"rise:masks={n}",
        f"occlusion:patch={2 / (windows + 2):.4f}:stride={1 / (windows + 2):.4f}",
        f"kernel-shap:samples={n}",
        f"lime:samples={n}",
    ]
    rows: list[tuple[str, int, Timing]] = []
    print(machine())
    for spec in specs:
        job = lambda spec=spec: attribute(model, image, 0, method=spec)  # noqa: E731 - a job of interleaved
        sizes = sizes_of(job)
        jobs = {"bare": bare(model.network(), image, sizes), spec: job}
        _, own = interleaved(jobs, rounds=options.rounds, warmup=1)
        rows.append((spec, sum(sizes), own))
        each = 1e3 * own.seconds / sum(sizes)
        print(f"{spec:44s} {sum(sizes):5d} pictures {each:8.2f} ms each {own.ratio:7.3f}  {own.spread[0]:.3f} to {own.spread[1]:.3f}", flush=True)  # fmt: skip
    if options.json:
        found = [
            {"name": name, "pictures": count, "ratio": t.ratio, "spread": t.spread}
            for name, count, t in rows
        ]
        options.json.write_text(json.dumps({"machine": machine(), "rows": found}, indent=2))


if __name__ == "__main__":
    main()
