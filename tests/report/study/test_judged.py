import numpy as np
import pytest

import asked_runs
from saliscope.report.chapters.evidence import evidence_of
from saliscope.report.study.believing import beliefs, shuffled_of
from saliscope.report.study.judged import (
    Judged,
    agreement_of,
    judged_metrics,
    mean_scores,
    truth_of,
)
from saliscope.report.study.together import study_of

FOUR = ("cam", "grad-cam@layer4", "grad-cam@layer3", "grad-cam@layer2")
MASS = ("relevance-mass", "mask:evidence")
DELETION = Judged("deletion", "saliscope", "faithfulness", asked=True)
INSERTION = Judged("insertion", "saliscope", "faithfulness", asked=True)


def evidence(run):
    return evidence_of(study_of([run], replicates=200), None)


def told(make_run, masses, deletions, **more):
    """A run whose methods have these mean heats on the evidence and these mean deletions."""
    values = {(s, *MASS): np.full(6, v) for s, v in zip(FOUR, masses, strict=True)}
    run = make_run(n=6, methods=FOUR[: len(masses)], masks=("evidence",), values=values, **more)
    asked_runs.put_answers(run, {(s, "deletion", "saliscope"): np.full(6, v) for s, v in zip(FOUR, deletions, strict=True)})  # fmt: skip
    return evidence(run)


def test_truth_is_agreed_with_by_a_metric_of_which_less_is_better(make_run):
    found = told(make_run, [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4])
    assert truth_of(found.grid, DELETION, FOUR) == (1.0, 4)
    own, methods = truth_of(found.grid, Judged(*MASS, "place", asked=False), FOUR)
    assert np.isnan(own), "the truth is no judge of itself"
    assert methods == 4


def test_truth_is_disagreed_with(make_run):
    found = told(make_run, [0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.1, 0.2])
    # Ranks 1 2 3 4 of the truth against 4 3 1 2: 1 - 6 * (9 + 1 + 4 + 4) / 60.
    assert truth_of(found.grid, DELETION, FOUR)[0] == pytest.approx(1 - 6 * 18 / 60)


def test_three_methods_are_no_ranking(make_run):
    found = told(make_run, [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, np.nan])
    value, methods = truth_of(found.grid, DELETION, FOUR)
    assert np.isnan(value)
    assert methods == 3
    assert np.isnan(truth_of(found.grid, INSERTION, FOUR)[0])


def test_metrics_of_both_directions_agree():
    scores = np.array([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]])
    assert agreement_of(scores, [DELETION, INSERTION]) == pytest.approx(1.0)
    assert agreement_of(scores, [INSERTION, INSERTION]) < 0
    assert np.isnan(agreement_of(scores[:1], [DELETION]))
    assert np.isnan(agreement_of(scores[:, :2], [DELETION, INSERTION]))


def test_every_asked_metric_is_judged_and_one_protocol_of_the_others(make_run):
    run = make_run(n=6, masks=("body", "evidence"), shuffled=True)
    asked_runs.ask_everything(run)
    study = evidence(run).study
    found = judged_metrics(study, ("iou", "cam2016"))
    names = [one.combo for one in found]
    assert {one.metric for one in found if one.asked} == set(asked_runs.PROTOCOLS)
    assert [c for c in names if c[0] == "iou"] == [("iou", "cam2016")]
    assert [c for c in names if c[1].startswith("mask:")] == [
        ("relevance-mass", "mask:evidence"), ("relevance-rank", "mask:evidence"), ("pixel-ap", "mask:evidence"),
    ]  # fmt: skip
    assert list(dict.fromkeys(one.family for one in found)) == [
        "faithfulness",
        "robustness",
        "place",
        "complexity",
    ]
    assert mean_scores(evidence(run).grid, [], ["cam"]).shape == (0, 1)


def believed(make_run, good, bad, metric="deletion", protocol="saliscope", n=8):
    run = make_run(n=n, shuffled=True)
    asked_runs.put_answers(run, {("cam", metric, protocol): good, ("shuffled", metric, protocol): bad})  # fmt: skip
    found = evidence(run)
    every = beliefs(found.study, found.grid, found.reference, ("iou", "yang2025"))
    return next(one for one in every if one.metric.metric == metric)


