"""Twelve methods on the four stages of ResNet-50 from one capture, against Grad-CAM alone there, and against grad-cam.

    python benchmarks/twelve.py [--rounds 9] [--batch 8] [--device cuda] [--no-peer] [--json FILE]

The twelve are those that one backward pass serves. Two have fewer maps than four: CAM exists at the last stage only, and
KPCA-CAM is left out at the first, where comparing 3,136 cells with each other costs more than the network (its own row
says how much). Finer-CAM and Shapley-CAM take backward passes of their own and have rows of their own. The library
grad-cam makes the maps it has of the same methods, layers and images, one method and layer at a time as its
documentation shows; one round of it takes minutes, so it runs `--peer-rounds` times, interleaved with ours.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saliscope.bench import STAGES, Timing, interleaved, machine
from saliscope.methods import MethodSpec, layers_of, map_batch, parse_method
from saliscope.models import Model, load_model

EVERYWHERE = ("grad-cam", "grad-cam:sign=negative", "grad-cam++", "xgrad-cam", "layer-cam", "hires-cam",
              "eigen-cam", "eigen-grad-cam", "fem")  # fmt: skip
# Refine-CAM reads a stage and all behind it.
REFINED = ["+".join(STAGES[i:]) for i in range(4)]
THEIRS = {
    "grad-cam": "GradCAM",
    "grad-cam++": "GradCAMPlusPlus",
    "xgrad-cam": "XGradCAM",
    "layer-cam": "LayerCAM",
    "hires-cam": "HiResCAM",
    "eigen-cam": "EigenCAM",
    "eigen-grad-cam": "EigenGradCAM",
    "kpca-cam": "KPCA_CAM",
    "fem": "FEM",
}


def twelve() -> list[MethodSpec]:
    """The maps of the twelve methods: 9 x 4, 4 of Refine-CAM, 3 of KPCA-CAM and 1 of CAM."""
    names = [at(name, stage) for name in EVERYWHERE for stage in STAGES]
    names += [f"refine-cam@{layers}" for layers in REFINED]
    names += [f"kpca-cam@{stage}" for stage in STAGES[1:]]
    return [parse_method(name) for name in [*names, "cam@layer4"]]


def at(name: str, stage: str) -> str:
    """A method with options, at a stage: `grad-cam:sign=negative` becomes `grad-cam@layer1:sign=negative`."""
    head, colon, options = name.partition(":")
    return f"{head}@{stage}{colon}{options}"


def ours(model: Model, inputs: Tensor, specs: Sequence[MethodSpec]) -> Callable[[], Any]:
    network = model.network(layers_of(specs))
    return lambda: map_batch(network, inputs, specs)


def own_table(model: Model, inputs: Tensor, rounds: int) -> list[Timing]:
    """Grad-CAM at four stages first; then the twelve, each alone on four stages, and what needs more passes."""
    everywhere = {name: [parse_method(at(name, s)) for s in STAGES] for name in EVERYWHERE}
    everywhere["refine-cam"] = [parse_method(f"refine-cam@{layers}") for layers in REFINED]
    everywhere["kpca-cam, stages 2 to 4"] = [parse_method(at("kpca-cam", s)) for s in STAGES[1:]]
    everywhere["kpca-cam, stages 1 to 4"] = [parse_method(at("kpca-cam", s)) for s in STAGES]
    everywhere["finer-cam"] = [parse_method(at("finer-cam", s)) for s in STAGES]
    everywhere["shapley-cam"] = [parse_method(at("shapley-cam", s)) for s in STAGES]
    jobs = {"grad-cam": ours(model, inputs, everywhere.pop("grad-cam"))}
    jobs["the twelve"] = ours(model, inputs, twelve())
    jobs |= {name: ours(model, inputs, specs) for name, specs in everywhere.items()}
    return interleaved(jobs, rounds=rounds, warmup=2)


def peer(module: nn.Module, inputs: Tensor) -> Callable[[], Any]:
    """The same maps by grad-cam: what it has of them."""
    import pytorch_grad_cam

    places = [(name, s) for name in THEIRS for s in STAGES if (name, s) != ("kpca-cam", "layer1")]

    def run() -> None:
        for name, stage in places:
            layers = [module.get_submodule(stage)]
            with getattr(pytorch_grad_cam, THEIRS[name])(model=module, target_layers=layers) as cam:
                cam(input_tensor=inputs, targets=None)
        base = pytorch_grad_cam.GradCAMPlusPlus
        for i in range(4):
            layers = [module.get_submodule(s) for s in STAGES[i:]]
            pytorch_grad_cam.RefineCAM(module, layers, base_method=base)(inputs)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--peer-rounds", type=int, default=1)
    parser.add_argument("--peer-batch", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--device")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peer's own deprecations
    source = load_model("resnet50", "untrained", device=options.device)
    module = source.module.to(source.device).eval()
    inputs = torch.randn(options.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    inputs = inputs.to(source.device)
    model = Model(module)
    rows = own_table(model, inputs, options.rounds)
    print(machine())
    for t in rows:
        each = 1e3 * t.seconds / options.batch
        print(f"{t.name:26s} {each:8.2f} ms/img {t.ratio:7.3f}  {t.spread[0]:.3f} to {t.spread[1]:.3f}")  # fmt: skip
    if not options.no_peer:
        few = inputs[: options.peer_batch]
        mine = ours(model, few, twelve())
        jobs = {"grad-cam": peer(module, few), "the twelve": mine}
        theirs, own = interleaved(jobs, rounds=options.peer_rounds, warmup=0)
        rows += [theirs, own]
        print(f"grad-cam {theirs.seconds:.1f} s, ours {own.seconds:.3f} s: {1 / own.ratio:.0f} x")
    if options.json:
        found = [{"name": t.name, "ratio": t.ratio, "spread": t.spread} for t in rows]
        options.json.write_text(json.dumps({"machine": machine(), "rows": found}, indent=2))


if __name__ == "__main__":
    main()
