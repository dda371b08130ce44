"""Does a map know which of two animals it was asked about? `python benchmarks/pairs.py [COUNT] [METHOD ...]`.

Critters in pairs, critternet, each image asked for both breeds. A map is right where its positive heat has a larger mean
on the asked animal than on the other ("heat"), and where its maximum over both bodies lies on the asked one ("points").
The maximum is the first in raster order: chance, and a map that does not change with the class, are right one time in
two. Only images in which the network has both breeds among its best two classes count; the other line is over all.
Intervals are over images. A method that does not apply says so.
"""

import sys
import time

import numpy as np
import torch

from saliscope import load_model
from saliscope.data import Sample, open_data
from saliscope.engine import OwnClasses
from saliscope.errors import LayerError, MethodError
from saliscope.explainer import explain_batch, resolve_specs
from saliscope.methods import METHODS, by_family, parse_method
from saliscope.stats import mean_interval

BATCH = 10


def right(heat: np.ndarray, own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Whether the positive heat, and the maximum, are on the asked animal: 1, 0, or 0.5 where nothing tells."""
    here, there = np.clip(heat[own], 0, None).mean(), np.clip(heat[other], 0, None).mean()
    inside = np.where(own | other, heat, -np.inf)
    best = np.unravel_index(inside.argmax(), inside.shape)
    return 0.5 if here == there else float(here > there), float(own[best])


def bodies(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    masks = sample.masks()
    both = masks["0/body"] & masks["1/body"]
    return masks["0/body"] & ~both, masks["1/body"] & ~both


def main() -> None:
    words = sys.argv[1:]
    count = int(words.pop(0)) if words and words[0].isdigit() else 100
    model = load_model("critternet")
    data = open_data(f"critters:variant=pair:count={count}", "test")
    samples = [data[i] for i in range(count)]
    photos = [s.photo() for s in samples]
    classes = [tuple(data.classes.index(r.label) for r in s.regions) for s in samples]
    masks = [bodies(s) for s in samples]
    seen = []
    for at in range(0, count, BATCH):
        logits = torch.from_numpy(
            np.stack([model.preprocessing(p.pixels)[0] for p in photos[at : at + BATCH]])
        )
        best = model.network().capture(logits, [], gradients=False).logits.topk(2).indices.tolist()
        seen += [set(b) == set(c) for b, c in zip(best, classes[at : at + BATCH], strict=True)]
    print(f"{count} pairs; both breeds are the best two classes in {sum(seen)}")
    print(
        "| method | per class | heat, both seen | points, both seen | heat, all | points, all | s an image |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in words or by_family():
        try:
            specs = resolve_specs(model, [parse_method(name)])
            start = time.perf_counter()
            found = []
            for at in range(0, count, BATCH):
                own = OwnClasses(tuple(classes[at : at + BATCH]))
                found += explain_batch(model, photos[at : at + BATCH], specs, target=own)
        except (MethodError, LayerError) as err:
            print(f"| `{name}` | does not apply: {str(err)[:80]} |")
            continue
        seconds = (time.perf_counter() - start) / count
        scores = np.array(
            [
                np.mean([right(e.signed(), m[k], m[1 - k]) for k, e in enumerate(pair)], 0)
                for pair, m in zip(found, masks, strict=True)
            ]
        )
        cells = [
            mean_interval(scores[rows, c])
            for rows in (np.array(seen), np.ones(count, bool))
            for c in (0, 1)
        ]
        kind = METHODS[name.partition("@")[0].partition(":")[0]]
        print(
            f"| `{name}` | {'yes' if kind.class_discriminative else 'no'} | "
            + " | ".join(f"{c}" for c in cells)
            + f" | {seconds:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