def test_the_methods_of_one_network_are_ranked_not_those_of_several_runs(make_run):
    """The same network twice would have its methods counted twice."""
    values = {(s, *MASS): np.full(6, v) for s, v in zip(FOUR, [0.4, 0.3, 0.2], strict=False)}
    more = {"n": 6, "methods": FOUR[:3], "masks": ("evidence",), "values": values, "shuffled": True}
    runs = [make_run(name=name, **more) for name in ("one", "two")]
    found = evidence_of(study_of(runs, replicates=200), None)
    assert len(found.study.networks) == 6
    every = beliefs(found.study, found.grid, found.reference, ("iou", "yang2025"))
    assert {one.methods for one in every} <= {0, 3}
    assert all(np.isnan(one.truth) for one in every)


def test_separation_counts_images_won_by_less(make_run):
    good = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, np.nan, 0.1]
    bad = [0.2, 0.3, 0.4, 0.5, 0.5, 0.1, 0.5, 0.9]
    one = believed(make_run, good, bad)
    # Won: 0-3 and 7, a tie at 4, lost at 5, undefined at 6.
    assert one.wins.estimate == pytest.approx(5.5 / 7)
    assert one.separation.wins == pytest.approx(one.wins.estimate)
    assert (one.wins.n, one.wins.undefined) == (7, 1)
    assert one.wins.low < one.wins.estimate < one.wins.high


def test_separation_counts_images_won_by_more(make_run):
    one = believed(make_run, np.linspace(0.1, 0.8, 8), np.full(8, 0.35), metric="insertion")
    assert one.wins.estimate == pytest.approx(5 / 8)


def test_the_best_separating_metric_comes_first_and_undefined_ones_last(make_run):
    run = make_run(n=8, shuffled=True)
    asked_runs.put_answers(run, {
        ("cam", "deletion", "saliscope"): np.full(8, 0.1), ("shuffled", "deletion", "saliscope"): np.full(8, 0.2),
        ("cam", "insertion", "saliscope"): np.full(8, 0.1), ("shuffled", "insertion", "saliscope"): np.full(8, 0.2),
        ("cam", "adcc", "weighted"): np.full(8, np.nan), ("shuffled", "adcc", "weighted"): np.full(8, 0.2),
    })  # fmt: skip
    found = evidence(run)
    names = [b.metric.metric for b in beliefs(found.study, found.grid, found.reference, ("iou", "yang2025"))]  # fmt: skip
    assert names[0] == "deletion"
    assert names[-2:] == ["insertion", "adcc"]


def test_noise_and_cost_stand_beside_it(make_run):
    run = make_run(n=4, shuffled=True)
    seeds = {"cam": [[1.0] * 4, [3.0] * 4], "grad-cam@layer4": [[5.0] * 4, [7.0] * 4], "shuffled": [[9.0] * 4, [9.0] * 4]}  # fmt: skip
    asked_runs.put_answers(run, {(s, "infidelity", "squares"): v for s, v in seeds.items()})
    asked_runs.put_costs(run, [{"question": "infidelity", "metrics": ["infidelity"], "maps": 10, "pictures": 400, "seconds": 5.0}])  # fmt: skip
    found = evidence(run)
    one = next(b for b in beliefs(found.study, found.grid, found.reference, ("iou", "yang2025")) if b.metric.asked)  # fmt: skip
    # Variance over seeds 2 for both methods; means 2 and 6, whose standard deviation is sqrt(8).
    assert one.noise == pytest.approx(np.sqrt(2) / np.sqrt(8))
    assert one.cost is not None
    assert (one.cost.pictures, one.cost.seconds) == (40.0, 0.5)
    assert all(b.cost is None for b in beliefs(found.study, found.grid, found.reference, ("iou", "yang2025")) if not b.metric.asked)  # fmt: skip


def test_without_shuffled_maps_nothing_is_believed(make_run):
    found = evidence(make_run(n=4))
    assert shuffled_of(found.study, found.reference) is None
    assert beliefs(found.study, found.grid, found.reference, ("iou", "yang2025")) == []
