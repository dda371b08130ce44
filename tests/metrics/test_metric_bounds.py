"""Every metric keeps within the bounds that it states, or is undefined, whatever it is given."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from saliscope.boxes import Box
from saliscope.metrics import Mean, average_ranks, box_region, every_metric

ROUNDS = 40
SIZE = (48, 50)


def heat(random, size=SIZE):
    """A signed map, one of a ReLU, one with many equals, a sharp one, one of a box, or an even one."""
    values = random.normal(size=size) * 10.0 ** random.integers(-6, 6)
    kinds = (
        values,
        np.maximum(values, 0),
        np.round(random.random(size), 1),
        np.where(random.random(size) < 0.01, values, 0.0),
        box_region([box(random)], size).astype(float),
        np.full(size, 0.5),
    )
    return kinds[random.integers(len(kinds))]


def mask(random, size=SIZE):
    return random.random(size) < random.choice([0.0, 0.02, 0.5, 0.98])


def box(random):
    x, y = (np.sort(random.choice([0, 10.5, 30, 48], 2, replace=False)) for _ in range(2))
    return Box(x[0], y[0], x[1], y[1])


def boxes(random):
    return [box(random) for _ in range(random.integers(0, 3))]


def guesses(random):
    return [(int(random.integers(3)), box(random)) for _ in range(5)]


def curve(random):
    return random.random(random.integers(1, 12)).tolist()


def answers(random):
    return random.choice([0.0, 1e-9, 0.5, 1.0, random.random()], 2).tolist()


def explain(pictures):
    rolled = pictures.roll(1, 3)
    return (pictures[:, 0] * rolled[:, 1] - pictures[:, 2]).abs() - 0.1


def picture(random):
    return torch.from_numpy(random.random((3, 16, 20)))


def with_class(net, pictures, classes):
    return net.conv(pictures)[torch.arange(len(pictures)), classes]


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1).double()

    def forward(self, x):
        return self.conv(x).mean((2, 3))


def images(random, key, make):
    """A set of images for an accumulator; `key` is what it calls the annotation."""
    return [{"heat": heat(random), key: make(random)} for _ in range(random.integers(0, 3))]


def seeds_by_methods(random):
    return random.random((random.integers(1, 4), random.integers(1, 5)))


def whole(random, shape, low=0):
    return random.integers(low, 5, shape).astype(float)


MAPS = ("gini", "entropy", "normalised-entropy", "effective-area", "heat-area-50", "heat-area-90", "mean-heat")  # fmt: skip
PAIRS = ("spearman-abs", "spearman", "pearson", "ssim", "hog", "top-overlap", "coherency", "occlusion-rank")  # fmt: skip
IN_MASKS = (
    "relevance-mass", "mask-enrichment", "relevance-rank", "pixel-ap", "inside-outside",
    "cue-heat", "cue-enrichment", "pointing-mask",
)  # fmt: skip
IN_BOXES = ("energy", "enrichment", "box-coverage", "pointing")
CURVES = ("deletion", "insertion", "deletion-lerf", "road-morf", "road-lerf")
BEFORE_AFTER = ("average-drop", "increase", "gain", "absolute-drop", "win")
STAY = ("max-sensitivity", "average-sensitivity", "flip-consistency", "jpeg-consistency")

GIVEN = {
    **dict.fromkeys(MAPS, lambda r: (heat(r),)),
    **dict.fromkeys(PAIRS, lambda r: (heat(r), heat(r))),
    **dict.fromkeys(IN_MASKS, lambda r: (heat(r), mask(r))),
    **dict.fromkeys(IN_BOXES, lambda r: (heat(r), boxes(r))),
    **dict.fromkeys(("iou", "union-iou", "gt-known"), lambda r: (box(r), boxes(r))),
    **dict.fromkeys(("twin-share", "twin-enrichment"), lambda r: (heat(r), heat(r), mask(r))),
    **dict.fromkeys(CURVES, lambda r: (curve(r),)),
    **dict.fromkeys(BEFORE_AFTER, answers),
    **dict.fromkeys(STAY, lambda r: (explain, picture(r))),
    **dict.fromkeys(("top-1", "top-5"), lambda r: (guesses(r), int(r.integers(3)), boxes(r))),
    **dict.fromkeys(("class-error-1", "class-error-5"), lambda r: (guesses(r), int(r.integers(3)))),
    **dict.fromkeys(("max-box-acc", "max-box-acc-v2"), lambda r: (images(r, "truth", boxes),)),
    **dict.fromkeys(
        ("separation", "separation-auroc"), lambda r: (whole(r, 3), whole(r, 3), "higher")
    ),
    "no-box": lambda r: (box(r) if r.random() < 0.5 else None,),
    "contrastivity": lambda r: (mask(r), mask(r)),
    "pxap": lambda r: (images(r, "mask", mask),),
    "pointing-game": lambda r: ([i | {"label": int(r.integers(3))} for i in images(r, "truth", boxes)],),
    "adcc": lambda r: (*answers(r), r.random()),
    "road-combined": lambda r: tuple(r.random((2, 5)).tolist()),
    "infidelity": lambda r: (r.normal(size=9), r.normal(size=9)),
    "shift-consistency": lambda r: (explain, picture(r), (4, -5)),
    "random-logit": lambda r: (with_class, Small(), picture(r)),
    "data-randomisation": lambda r: (with_class, Small(), Small(), picture(r)),
    "lasting": lambda r: (r.uniform(-1, 1, (4, 2, 3)), r.uniform(-1, 1, 3)),
    "alpha": lambda r: (average_ranks(whole(r, (int(r.integers(2, 5)), int(r.integers(1, 6))))),),
    "seed-noise": lambda r: (seeds_by_methods(r),),
}  # fmt: skip


def test_every_metric_is_given_something():
    assert set(GIVEN) == set(every_metric())


@pytest.mark.parametrize("name", every_metric())
def test_bounds_hold(name):
    metric, random = every_metric()[name], np.random.default_rng(7)
    values = [float(metric(*GIVEN[name](random))) for _ in range(ROUNDS)]
    defined = [value for value in values if not math.isnan(value)]
    assert len(set(defined)) >= 2
    low, high = metric.bounds
    for value in defined:
        assert low - 1e-12 <= value <= high + 1e-12


@pytest.mark.parametrize("name", [n for n, m in every_metric().items() if m.of == "image"])
def test_a_mean_carries_the_facts_beside_its_number(name):
    metric, random = every_metric()[name], np.random.default_rng(3)
    mean, values = Mean(metric), []
    for _ in range(4):
        arguments = GIVEN[name](random)
        values.append(float(metric(*arguments)))
        mean.update(*arguments)
    assert (mean.direction, mean.bounds, mean.protocol) == (
        metric.direction, metric.bounds, metric.protocol,
    )  # fmt: skip
    assert mean.compute().undefined == sum(map(math.isnan, values))


@pytest.mark.parametrize("name", [*MAPS, *PAIRS])
def test_a_constant_map_says_nothing_or_is_even(name):
    """What reads differences is undefined; what reads how even a map is finds it as even as can be."""
    even = np.full(SIZE, 0.5)
    count = 2 if name in PAIRS else 1
    value = every_metric()[name](*[even] * count)
    known = {"gini": 0.0, "entropy": math.log(even.size), "normalised-entropy": 1.0}
    known |= {"effective-area": 1.0, "heat-area-50": 0.5, "heat-area-90": 0.9}
    assert value == pytest.approx(known.get(name, math.nan), abs=1e-12, nan_ok=True)
