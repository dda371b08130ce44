"""The facts that metrics state, and the page made of them."""

import itertools
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from saliscope.errors import OptionError
from saliscope.localization import parse_protocol
from saliscope.metrics import (
    FAMILIES,
    Direction,
    Family,
    Mean,
    Need,
    by_family,
    every_metric,
    facts_of,
    metric_named,
    page_of,
    range_of,
)
from saliscope.metrics.every import _CATALOGS
from saliscope.runs.primary import MAXIMISED, TOP
from saliscope.runs.scoring import MASK_SCORES, Measures, combos_of

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = DOCS / "images" / "metrics"


@pytest.mark.parametrize("name", every_metric())
def test_every_metric_says_what_it_is_and_what_it_cannot_show(name):
    metric = every_metric()[name]
    assert metric.name == name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    for word in ("title", "formula", "paper", "cannot_show", "undefined", "protocol"):
        text = getattr(metric, word)
        assert len(text) >= 4, word
        assert not text.endswith("."), word
        assert "\n" not in text, word
    assert metric.formula.startswith(f"{name} = ")
    assert len(metric.cannot_show.split()) >= 5
    assert metric.family in get_args(Family)
    assert metric.direction in get_args(Direction)
    assert metric.needs
    assert set(metric.needs) <= set(get_args(Need))
    assert len(set(metric.needs)) == len(metric.needs)
    assert metric.bounds[0] < metric.bounds[1]


def test_names_belong_to_one_metric_each():
    names = [name for rows in _CATALOGS for name in rows]
    assert len(names) == len(set(names)) == len(every_metric())


def test_no_two_metrics_share_what_is_theirs():
    for word in ("title", "formula"):
        texts = [getattr(metric, word) for metric in every_metric().values()]
        assert len(texts) == len(set(texts)), word


def test_a_metric_by_its_name():
    assert metric_named("gini") is every_metric()["gini"]
    with pytest.raises(
        OptionError,
        match=r'metric "deletions" is unknown; nearest: "deletion".*`saliscope metrics`',
    ):
        metric_named("deletions")
    with pytest.raises(OptionError, match=r'"Faithfulness" is a family.*--family faithfulness'):
        metric_named("Faithfulness")


@pytest.mark.parametrize("name", every_metric())
def test_a_metric_travels_to_another_process(name):
    metric = every_metric()[name]
    assert pickle.loads(pickle.dumps(metric)) is metric
    assert pickle.loads(pickle.dumps(Mean(metric))).metric is metric


def test_a_metric_of_ones_own_travels_as_it_is():
    own = replace(every_metric()["iou"], name="mine")
    assert pickle.loads(pickle.dumps(own)) == own


def test_what_runs_and_reports_name_is_known():
    measures = Measures((parse_protocol("yang2025"),), pointing=("torchray", "caffe", "square"))
    named = {metric for metric, _ in combos_of(measures, several=True)}
    named |= {*MASK_SCORES, *TOP, *MAXIMISED}
    assert named <= set(every_metric())
    assert {name for name in TOP if every_metric()[name].direction == "lower"} == set(TOP)


def test_facts_are_fit_for_json():
    assert facts_of(metric_named("entropy"))["bounds"] == [0.0, None]
    assert facts_of(metric_named("top-overlap"))["bounds"] == [0.0, 1.0]
    assert facts_of(metric_named("pxap"))["of"] == "set"
    assert range_of(metric_named("road-combined")) == "-0.5 to 0.5"
    assert range_of(metric_named("infidelity")) == "0 and up"


def test_the_page_is_what_the_metrics_say():
    assert (DOCS / "metrics.md").read_text() == page_of(), (
        "write it again: saliscope metrics --markdown > docs/metrics.md"
    )


def test_the_page_has_every_metric_once_and_families_together():
    page = page_of()
    named = [line[5:-1] for line in page.splitlines() if line.startswith("### ")]
    assert named == by_family()
    assert sorted(named) == sorted(every_metric())
    families = [family for family, _ in itertools.groupby(every_metric()[n].family for n in named)]
    assert families == list(FAMILIES)


def test_every_picture_is_there_small_and_shown_once():
    stated = {metric.picture for metric in every_metric().values()} - {""}
    assert {p.stem for p in PICTURES.iterdir()} == stated
    shown = re.findall(r"!\[[^]]*\]\(images/metrics/(.*)\.png\)", page_of())
    assert sorted(shown) == sorted(stated)
    for picture in PICTURES.iterdir():
        data = picture.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n", picture.name
        assert len(data) <= 30_000, picture.name


def test_similarities_are_called_alike_and_not_better():
    entries = page_of().split("\n### ")
    alike = [e for e in entries if "Higher is more alike" in e]
    assert {e.split("`")[1] for e in alike} == {
        "spearman-abs", "spearman", "pearson", "ssim", "hog", "top-overlap",
    }  # fmt: skip
