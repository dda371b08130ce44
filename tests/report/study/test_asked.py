import numpy as np
import polars as pl

import asked_runs
from saliscope.metrics import METRICS, every_metric
from saliscope.metrics.faithfulness import FAITHFULNESS
from saliscope.report.study.asked import asked_combos, costs_of, removal_of, seed_scores
from saliscope.report.study.endpoint import better_of, bounds_of, heading_of, marked_better
from saliscope.report.study.grid import grid_of
from saliscope.report.study.metric_facts import metric_note
from saliscope.report.study.together import study_of

CAM, GRAD = "cam", "grad-cam@layer4"


def test_scores_are_means_over_the_seeds_that_are_defined(make_run):
    run = make_run(n=4)
    seeds = [[0.1, np.nan, np.nan, 1.0], [0.3, 0.5, np.nan, 0.0], [0.2, 0.7, np.nan, 0.5]]
    asked_runs.put_answers(run, {(CAM, "deletion", "saliscope"): seeds, (GRAD, "win", "reference"): [0, 1, 1, 0]})  # fmt: skip
    study = study_of([run], replicates=100)
    np.testing.assert_allclose(study.values("deletion", "saliscope")[CAM], [0.2, 0.6, np.nan, 0.5])
    np.testing.assert_array_equal(study.values("win", "reference")[GRAD], [0, 1, 1, 0])
    assert GRAD not in study.values("deletion", "saliscope")
    assert asked_combos(study) == {("deletion", "saliscope"), ("win", "reference")}
    assert ("deletion", "saliscope") in study.combos


def test_answers_of_another_split_are_not_of_the_report(make_run):
    run = make_run(n=4)
    asked_runs.put_answers(run, {(CAM, "deletion", "saliscope"): [0.1, 0.2, 0.3, 0.4]})
    run.answers = run.answers.with_columns(split=pl.lit("val"))
    assert study_of([run], replicates=100).values("deletion", "saliscope") == {}


def test_a_run_that_asked_nothing_has_no_answers(make_run):
    study = study_of([make_run(n=4)], replicates=100)
    assert asked_combos(study) == frozenset()
    assert removal_of(study) == ()
    assert costs_of(study) == {}
    assert seed_scores(study, ("deletion", "saliscope")) is None


def test_removal_curves_lie_in_the_rows_of_the_study(make_run):
    run = make_run(n=3)
    steps = [0.0, 0.5, 1.0]
    scores = [[0.9, 0.5, 0.1], [0.8, 0.4, 0.0], [0.7, 0.2, 0.1]]
    asked_runs.put_removal(run, {(CAM, "deletion"): (steps, scores), (GRAD, "road-morf"): ([0.1, 0.9], np.ones((3, 2)))})  # fmt: skip
    run.removal = run.removal.filter((pl.col("spec") != CAM) | (pl.col("index") != 1)).sort("index", descending=True)  # fmt: skip
    found = {one.kind: one for one in removal_of(study_of([run], replicates=100))}
    np.testing.assert_allclose(found["deletion"].fractions, steps)
    np.testing.assert_allclose(found["deletion"].scores[CAM], [scores[0], [np.nan] * 3, scores[2]], atol=1e-7)  # fmt: skip
    assert list(found["road-morf"].scores) == [GRAD]


def test_curves_over_other_fractions_are_other_questions(make_run):
    run = make_run(n=2)
    curves = {(CAM, "deletion"): ([0.0, 1.0], np.ones((2, 2))), (GRAD, "deletion"): ([0.0, 0.9], np.ones((2, 2)))}  # fmt: skip
    asked_runs.put_removal(run, curves)
    (one,) = removal_of(study_of([run], replicates=100))
    assert list(one.scores) == [CAM]


def test_seeds_are_compared_on_the_images_that_all_have(make_run):
    run = make_run(n=3)
    asked_runs.put_answers(run, {
        (CAM, "infidelity", "squares"): [[1.0, 2.0, 3.0], [2.0, 9.0, np.nan]],
        (GRAD, "infidelity", "squares"): [[5.0, 7.0, 1.0], [6.0, 8.0, 1.0]],
        ("random", "infidelity", "squares"): [[50.0, 70.0, 1.0], [6.0, 8.0, 1.0]],
    })  # fmt: skip
    found = seed_scores(study_of([run], replicates=100), ("infidelity", "squares"))
    np.testing.assert_allclose(found, [[1.5, 6.0], [5.5, 7.0]])


def test_one_seed_says_nothing_of_noise(make_run):
    run = make_run(n=3)
    asked_runs.put_answers(run, {(CAM, "deletion", "saliscope"): [0.1, 0.2, 0.3]})
    assert seed_scores(study_of([run], replicates=100), ("deletion", "saliscope")) is None


def test_costs_are_of_a_map_over_all_parts(make_run):
    run = make_run(n=3)
    asked_runs.put_costs(run, [
        {"question": "curves", "metrics": ["deletion", "insertion"], "maps": 4, "pictures": 100, "seconds": 2.0},
        {"question": "curves", "metrics": ["deletion", "insertion"], "maps": 6, "pictures": 200, "seconds": 1.0},
        {"question": "flip", "metrics": ["flip-consistency"], "maps": 0, "pictures": 0, "seconds": 0.0},
    ])  # fmt: skip
    found = costs_of(study_of([run], replicates=100))
    assert found["deletion"] is found["insertion"]
    assert (found["deletion"].seconds, found["deletion"].pictures) == (0.3, 30.0)
    assert found["deletion"].metrics == ("deletion", "insertion")
    assert "flip-consistency" not in found


def test_every_family_says_which_way_is_better():
    assert set(METRICS) | set(FAITHFULNESS) < set(every_metric())
    lower = {m for m in asked_runs.PROTOCOLS if better_of(m) == "lower"}
    assert lower == set(asked_runs.LOWER)
    assert better_of("gini") == "higher"
    assert better_of("heat-area-50") == "lower"
    assert bounds_of("occlusion-rank") == (-1.0, 1.0)
    assert bounds_of("heat-area-90") == (0.0, 0.9)


def test_heat_on_a_tag_is_neither_better_nor_worse():
    assert marked_better("mask-enrichment", "mask:tag") is None
    assert marked_better("mask-enrichment", "mask:evidence") == "higher"
    assert marked_better("deletion", "saliscope") == "lower"


def test_a_note_says_whose_score_it_is():
    own = every_metric()["deletion"].protocol
    assert metric_note("deletion", "saliscope") == f"{own} (deletion@saliscope)"
    assert metric_note("unheard-of", "x") == "unheard-of@x"


def test_shuffled_maps_stand_among_what_knows_no_network(make_run):
    study = study_of([make_run(n=5, shuffled=True)], replicates=100)
    assert [m.name for m in study.trivial] == ["random", "centre", "edges", "shuffled", "full-image box", "centred box"]  # fmt: skip
    assert "shuffled" in study.values("iou", "yang2025")
    assert heading_of("road-morf") == "ROAD from the hottest"


def test_a_share_that_is_0_everywhere_is_no_proportion(make_run):
    run = make_run(n=6)
    nothing = {(CAM, "gain", "weighted"): [0] * 6, (CAM, "increase", "weighted"): [0] * 6}
    asked_runs.put_answers(run, nothing)
    study = study_of([run], replicates=100)
    grid = grid_of(study, study.networks[0])
    gain, rises = (grid.get(m, "weighted", CAM).estimate for m in ("gain", "increase"))
    assert (gain.low, gain.high) == (0.0, 0.0)
    assert rises.high > 0.3  # Wilson's, of 0 of 6
