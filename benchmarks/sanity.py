"""Do maps change when the network forgets? `python benchmarks/sanity.py [COUNT] [METHOD ...] [--network NAME] [--weights FILE] [--data SPEC] [--root DIR]`.

Cascading randomisation (Adebayo et al. 2018) of critternet on critters, or another network on other data: similarity of
each method's map, on the images of COUNT (20), with its map after the stages from the top down have forgotten, three seeds.
The class is the one the untouched network predicts. Intervals are at 95 %, over images. The verdict is that of
`sanity_verdict`: below one half, maps lose their likeness faster than the network its stages. Layers are grouped into at most eight stages,
as in a run (`--stages N`: N at most; `--depth N`: by N parts of their names); `--independent` lets one stage forget at a time; `--json FILE`
writes all similarities, method by method.

A method is written as everywhere, `grad-cam@layer4:relu=false`; without a layer it reads the recommended one of the network.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import saliscope as sc
from saliscope.data import open_data
from saliscope.engine import few_stages
from saliscope.errors import SaliscopeError
from saliscope.explainer import resolve_specs
from saliscope.methods import parse_method
from saliscope.metrics import (
    ClassExplainer,
    RandomisationCurve,
    lasting,
    random_logit,
    randomisation_curve,
    sanity_verdict,
    stages,
)
from saliscope.models import Model, logits_of
from saliscope.stats import mean_interval

METHODS = ("grad-cam:relu=false", "hires-cam", "cam", "edges")
DRAWN = 2000  # replicates of an interval


def explainer(model: Model, method: str) -> ClassExplainer:
    """The method at one layer, chosen once: a network that forgot must not be asked which layer is best."""
    spec = resolve_specs(model, [parse_method(method)])[0]

    def explain(net: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
        found = sc.attribute(net, pictures, classes, method=spec)
        assert isinstance(found, Tensor)
        return found

    return explain


def over_images(values: np.ndarray) -> Any:
    """The mean over images, with its interval, of the mean over seeds: values (seeds, images)."""
    with np.errstate(invalid="ignore"):
        defined = ~np.isnan(values)
        sums = np.where(defined, values, 0).sum(axis=0)
        means = np.divide(
            sums, defined.sum(axis=0), out=np.full(len(sums), math.nan), where=defined.any(axis=0)
        )
    return mean_interval(means, replicates=DRAWN)


def report(method: str, curve: RandomisationCurve, other: Any, seconds: float) -> str:
    alike = curve.values["spearman-abs"]
    left = mean_interval(lasting(alike, curve.chance["spearman-abs"]), replicates=DRAWN)
    verdict = sanity_verdict(left.low, left.high) if curve.how == "cascading" else "no verdict"
    print(f"\n{method}: {verdict}; lasting {left}; {seconds:.0f} s")
    print("| what has forgotten | " + " | ".join(curve.values) + " | undefined |")
    print("|---" * (len(curve.values) + 2) + "|")
    for row, stage in enumerate(curve.stages):
        cells = [f"{over_images(values[row])}" for values in curve.values.values()]
        missing = int(np.isnan(alike[row]).sum())
        print(f"| {stage} | " + " | ".join(cells) + f" | {missing} |")
    chance = [f"{mean_interval(c, replicates=DRAWN)}" for c in curve.chance.values()]
    print("| (another picture) | " + " | ".join(chance) + " | |")
    another = [f"{mean_interval(v, replicates=DRAWN)}" for v in other.values.values()]
    print("| (another class) | " + " | ".join(another) + " | |", flush=True)
    return verdict


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="[COUNT] METHOD")
    parser.add_argument("--network", default="critternet")
    parser.add_argument("--data", default="critters")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--root", help="folder of the unpacked data")
    parser.add_argument("--stages", type=int, default=8)
    parser.add_argument("--depth", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--independent", action="store_true")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    words = list(given.words)
    count = int(words.pop(0)) if words and words[0].isdigit() else 20
    if given.threads:
        torch.set_num_threads(given.threads)
    model = sc.load_model(given.network, given.weights)
    data = open_data(given.data, "test", root=given.root)
    step = max(len(data) // count, 1)  # spread over a set that is sorted by class
    photos = [data[i * step].photo().pixels for i in range(min(count, len(data)))]
    pictures = torch.from_numpy(np.stack([model.preprocessing(p)[0] for p in photos])).to(
        given.device
    )
    net = model.module.to(given.device)
    if given.depth:
        order = stages(net, pictures[:2], read=logits_of, depth=given.depth)
    else:
        order = few_stages(net, pictures[:2], read=logits_of, most=given.stages)
    print(
        f"{given.network}, {len(photos)} images of {given.data}; from the top down: "
        + ", ".join(s.name for s in order)
    )
    kept: dict[str, Any] = {}
    for method in words or METHODS:
        start = time.perf_counter()
        try:
            explain = explainer(model, method)
            curve = randomisation_curve(
                explain, net, pictures, order=order, seeds=range(given.seeds), batch_size=given.batch,
                how="independent" if given.independent else "cascading",
            )  # fmt: skip
            other = random_logit(explain, net, pictures, batch_size=given.batch)
        except SaliscopeError as err:
            print(f"\n{method}: does not apply: {err}")
            continue
        verdict = report(method, curve, other, time.perf_counter() - start)
        kept[method] = {
            "verdict": verdict,
            "stages": curve.stages,
            "values": {k: v.tolist() for k, v in curve.values.items()},
            "chance": {k: v.tolist() for k, v in curve.chance.items()},
            "another class": {k: v.tolist() for k, v in other.values.items()},
        }
        if given.json:
            given.json.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
