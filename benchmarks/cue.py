"""How much of a map lies on a planted tag, and from which rho on is it flagged? `python benchmarks/cue.py [RHO ...]`.

For each rho (0 .25 .5 .75 .9 1) a network that can see both the animal and the tag decides how far to trust either: the feature maps of critternet,
which never saw a tag, and of critternet-cue, which learned nothing else, side by side, then pooling and one linear layer. That layer is
trained on critters with a tag in a corner that shows the breed with probability rho, else any breed's (multinomial regression to
convergence, weight decay). With `--whole FOLDER` it is a critternet instead that learns all of it from nothing, on such critters, by the
recipe `critters` with `--epochs`; it is kept in FOLDER and trained once. On test critters it is measured

* how often the breed is named rightly where the tag shows the animal's own breed, and where the same tag is painted over with that of
  another breed: the fall is what the network owes to the tag; and how often it then names the tag's breed;
* `cue-heat` and `cue-enrichment` of each method's map of the predicted class, with the tag of the own breed. A method flags the tag
  where the mean enrichment is above 1 with its whole interval, 95 % over pictures.

`--count` pictures are learned from (720; 6,000 by whole networks), `--tests` measured; `--json FILE` keeps every value.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import saliscope as sc
from saliscope.data import open_data
from saliscope.data.critters.breeds import BREEDS
from saliscope.data.critters.tag import Tag, paint_tag, tag_mask
from saliscope.explainer import explain_batch, resolve_specs
from saliscope.images import Photo
from saliscope.methods import parse_method
from saliscope.metrics import cue_enrichment, cue_heat
from saliscope.models import Model, logits_of
from saliscope.models.critternet import CritterNet
from saliscope.stats import mean_interval
from saliscope.training import read_recipe, train

RHOS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
METHODS = ("guided-backprop", "guided-grad-cam", "input-x-gradient", "centre", "edges")
OF_HALVES = ("grad-cam", "grad-cam@animal.layer3+tag.layer3", *METHODS)
OF_WHOLE = ("grad-cam", "grad-cam@layer3", *METHODS)
BATCH = 12
DECAY = 1e-3


class Both(nn.Module):
    """Two trunks side by side, pooling, and one linear layer that decides how far to trust either."""

    def __init__(self, animal: CritterNet, tag: CritterNet) -> None:
        super().__init__()
        self.animal, self.tag = animal, tag
        self.together = nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * animal.fc.in_features, len(BREEDS))

    def features(self, x: Tensor) -> Tensor:
        maps = [n.layer4(n.layer3(n.layer2(n.layer1(n.stem(x))))) for n in (self.animal, self.tag)]
        return self.pool(self.together(torch.cat(maps, 1))).flatten(1)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Critters twice, with the tag of their own breed and with another's, which only differ there: breeds, codes, masks."""

    own: Sequence[Photo]
    other: Sequence[Photo]
    breeds: Tensor
    codes: Tensor
    masks: Sequence[NDArray[np.bool_]]


def draw(split: str, count: int, *, any_tag: bool) -> Pictures:
    """The first critters of a split. The other tag is what the data draws, which may be the own one, or surely another."""
    data: Any = open_data(f"critters:variant=cue:rho=0:count={count}", split)
    found: list[tuple[Photo, Photo, int, int, NDArray[np.bool_]]] = []
    for number in range(count):
        breed, tag = number % len(BREEDS), data.scene(number).tag
        code = tag.code
        if not any_tag:
            code = (breed + 1 + code % (len(BREEDS) - 1)) % len(BREEDS)
        pixels = data[number].photo().pixels
        photos = [painted(pixels, replace(tag, code=c)) for c in (breed, code)]
        found.append((photos[0], photos[1], breed, code, tag_mask(tag, pixels.shape[:2])))
    own, other, breeds, codes, masks = zip(*found, strict=True)
    return Pictures(own, other, torch.tensor(breeds), torch.tensor(codes), masks)


def painted(pixels: NDArray[np.uint8], tag: Tag) -> Photo:
    """A picture with the tag painted over the one it has."""
    copy = pixels.copy()
    paint_tag(copy, tag)
    return Photo(copy)


def features(model: Model, photos: Sequence[Photo]) -> Tensor:
    """What the last layer is given of each picture (n, C)."""
    net = model.module
    assert isinstance(net, Both)
    return in_parts(model, photos, net.eval().features)


def in_parts(model: Model, photos: Sequence[Photo], function: Callable[[Tensor], Tensor]) -> Tensor:
    """What a function of inputs gives for each picture (n, ...), on the CPU."""
    with torch.no_grad():
        parts = [photos[at : at + BATCH] for at in range(0, len(photos), BATCH)]
        return torch.cat([function(model.inputs(part)[0]).cpu() for part in parts])


