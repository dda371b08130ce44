"""How much of a map lies on a planted tag, and from which rho on is it flagged? `python benchmarks/cue.py FOLDER [RHO ...]`.

A network for each rho (0 .25 .5 .75 .9 1): critternet, which knows the breeds on pictures of 160 pixels and never saw a tag, trained further on
smaller critters with a tag in a corner that shows the breed with probability rho, else any breed's. Networks are kept in FOLDER and trained
once. On test critters, on which the tag means nothing, it is measured

* how often the breed is named rightly where the tag shows the animal's own breed, and where the same tag is painted over with that of
  another breed: the fall is what the network owes to the tag;
* how often it then names the tag's breed;
* `cue-heat` and `cue-enrichment` of each method's map of the predicted class, the tag of another breed in place. A method flags the tag
  where the mean enrichment is above 1 with its whole interval, 95 % over pictures.

`--count`, `--epochs` and `--size` set what a network learns from, `--tests` how many pictures are measured, `--json FILE`
keeps every value.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import saliscope as sc
from saliscope.data import DataSet, open_data
from saliscope.data.critters.breeds import BREEDS
from saliscope.data.critters.tag import paint_tag, tag_mask
from saliscope.explainer import explain_batch, resolve_specs
from saliscope.images import Photo
from saliscope.methods import parse_method
from saliscope.metrics import cue_enrichment, cue_heat
from saliscope.models import Model
from saliscope.stats import mean_interval
from saliscope.training import Recipe, read_recipe, train

RHOS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
METHODS = (
    "grad-cam",
    "grad-cam@layer3",
    "guided-backprop",
    "input-x-gradient",
    "occlusion",
    "centre",
    "edges",
)
BATCH = 16


def recipe(size: int, epochs: int) -> Recipe:
    """That of critternet with half its steps, from its weights: no averaging, the last epoch is kept."""
    return read_recipe(
        "critters", weights="pretrained", size=size, batch_size=32, epochs=epochs, warmup_epochs=0.5,
        learning_rate=2e-3, ema=None, precision="float32", keep="last", workers=0,
    )  # fmt: skip


def splits(rho: float, size: int, count: int) -> dict[str, DataSet]:
    """Pictures to learn from; few to validate with, since the last epoch is kept."""
    spec = f"critters:variant=cue:size={size}"
    return {
        "train": open_data(f"{spec}:rho={rho}:count={count}", "train"),
        "val": open_data(f"{spec}:rho={rho}:count=96", "val"),
        "test": open_data(f"{spec}:count=240", "test"),
    }


@dataclass(frozen=True, eq=False)
class Pictures:
    """Test critters with the tag of their own breed, and the same with another's: photographs, breeds, the latter's codes, masks."""

    own: Sequence[Photo]
    other: Sequence[Photo]
    breeds: NDArray[np.int64]
    codes: NDArray[np.int64]
    tags: Sequence[NDArray[np.bool_]]


def test_pictures(size: int, count: int) -> Pictures:
    """The first `count` test critters, twice: only the pixels of the tag differ."""
    data: Any = open_data(f"critters:variant=cue:size={size}:count={count}", "test")
    own: list[Photo] = []
    other: list[Photo] = []
    breeds, codes, tags = [], [], []
    for number in range(count):
        breed, tag = number % len(BREEDS), data.scene(number).tag
        code = (breed + 1 + tag.code % (len(BREEDS) - 1)) % len(BREEDS)  # any but its own
        pixels = data[number].photo().pixels
        for kept, shown in ((own, breed), (other, code)):
            painted = pixels.copy()
            paint_tag(painted, replace(tag, code=shown))
            kept.append(Photo(painted))
        breeds.append(breed)
        codes.append(code)
        tags.append(tag_mask(tag, (size, size)))
    return Pictures(own, other, np.array(breeds), np.array(codes), tags)


def predicted(model: Model, photos: Sequence[Photo]) -> NDArray[np.int64]:
    """The class with the largest logit of each picture."""
    found = []
    for at in range(0, len(photos), BATCH):
        inputs, _ = model.inputs(photos[at : at + BATCH])
        found.append(model.network().capture(inputs, [], gradients=False).logits.argmax(1))
    return torch.cat(found).numpy()


def tag_scores(model: Model, pictures: Pictures, method: str) -> dict[str, list[float]]:
    """`cue-heat` and `cue-enrichment` of the map of the predicted class, for each picture with another breed's tag."""
    specs = resolve_specs(model, [parse_method(method)])
    found: dict[str, list[float]] = {"heat": [], "enrichment": []}
    for at in range(0, len(pictures.other), BATCH):
        explained = explain_batch(model, pictures.other[at : at + BATCH], specs)
        for (explanation,), tag in zip(explained, pictures.tags[at : at + BATCH], strict=True):
            heat = explanation.signed()
            found["heat"].append(cue_heat(heat, tag))
            found["enrichment"].append(cue_enrichment(heat, tag))
    return found


