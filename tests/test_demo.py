"""The demonstration measures what it says, and writes pictures of it."""

import csv
import math

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box, iou
from saliscope.data import open_data
from saliscope.demo import METHODS, run_demo


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, steps = tmp_path_factory.mktemp("demo") / "new" / "folder", []
    return run_demo(folder, count=24, step=steps.append), folder, steps


def test_every_row_has_every_score_with_an_interval(made):
    found, _, steps = made
    assert [row.method for row in found.rows] == [*METHODS, "whole image"]
    assert steps == list(range(1, 25))
    for row in found.rows:
        for interval in row.scores.values():
            assert interval.n == 24
            assert 0 <= interval.low <= interval.estimate <= interval.high <= 1


def test_the_row_of_the_whole_image_is_arithmetic(made):
    (row,) = (r for r in made[0].rows if r.method == "whole image")
    samples = [open_data("critters", "test")[i] for i in range(24)]
    overlap = [iou(Box(0, 0, 160, 160), s.regions[0].box) for s in samples]
    evidence = [s.masks()["evidence"].mean() for s in samples]
    assert row.scores["cam2016"].estimate == pytest.approx(np.mean(overlap))
    assert row.scores["yang2025"].estimate == pytest.approx(np.mean(overlap))
    assert row.scores["evidence"].estimate == pytest.approx(np.mean(evidence))


def test_true_maps_find_more_than_empty_ones(made):
    scores = {row.method: row.scores for row in made[0].rows}
    assert made[0].accuracy > 0.9
    for region in ("body", "evidence"):
        assert scores["cam"][region].low > scores["random"][region].high
        assert scores["cam"][region].low > scores["whole image"][region].high
    # On pooling and one linear layer CAM is last-layer Grad-CAM but for the ReLU, which comes before it is enlarged: beside
    # cells below zero the two differ a little.
    for region in ("body", "evidence"):
        assert scores["cam"][region].estimate == pytest.approx(
            scores["grad-cam@layer4"][region].estimate, abs=0.005
        )


def test_the_planted_tag_is_caught(made):
    honest, cheating = made[0].tag_heat
    assert cheating.low > 3 * honest.high
    assert made[0].tag_fooled > 0.5


def test_everything_lies_where_it_was_asked_for(made):
    found, folder, _ = made
    names = [
        "table.csv",
        "comparison-1.png",
        "comparison-2.png",
        "comparison-3.png",
        "best_and_worst.png",
        "planted_tag.png",
    ]
    assert sorted(names) == sorted(p.name for p in folder.iterdir())
    assert [p.name for p in found.files] == names
    for file in found.files[1:]:
        with Image.open(file) as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 20
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    first = found.rows[0].scores["body"]
    assert float(rows[0]["body mean"]) == pytest.approx(first.estimate, abs=1e-6)
    assert rows[0]["method"] == "cam"
    assert not math.isnan(float(rows[-1]["evidence high"]))
