"""Do maps change when a network learned nonsense? `python benchmarks/data_randomisation.py FOLDER [METHOD ...]`.

The data randomisation test (Adebayo et al. 2018) on critters of four breeds. Three critternets learn the same pictures from
nothing: two of them the true breeds, from two seeds, one the same labels in another order, by heart. On test critters, the true
breed explained, each method's maps of the first network are compared with those of the one that learned nonsense, and with those of
the one that learned the truth from another seed. A map of what was learned is much less alike in the first comparison than in the second.

Networks are kept in FOLDER and trained once. `--count`, `--epochs` and `--size` set what they learn from, `--tests` on how many critters
maps are compared, `--json FILE` keeps every value. Intervals are at 95 %, over pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import saliscope as sc
from saliscope.data import DataSet, Listing, Sample, open_data
from saliscope.explainer import resolve_specs
from saliscope.methods import parse_method
from saliscope.metrics import ClassExplainer, DataRandomisation, data_randomisation
from saliscope.models import Model, logits_of
from saliscope.stats import mean_interval
from saliscope.training import Recipe, read_recipe, train

BREEDS = (0, 2, 16, 20)  # no part of one is a part of another
METHODS = (
    "grad-cam:relu=false",
    "guided-grad-cam",
    "gradient",
    "input-x-gradient",
    "guided-backprop",
    "edges",
)


@dataclass(frozen=True)
class Relabelled:
    """Samples of some places of a data set, each with a label that it is given."""

    data: DataSet
    places: tuple[int, ...]
    labels: tuple[int, ...]

    def __call__(self, number: int) -> Sample:
        return replace(self.data[self.places[number]], label=self.labels[number])


def four_breeds(split: str, count: int, size: int, *, permuted: bool = False) -> DataSet:
    """The first `count` critters of the four breeds; with `permuted`, their labels in another order."""
    rounds = -(-count // len(BREEDS))
    places = [24 * turn + breed for turn in range(rounds) for breed in BREEDS][:count]
    data = open_data(f"critters:size={size}:count={24 * rounds}", split)
    labels = np.arange(count) % len(BREEDS)
    if permuted:
        labels = np.random.default_rng(0).permutation(labels)
    chosen = tuple(map(int, labels))
    classes = tuple(data.classes[breed] for breed in BREEDS)
    name = "four breeds" + ", permuted" * permuted
    ids = [data.ids[place] for place in places]
    read = Relabelled(data, tuple(places), chosen)
    return Listing(name, split, classes, ids, chosen, read)


def recipe(size: int, epochs: int, seed: int) -> Recipe:
    """To learn by heart: nothing that regularises, the last epoch is kept."""
    return read_recipe(
        "critters", size=size, batch_size=16, epochs=epochs, learning_rate=2e-3, augment="none",
        weight_decay=0.0, label_smoothing=0.0, ema=None, precision="float32", keep="last", workers=0,
        seed=seed,
    )  # fmt: skip


def inputs_of(model: Model, data: DataSet) -> tuple[Tensor, Tensor]:
    """All pictures (n, 3, h, w) and labels (n,) of a data set."""
    return model.inputs([data[i].photo() for i in range(len(data))])[0], torch.tensor(
        list(data.labels)
    )


def accuracy(module: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    """The share of pictures for which the network says the label."""
    with torch.no_grad():
        logits = torch.cat([logits_of(module.eval()(part)) for part in torch.split(pictures, 64)])
    return float((logits.argmax(1) == labels).float().mean())


def explainer(model: Model, method: str) -> ClassExplainer:
    """The method at the layer recommended for the network that learned the truth."""
    spec = resolve_specs(model, [parse_method(method)])[0]

    def explain(net: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
        found = sc.attribute(net, pictures, classes, method=spec)
        assert isinstance(found, Tensor)
        return found

    return explain


def lines(method: str, found: Sequence[tuple[str, DataRandomisation]]) -> str:
    """A row for each comparison, and one for chance."""
    rows = [(title, one.values) for title, one in found]
    rows.append(("another picture", found[0][1].chance))
    return "\n".join(
        f"| `{method}`, {title} | "
        + " | ".join(f"{mean_interval(v)}" for v in values.values())
        + " |"
        for title, values in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--tests", type=int, default=96)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    test = four_breeds("test", given.tests, given.size)
    few = {"val": four_breeds("val", 32, given.size), "test": test}
    models = {}
    for name, permuted, seed in (
        ("true", False, 0),
        ("permuted", True, 0),
        ("other seed", False, 1),
    ):
        learned = four_breeds("train", given.count, given.size, permuted=permuted)
        settings = recipe(given.size, given.epochs, seed)
        train("critternet", {"train": learned, **few}, settings, given.folder / name, say=print)
        models[name] = model = sc.load_model(str(given.folder / name), device="cpu")
        right = [accuracy(model.module, *inputs_of(model, d)) for d in (learned, test)]
        print(f"{name}: {right[0]:.3f} of its training pictures, {right[1]:.3f} of {given.tests} test pictures", flush=True)  # fmt: skip
    pictures, labels = inputs_of(models["true"], test)
    kept = {}
    print("\n| maps of the network that learned the truth, and of | " + " | ".join(("ranks of \\|M\\|", "ranks of M", "SSIM", "HOG")) + " |\n" + "|---" * 5 + "|")  # fmt: skip
    for method in given.methods:
        explain = explainer(models["true"], method)
        found = [
            (title, data_randomisation(
                explain, models["true"].module, models[name].module, pictures, classes=labels
            ))
            for title, name in (("permuted labels", "permuted"), ("another seed", "other seed"))
        ]  # fmt: skip
        print(lines(method, found), flush=True)
        kept[method] = {t: {k: v.tolist() for k, v in f.values.items()} for t, f in found}
        if given.json:
            given.json.write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
