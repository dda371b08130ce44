"""What decoding, drawing and writing add to the network: `explain` on many photographs against the bare engine.

    python benchmarks/command_line.py FOLDER [--model M] [--weights FILE] [--images 100] [--rounds 3]

Interleaved in one process: the bare engine (the same batches, decoded beforehand, CAM and Grad-CAM maps) and the whole of
`saliscope explain` with the same two methods (decoding, heatmaps, boxes, overlays, panels, maps and tables on disk).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch

from saliscope.bench import interleaved, machine
from saliscope.explainer import resolve_specs
from saliscope.finding import find_images
from saliscope.images import load_image
from saliscope.localization import parse_protocol
from saliscope.methods import map_batch, parse_method
from saliscope.models import load_model
from saliscope.pipeline import explain_files
from saliscope.results import Look, ResultFolder, unique_stems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--weights", default="untrained")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    paths = find_images([options.folder])[: options.images]
    model = load_model(options.model, options.weights)
    specs = resolve_specs(model, [parse_method("cam"), parse_method("grad-cam")])
    step = options.batch
    inputs, _ = model.inputs([load_image(p) for p in paths])
    network = model.network([s.layer for s in specs if s.layer])
    place = Path(tempfile.mkdtemp(prefix="saliscope-bench-"))

    def bare() -> None:
        for start in range(0, len(paths), step):
            map_batch(network, inputs[start : start + step], specs)

    def whole() -> None:
        fresh = Path(tempfile.mkdtemp(dir=place))
        folder = ResultFolder(fresh, Look(parse_protocol("yang2025")), unique_stems(paths))
        folder.prepare()
        for outcome in explain_files(model, paths, specs, folder.write, batch_size=step):
            if outcome.error is not None:
                raise outcome.error
        folder.save()

    try:
        first, second = interleaved({"bare": bare, "whole": whole}, rounds=options.rounds, warmup=1)
    finally:
        shutil.rmtree(place)
    print(f"{len(paths)} photographs, CAM and Grad-CAM, {options.model}; {machine()}")
    for timing in (first, second):
        rate = len(paths) / timing.seconds
        print(f"{timing.name:8s} {rate:6.1f} images/s   {1 / timing.ratio:.2f} of the bare rate")
    print(f"torch threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
