"""Does a map of one animal fall on that animal? Two critters of different breeds in a picture, each asked for.

    python benchmarks/propagation.py [--count 200] [--methods c-mwp@layer4 ...] [--json FILE]

critternet, whose weights come with saliscope, is asked for the breed of each animal of `critters:variant=pair`. A map
points at the animal asked for where its largest value, in the image, lies on that animal's mask; its mass is there where
the heat on that mask is more than on the other's. Both animals of a picture count as one trial each; intervals are
Wilson's.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

import saliscope as sc
from saliscope.bench import machine
from saliscope.data import open_data
from saliscope.explainer import explain_batch, resolve_specs
from saliscope.methods import parse_method
from saliscope.metrics.pointing import hottest_point
from saliscope.stats import wilson_interval

METHODS = (
    *("c-mwp@layer4", "c-mwp@layer3", "c-mwp@layer2", "mwp@layer4", "mwp@layer3", "mwp@layer2"),
    *("lrp", "lrp:composite=epsilon", "lrp@layer3", "grad-cam@layer4", "random"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="how many pictures")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    data = open_data(f"critters:variant=pair:count={given.count}", "test")
    model = sc.load_model("critternet")
    specs = resolve_specs(model, [parse_method(m) for m in given.methods])
    hits: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for sample in data:
        masks, photo = sample.masks(), sample.photo()
        names = [region.label for region in sample.regions]
        for i, name in enumerate(names):
            own, other = masks[f"{i}/body"], masks[f"{1 - i}/body"] & ~masks[f"{i}/body"]
            (found,) = explain_batch(model, [photo], specs, target=name)
            for written, one in zip(given.methods, found, strict=True):
                heat = np.maximum(one.signed(), 0)
                point = hottest_point(heat)
                hits[written, "maximum"].append(point is not None and bool(own[point[::-1]]))
                hits[written, "mass"].append(bool(heat[own].sum() > heat[other].sum()))
    print(machine())
    rows = []
    for (method, what), values in hits.items():
        rate = wilson_interval(sum(values), len(values))
        rows.append({"method": method, "by": what, "hits": sum(values), "n": len(values), "low": rate.low, "high": rate.high})  # fmt: skip
        print(f"{method:24s} {what:8s} {sum(values):4d} of {len(values):4d}  {rate}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