def measured(model: Model, pictures: Pictures, methods: Sequence[str]) -> dict[str, Any]:
    """All that is known of one network."""
    own, other = predicted(model, pictures.own), predicted(model, pictures.other)
    return {
        "right": (own == pictures.breeds).tolist(),
        "right with another tag": (other == pictures.breeds).tolist(),
        "follows the tag": (other == pictures.codes).tolist(),
        "methods": {name: tag_scores(model, pictures, name) for name in methods},
    }


def accuracies(found: Mapping[float, Mapping[str, Any]]) -> str:
    """How each network answers, and what it owes to the tag."""
    lines = [
        "| rho | right, own tag | right, another's tag | fall | names the tag's breed |",
        "|" + "---|" * 5,
    ]
    for rho, row in found.items():
        right, changed = (np.array(row[k], float) for k in ("right", "right with another tag"))
        cells = (right, changed, right - changed, np.array(row["follows the tag"], float))
        lines.append(f"| {rho:g} | " + " | ".join(f"{mean_interval(c)}" for c in cells) + " |")
    return "\n".join(lines)


def on_the_tag(found: Mapping[float, Mapping[str, Any]], methods: Sequence[str]) -> str:
    """The mean enrichment on the tag with its interval, in bold where it flags the tag; the share of heat behind it."""
    lines = [
        "| rho | " + " | ".join(f"`{m}`" for m in methods) + " |",
        "|---" * (len(methods) + 1) + "|",
    ]
    for rho, row in found.items():
        cells = []
        for method in methods:
            ratio = mean_interval(row["methods"][method]["enrichment"])
            heat = mean_interval(row["methods"][method]["heat"]).estimate
            text = f"**{ratio}**" if ratio.low > 1 else f"{ratio}"
            cells.append(f"{text} ({heat:.3f})")
        lines.append(f"| {rho:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("rhos", nargs="*", type=float, default=RHOS)
    parser.add_argument("--count", type=int, default=1920)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--tests", type=int, default=144)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pictures = test_pictures(given.size, given.tests)
    found: dict[float, dict[str, Any]] = {}
    for rho in given.rhos:
        folder = given.folder / f"rho-{rho:g}"
        data = splits(rho, given.size, given.count)
        train("critternet", data, recipe(given.size, given.epochs), folder, say=print)
        found[rho] = measured(sc.load_model(str(folder)), pictures, given.methods)
        print(
            accuracies({rho: found[rho]}),
            on_the_tag({rho: found[rho]}, given.methods),
            sep="\n",
            flush=True,
        )
        if given.json:
            given.json.write_text(json.dumps(found))
    found = dict(sorted(found.items()))
    share = np.mean([tag.mean() for tag in pictures.tags])
    print(f"\n{given.tests} test critters; the tag covers {share:.3f} of a picture\n")
    print(accuracies(found), "", on_the_tag(found, given.methods), sep="\n")


if __name__ == "__main__":
    main()