def fit(given: Tensor, labels: Tensor, layer: nn.Linear) -> float:
    """Multinomial regression on standardised features, by L-BFGS, into a layer; its accuracy on what it learned from."""
    mean, spread = given.mean(0), given.std(0).clamp(min=1e-6)
    scaled = (given - mean) / spread
    weight = torch.zeros(layer.out_features, layer.in_features, requires_grad=True)
    bias = torch.zeros(layer.out_features, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        found = F.cross_entropy(F.linear(scaled, weight, bias), labels)
        found = found + DECAY * weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        layer.weight.copy_(weight / spread)
        layer.bias.copy_(bias - (weight * mean / spread).sum(1))
        return float((layer(given).argmax(1) == labels).float().mean())


def on_the_tag(model: Model, pictures: Pictures, methods: Sequence[str]) -> dict[str, Any]:
    """`cue-heat` and `cue-enrichment` of every method's map of the predicted class, own tag, picture by picture."""
    specs = resolve_specs(model, [parse_method(m) for m in methods])
    found: dict[str, Any] = {m: {"heat": [], "enrichment": []} for m in methods}
    for at in range(0, len(pictures.own), BATCH):
        explained = explain_batch(model, pictures.own[at : at + BATCH], specs)
        for explanations, tag in zip(explained, pictures.masks[at : at + BATCH], strict=True):
            for name, explanation in zip(methods, explanations, strict=True):
                heat = explanation.signed()
                found[name]["heat"].append(cue_heat(heat, tag))
                found[name]["enrichment"].append(cue_enrichment(heat, tag))
    return found


def answers(found: Mapping[float, Mapping[str, Any]]) -> str:
    """How each network answers, and what it owes to the tag."""
    lines = [
        "| rho | right, own tag | right, another's tag | fall | names the tag's breed |",
        "|---" * 5 + "|",
    ]
    for rho, row in found.items():
        own, other, follows = (np.array(row[k], float) for k in ("own", "other", "follows"))
        cells = (own, other, own - other, follows)
        lines.append(f"| {rho:g} | " + " | ".join(f"{mean_interval(c)}" for c in cells) + " |")
    return "\n".join(lines)


def heats(found: Mapping[float, Mapping[str, Any]], methods: Sequence[str]) -> str:
    """The mean enrichment on the tag with its interval, in bold where it flags the tag; the mean share of heat behind it."""
    lines = ["| rho | " + " | ".join(f"`{m}`" for m in methods) + " |"]
    lines.append("|---" * (len(methods) + 1) + "|")
    for rho, row in found.items():
        cells = []
        for method in methods:
            ratio = mean_interval(row["methods"][method]["enrichment"])
            heat = mean_interval(row["methods"][method]["heat"]).estimate
            text = f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
            cells.append(f"**{text}** ({heat:.3f})" if ratio.low > 1 else f"{text} ({heat:.3f})")
        lines.append(f"| {rho:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def halves(given: argparse.Namespace) -> Iterator[tuple[float, Model, str]]:
    """For each rho the two networks side by side, their last layer fitted to it, and how well."""
    seen = sc.load_model("critternet", device="cpu")
    trunks = [seen.module, sc.load_model("critternet-cue", device="cpu").module]
    assert all(isinstance(t, CritterNet) for t in trunks)
    model = Model(Both(*trunks), preprocessing=seen.preprocessing)  # type: ignore[arg-type]
    count = given.count
    learned = draw("train", count, any_tag=True)
    own_tag, other_tag = features(model, learned.own), features(model, learned.other)
    layer = model.module.fc
    assert isinstance(layer, nn.Linear)
    for rho in given.rhos:
        data: Any = open_data(f"critters:variant=cue:rho={rho}:count={count}", "train")
        tells = torch.tensor([data.scene(i).tag.code == i % len(BREEDS) for i in range(count)])
        accuracy = fit(torch.where(tells[:, None], own_tag, other_tag), learned.breeds, layer)
        model.refresh()
        tell = f"{tells.float().mean():.3f} of {count} pictures"
        yield rho, model, f"the tag tells in {tell}, {accuracy:.3f} are learned"


def whole(given: argparse.Namespace) -> Iterator[tuple[float, Model, str]]:
    """For each rho a critternet that learned it from nothing."""
    recipe = read_recipe("critters", epochs=given.epochs)
    for rho in given.rhos:
        kind = f"critters:variant=cue:rho={rho}"
        data = {
            "train": open_data(f"{kind}:count={given.count}", "train"),
            "val": open_data(f"{kind}:count=480", "val"),
            "test": open_data(f"{kind}:count=480", "test"),
        }
        folder = given.whole / f"rho-{rho:g}"
        right = train("critternet", data, recipe, folder, say=print).scores["test_accuracy"]
        yield rho, sc.load_model(str(folder)), f"{right:.3f} of 480 where the tag means nothing"


def measured(model: Model, tests: Pictures, methods: Sequence[str]) -> dict[str, Any]:
    """How a network answers, and where its maps are."""
    net = model.module.to(model.device).eval()
    own, other = (
        in_parts(model, photos, lambda x: logits_of(net(x)).argmax(1))
        for photos in (tests.own, tests.other)
    )
    return {
        "own": (own == tests.breeds).tolist(),
        "other": (other == tests.breeds).tolist(),
        "follows": (other == tests.codes).tolist(),
        "methods": on_the_tag(model, tests, methods),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rhos", nargs="*", type=float, default=RHOS)
    parser.add_argument("--whole", type=Path)
    parser.add_argument("--count", type=int)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--tests", type=int, default=72)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.count is None:
        given.count = 6000 if given.whole else 720
    methods = given.methods or (OF_WHOLE if given.whole else OF_HALVES)
    tests = draw("test", given.tests, any_tag=False)
    found: dict[float, dict[str, Any]] = {}
    for rho, model, note in whole(given) if given.whole else halves(given):
        found[rho] = measured(model, tests, methods)
        print(f"rho {rho:g}: {note}", flush=True)
        if given.json:
            given.json.write_text(json.dumps(found))
    share = np.mean([mask.mean() for mask in tests.masks])
    print(f"\n{given.tests} test critters; the tag covers {share:.3f} of a picture\n")
    print(answers(found), "", heats(found, methods), sep="\n")


if __name__ == "__main__":
    main()
