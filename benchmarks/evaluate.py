"""What an evaluation costs beyond its network: `python benchmarks/evaluate.py PART [--data NAME --root DIR] [--images 1000]`.

`capture`   CAM and Grad-CAM at four stages (5 maps an image) against Grad-CAM at four stages alone, from one capture.
`pipeline`  the explain stage (reading, decoding, network, maps written to disk) against the bare engine on the same tensors in
            memory; interleaved, 64 images at a time; and the memory of the process after each of them.
`measure`   the time that scoring a map takes one process: boxes by three protocols, shares of heat, pointing, and
            --thresholds 1000 of them (0: no sweep).

ResNet-50 with random weights unless --model says otherwise. Interleaved in one process, medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch

from saliscope.bench import interleaved, machine
from saliscope.engine import OwnClasses
from saliscope.methods import map_batch
from saliscope.runs.explaining import Part, explain_units
from saliscope.runs.measuring import measure_part, measures_of
from saliscope.runs.place import open_place
from saliscope.runs.selection import Unit, units_of
from saliscope.runs.settings import make_run_settings
from saliscope.runs.store import Store
from saliscope.runs.subject import Subject, open_subject

STAGES = [f"grad-cam@layer{i}" for i in (4, 3, 2, 1)]
_AT_ONCE = 512 if torch.cuda.is_available() else 64


def subject_of(options: argparse.Namespace, methods: list[str], **more: Any) -> Subject:
    settings = make_run_settings(
        model=options.model,
        weights=options.weights,
        num_classes=options.classes,
        data=options.data,
        root=options.root,
        split=options.split,
        methods=methods,
        device=options.device,
        batch_size=options.batch,
        thresholds=options.thresholds,
        **more,
    )
    return open_subject(settings)


def capture(options: argparse.Namespace) -> None:
    subject = subject_of(options, ["cam", *STAGES], trivial=False)
    model, specs = subject.model, list(subject.specs)
    network = model.network([s.layer for s in specs if s.layer is not None])
    inputs = torch.randn(options.batch, 3, *model.preprocessing.size, device=model.device)
    four = [s for s in specs if s.method.name == "grad-cam"]
    jobs: dict[str, Callable[[], Any]] = {
        "Grad-CAM at four stages": lambda: map_batch(network, inputs, four),
        "with CAM": lambda: map_batch(network, inputs, specs),
    }
    for timing in interleaved(jobs, rounds=options.rounds):
        each = 1e3 * timing.seconds / options.batch
        low, high = timing.spread
        print(
            f"{timing.name:26s} {each:7.2f} ms an image, ratio {timing.ratio:.3f} ({low:.3f} to {high:.3f})"
        )


def pipeline(options: argparse.Namespace) -> None:
    subject = subject_of(options, options.method or ["cam", *STAGES], trivial=options.trivial)
    data = subject.data[options.split]
    chosen = list(range(min(options.images, len(data))))
    network = subject.model.network([s.layer for s in subject.specs if s.layer is not None])
    process = psutil.Process()
    ratios, rates, memory = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(open_place(folder))
        for start in range(0, len(chosen), _AT_ONCE):
            part = chosen[start : start + _AT_ONCE]
            units = units_of(data, options.split, part, (), batch_size=subject.batch_size)
            batches = [
                subject.model.inputs([data[i].photo() for i in unit.positions])[0] for unit in units
            ]
            jobs = [
                partial(bare, subject, network, batches),
                partial(explain, subject, store, units, options.threads),
            ]
            if start == 0:
                timed(jobs[0])  # the first pass makes what later ones reuse
            if start // _AT_ONCE % 2:
                own = timed(jobs[1])
                engine = timed(jobs[0])
            else:
                engine, own = timed(jobs[0]), timed(jobs[1])
            ratios.append(own / engine)
            rates.append((len(part) / engine, len(part) / own))
            memory.append(process.memory_info().rss / 2**20)
    print(f"{len(chosen)} images in {len(ratios)} blocks, {len(subject.specs)} maps each")
    print(
        f"bare engine {statistics.median(r[0] for r in rates):.1f}, explain stage {statistics.median(r[1] for r in rates):.1f} images/s"
    )
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    print(
        f"wall time of the stage over that of the engine: {statistics.median(ratios):.3f} ({quartiles[0]:.3f} to {quartiles[2]:.3f})"
    )
    print("resident MB after each block: " + " ".join(f"{m:.0f}" for m in memory))


def bare(subject: Subject, network: Any, batches: list[torch.Tensor]) -> None:
    for batch in batches:
        own = OwnClasses(tuple((i % 5,) for i in range(len(batch))))
        maps = map_batch(network, batch, subject.specs, target=own)
        [stack.cpu().numpy() for stack in maps.signed]


def explain(subject: Subject, store: Store, units: list[Unit], threads: int | None) -> None:
    def keep(part: Part) -> None:
        store.write("maps", part.unit.name, part.data)

    for _ in explain_units(subject, iter(units), keep=keep, threads=threads):
        pass


def timed(job: Callable[[], Any]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def measure(options: argparse.Namespace) -> None:
    subject = subject_of(options, options.method or ["cam", *STAGES], trivial=options.trivial)
    data = subject.data[options.split]
    chosen = list(range(0, len(data), max(1, len(data) // options.images)))[: options.images]
    units = units_of(data, options.split, chosen, (), batch_size=subject.batch_size)
    measures = measures_of(subject.settings)
    import cv2

    from saliscope.runs.tables import from_bytes

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    parts = [from_bytes(p.data, p.unit.name) for p in explain_units(subject, iter(units))]
    measure_part(parts[0], subject.data, measures)
    times, maps, size = [], 0, 0
    for part in parts:
        start = time.perf_counter()
        tables = measure_part(part, subject.data, measures, trivial=subject.settings.trivial)
        times.append((time.perf_counter() - start) / len(part))
        maps += len(part)
        size += sum(map(len, tables.values()))
    each = statistics.median(times)
    print(
        f"{maps} maps of {len(chosen)} images: {1e3 * each:.1f} ms a map on one core, {size / maps:.0f} bytes of scores a map"
    )
    print(f"8,580 images x 6 maps on two cores: {8580 * 6 * each / 2 / 60:.1f} minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["capture", "pipeline", "measure"])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--weights", default="untrained")
    parser.add_argument("--classes", type=int, default=120)
    parser.add_argument("--data", default="stanford_dogs:classes=all")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--split", default="all")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--method", action="append")
    parser.add_argument("--thresholds", type=int, default=1000)
    parser.add_argument("--trivial", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device")
    options = parser.parse_args()
    options.root = None if options.root is None else str(options.root)
    print(machine())
    {"capture": capture, "pipeline": pipeline, "measure": measure}[options.part](options)


if __name__ == "__main__":
    main()
