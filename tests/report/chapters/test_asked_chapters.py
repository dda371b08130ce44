from functools import partial

import numpy as np
import polars as pl
import pytest

import asked_runs
from saliscope.metrics import Separation
from saliscope.report.chapters.agreement import agreement_section
from saliscope.report.chapters.believe import believe_section, verdict_of, which
from saliscope.report.chapters.cue import Cue
from saliscope.report.chapters.evidence import evidence_of
from saliscope.report.chapters.faithfulness import faithfulness_section, robustness_section
from saliscope.report.chapters.sanity import failures, sanity_section, verdict_line
from saliscope.report.chapters.scores import scores_section
from saliscope.report.findings import findings
from saliscope.report.study.believing import Belief
from saliscope.report.study.forgetting import forgetting_of
from saliscope.report.study.judged import Judged
from saliscope.report.study.together import study_of
from saliscope.stats import Interval, mean_interval

STAGES = ("original", "fc", "layer4")
METHODS = ("cam", "grad-cam@layer4", "guided-backprop")


def evidence(*runs):
    return evidence_of(study_of(list(runs), replicates=200), None)


def asked(make_run, n=12, **more):
    run = make_run(n=n, shuffled=True, methods=METHODS, **more)
    asked_runs.ask_everything(run, seeds=2)
    return run


def table(section, name):
    return next(t for t in section.tables if t.name == name)


def row(section, name, **values):
    return next(
        r for r in table(section, name).rows if all(r.get(k) == v for k, v in values.items())
    )


def test_a_run_that_asked_nothing_has_none_of_these_chapters(make_run):
    old = evidence(make_run(n=6))
    made = [faithfulness_section(old), sanity_section(old), robustness_section(old), believe_section(old), agreement_section(old)]  # fmt: skip
    assert made == [None] * 5
    assert Cue(old).warnings == []
    names = [t.name for t in scores_section(old).tables]
    assert [n for n in names if n.startswith(("complexity", "twins"))] == ["complexity-image", "complexity-map"]  # fmt: skip


def test_chapters_stand_after_what_boxes_cannot_see(make_run):
    found = findings([asked(make_run)], replicates=200)
    assert [s.key for s in found.sections][:6] == [
        "answer", "beyond", "faithfulness", "sanity", "robustness", "believe",
    ]  # fmt: skip
    assert "agreement" in [s.key for s in found.sections]


def test_an_asked_score_may_decide(make_run):
    found = findings([asked(make_run)], replicates=200, primary="deletion@saliscope")
    assert found.answer.startswith("Endpoint deletion (saliscope), chosen after the run: cam has the lowest of 3 methods")  # fmt: skip


def test_images_with_several_classes_are_drawn_whole(make_run):
    found = findings([asked(make_run, n=10, several=2)], replicates=200)
    (believe,) = [s for s in found.sections if s.key == "believe"]
    assert "on 20 images and classes. " in believe.lead
    assert {"faithfulness", "sanity", "robustness", "agreement"} <= {s.key for s in found.sections}


def test_runs_side_by_side_have_their_chapters_together(make_run):
    one, two = (asked(partial(make_run, n), data=n) for n in ("x", "y"))
    found = findings([one, two], replicates=200)
    rows = [r["method"] for s in found.sections if s.key == "sanity" for r in s.tables[0].rows]
    assert rows[:2] == ["x · cam", "x · grad-cam@layer4"]
    assert "y · cam" in rows


# Faithfulness


def test_asked_scores_stand_in_tables_of_their_own(make_run):
    run = asked(make_run)
    section = faithfulness_section(evidence(run))
    assert [t.name for t in section.tables] == ["faithfulness-removal", "faithfulness-kept", "faithfulness-linear"]  # fmt: skip
    one = row(section, "faithfulness-removal", method="cam")
    values = run.answers.filter(spec="cam", metric="deletion").group_by("index").agg(mean=pl.col("value").mean()).sort("index")["mean"]  # fmt: skip
    expected = mean_interval(values, strata=[0] * len(values), replicates=200)
    assert one["deletion@saliscope"] == pytest.approx(expected.estimate)
    assert one["deletion@saliscope_low"] < one["deletion@saliscope"] < one["deletion@saliscope_high"]  # fmt: skip
    assert [r["method"] for r in table(section, "faithfulness-removal").rows] == [*METHODS, "random", "centre", "edges", "shuffled"]  # fmt: skip
    better = {c.key: (c.better, c.best) for c in table(section, "faithfulness-removal").columns}
    assert better["deletion@saliscope"] == ("lower", True)
    assert better["insertion@saliscope"] == ("higher", True)
    assert "Petsiuk" in table(section, "faithfulness-removal").columns[1].note


def test_undefined_scores_are_counted_beside_the_mean(make_run):
    section = faithfulness_section(evidence(asked(make_run, n=10)))
    one = row(section, "faithfulness-kept", method="cam")
    assert one["undefined"] == "gain 1"
    assert (one["n"], one["gain@weighted_n"]) == (10, 9)
    assert row(section, "faithfulness-kept", method="edges")["undefined"] is None
    assert "undefined" in [c.key for c in table(section, "faithfulness-kept").columns]
    assert "undefined" not in [c.key for c in table(section, "faithfulness-linear").columns]


def test_the_lead_names_the_best_by_each_direction(make_run):
    run = make_run(n=8, shuffled=True)
    values = {("cam", "deletion"): 0.3, ("grad-cam@layer4", "deletion"): 0.2, ("edges", "deletion"): 0.1,
              ("cam", "insertion"): 0.8, ("grad-cam@layer4", "insertion"): 0.7}  # fmt: skip
    asked_runs.put_answers(run, {(s, m, "saliscope"): np.full(8, v) for (s, m), v in values.items()})  # fmt: skip
    lead = faithfulness_section(evidence(run)).lead
    assert "Deletion is best for edges (0.100 [0.100, 0.100]), which knows no network; insertion is best for cam (0.800" in lead  # fmt: skip


def test_curves_are_drawn_for_what_was_asked(make_run):
    run = make_run(n=6)
    steps = np.linspace(0, 1, 5)
    asked_runs.put_removal(run, {("cam", "deletion"): (steps, np.tile(1 - steps, (6, 1)))})
    section = faithfulness_section(evidence(run))
    assert section.tables == ()
    (chart,) = section.charts
    assert chart.alt == "Curves of 1 method. Deletion: the hottest pixels go first; at 50 %: cam 0.500."  # fmt: skip
    assert len(chart.draw().axes) == 2  # the sheet and one panel


def test_robustness_has_its_own_chapter(make_run):
    section = robustness_section(evidence(asked(make_run)))
    better = {c.key: c.better for c in table(section, "robustness").columns if "@" in c.key}
    assert better == {"max-sensitivity@radius0.02": "lower", "average-sensitivity@radius0.02": "lower", "flip-consistency@spearman": "higher"}  # fmt: skip


def test_complexity_and_twins_are_grouped_among_all_scores(make_run):
    run = make_run(n=6, masks=("evidence", "tag"))
    draw = np.random.default_rng(0)
    asked_runs.put_answers(run, {
        (s, m, p): draw.uniform(0.1, 0.4, 6).round(2 * (m == "twin-share"))
        for s in ("cam", "edges")
        for m, p in (("twin-share", "contrast"), ("pointing-mask", "mask:evidence"))
    })  # fmt: skip
    section = scores_section(evidence(run))
    names = [t.name for t in section.tables]
    assert names[names.index("mask-tag") + 1 :] == ["twins", "complexity-image", "complexity-map", "classification", "all-scores"]  # fmt: skip
    for grid in ("image", "map"):
        columns = table(section, f"complexity-{grid}").columns
        assert [c.heading for c in columns] == [
            "method", "Gini index", "entropy", "normalised entropy", "effective area", "area with half of the heat",
            "area with 90 % of the heat",
        ]  # fmt: skip
        assert [c.better for c in columns[1:]] == ["higher", *["lower"] * 5]
    assert "pointing in the mask" in [c.heading for c in table(section, "mask-evidence").columns]
    assert all(c.better is None for c in table(section, "mask-tag").columns if "enrichment" in c.key or "mass" in c.key)  # fmt: skip


# Sanity


def forgotten(make_run, levels, n=10, name="run"):
    """A run whose methods keep this much likeness at every stage, its verdicts by method."""
    run = make_run(name, n=n, methods=METHODS, classes=1)
    how = ("cascading", "spearman-abs")
    curves = {(s, *how): np.broadcast_to(np.broadcast_to(v, n), (3, 1, n)).copy() for s, v in levels.items()}  # fmt: skip
    chance = {(s, how[1]): np.ones(n) if s == "centre" else np.zeros(n) for s in levels}
    asked_runs.put_sanity(run, curves, chance=chance, stages=STAGES)
    return run, {one.method.name: one for one in forgetting_of(study_of([run], replicates=200))}


def test_a_line_says_whether_a_method_passes(make_run):
    half = np.tile([0.2, 0.8], 5)
    _, found = forgotten(make_run, {"cam": 0.18, "grad-cam@layer4": half, "guided-backprop": 0.62, "centre": 1.0})  # fmt: skip
    assert verdict_line(found["cam"]) == "cam passes: its maps last 0.18 [0.18, 0.18] of the network's forgetting."  # fmt: skip
    assert verdict_line(found["grad-cam@layer4"]).endswith("of the network's forgetting, and the limit of 0.50 lies in between.")  # fmt: skip
    assert verdict_line(found["guided-backprop"]) == (
        "guided-backprop fails: its maps last 0.62 [0.62, 0.62] of the network's forgetting; they outlive the layers that decide between classes."
    )
    assert verdict_line(found["centre"]).startswith("centre cannot be judged: its maps are as alike")  # fmt: skip


def test_a_guided_method_that_passes_keeps_its_caveat(make_run):
    _, found = forgotten(make_run, {"guided-backprop": 0.2})
    assert verdict_line(found["guided-backprop"]).endswith("here; its caveat stands, since passing is necessary and not enough.")  # fmt: skip


def test_few_images_have_no_verdict(make_run):
    _, found = forgotten(make_run, {"cam": 0.2}, n=4)
    assert verdict_line(found["cam"]) == "cam cannot be judged: 4 images are too few."


def test_the_chapter_has_lines_tables_and_warnings(make_run):
    run, _ = forgotten(make_run, {"cam": 0.18, "guided-backprop": 0.62, "edges": 1.0})
    section = sanity_section(evidence(run))
    said = section.lead.split("\n\n")
    assert said[0].endswith("(10 images, 1 seed; stages: fc and layer4).")
    assert said[1].startswith("cam passes")
    assert said[2].startswith("guided-backprop fails")
    assert said[3] == "Of what knows no network, edges fails with 1.00 [1.00, 1.00]."
    warning = (
        "guided-backprop (0.62 [0.62, 0.62]) fails the check of randomised weights: maps that stay while the network forgets show the "
        "picture, not what was learned."
    )
    assert section.warnings == (warning,)
    assert warning in findings([run], replicates=200).warnings
    assert row(section, "sanity", method="cam")["verdict"] == "passes"
    assert row(section, "sanity-cascading", method="cam")["spearman-abs fc"] == pytest.approx(0.18)
    assert [c.heading for c in table(section, "sanity-cascading").columns] == ["method", *STAGES]
    assert [c.name for c in section.charts] == ["sanity-cascading"]


def test_what_knows_no_network_fails_without_a_warning(make_run):
    _, found = forgotten(make_run, {"cam": 0.1, "edges": 1.0})
    assert failures(list(found.values())) == []


def test_likeness_to_another_class_stands_beside_it(make_run):
    section = sanity_section(evidence(asked(make_run, n=30)))
    one = row(section, "sanity", method="guided-backprop")
    assert one["class"] == pytest.approx(1.0, abs=0.05)
    assert one["n"] == 24
    assert [t.name for t in section.tables] == ["sanity", "sanity-cascading", "sanity-independent"]
    assert "structural similarity" in table(section, "sanity-cascading").note


# Which metric to believe


def belief(wins, low, high, *, n=50, noise=None, truth=float("nan"), metric="deletion"):
    one = Judged(metric, "saliscope", "faithfulness", asked=True)
    return Belief(one, Interval(wins, low, high, n), Separation(wins, wins, n, 0), noise, None, truth, 5)  # fmt: skip


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (belief(0.97, 0.9, 1.0, noise=0.05, truth=0.83), "tells a good map from a shuffled one in 97 % of images, steady over seeds, agrees with the truth (0.83)"),
        (belief(0.6, 0.51, 0.69), "barely tells a good map from a shuffled one in 60 % of images"),
        (belief(0.52, 0.4, 0.62), "cannot tell: 52 %"),
        (belief(0.2, 0.1, 0.3), "prefers the shuffled map: the good one wins in 20 % of images"),
        (belief(0.75, float("nan"), float("nan"), n=4), "75 % of too few images"),
        (belief(float("nan"), float("nan"), float("nan"), n=0), "no shuffled map has this score"),
        (belief(0.9, 0.8, 1.0, noise=0.3, truth=0.5), "tells a good map from a shuffled one in 90 % of images, blurred by seeds (0.30 of what lies between methods), agrees in part with the truth (0.50)"),
        (belief(0.9, 0.8, 1.0, noise=1.2, truth=-0.6), "tells a good map from a shuffled one in 90 % of images, seeds weigh 1.20 times as much as methods, against the truth (−0.60)"),
        (belief(0.9, 0.8, 1.0, noise=float("nan"), truth=0.1), "tells a good map from a shuffled one in 90 % of images, hardly agrees with the truth (0.10)"),
    ],
)  # fmt: skip
def test_a_verdict_is_in_plain_words(one, said):
    assert verdict_of(one) == said


def two_metrics(make_run, n=10, seeds=1, **more):
    """Deletion always prefers the map, ADCC is a coin."""
    run = make_run(n=n, shuffled=True, **more)
    coin = np.tile([0.1, 0.9], n // 2)
    asked_runs.put_answers(run, {
        **{(s, "deletion", "saliscope"): np.tile(v, (seeds, n)) for s, v in (("cam", 0.1), ("grad-cam@layer4", 0.2), ("shuffled", 0.5))},
        **{(s, "adcc", "weighted"): v for s, v in (("cam", coin), ("grad-cam@layer4", coin), ("shuffled", coin[::-1]))},
    })  # fmt: skip
    return run


def test_the_lead_answers_for_this_data_set(make_run):
    section = believe_section(evidence(two_metrics(make_run)))
    assert section.lead.startswith(
        "A metric is worth believing if it prefers a good map to the same map shuffled: here those of cam, on 10 images. Deletion"
    )
    assert "ADCC" in section.lead.partition("Not told apart from a coin on these images: ")[2]
    assert row(section, "believe", score="deletion")["wins"] == 1.0
    assert row(section, "believe", score="ADCC")["verdict"] == "cannot tell: 50 %"
    rows = table(section, "believe").rows
    assert [r["wins"] for r in rows] == sorted((r["wins"] for r in rows), reverse=True)


def test_too_few_images_give_no_answer(make_run):
    section = believe_section(evidence(two_metrics(make_run, n=4)))
    assert "So few images cannot say which metric does." in section.lead
    assert row(section, "believe", score="deletion")["verdict"] == "100 % of too few images"


def test_the_answer_names_the_best_where_none_is_sure():
    some = [belief(0.8, 0.7, 0.9), belief(0.5, 0.4, 0.6, metric="insertion")]
    assert which(some) == "None does so in 90 % of them; the best is deletion (80 %). Not told apart from a coin on these images: insertion."  # fmt: skip


def test_the_answer_says_what_is_closest_to_the_truth():
    some = [belief(0.95, 0.9, 1.0, truth=0.2), belief(0.92, 0.9, 1.0, truth=0.8, metric="insertion")]  # fmt: skip
    assert which(some) == "Deletion and insertion do so in 90 % of them or more; of these insertion ranks methods most as the known truth does (0.80)."  # fmt: skip
    assert which(some[:1]) == "Deletion does so in 90 % of them or more; none of these ranks methods as the known truth does (0.20 at most)."  # fmt: skip


def test_one_seed_is_said_and_how_to_have_more(make_run):
    one = table(believe_section(evidence(two_metrics(make_run))), "believe")
    assert "evaluate with --ask-seeds 3" in one.note
    assert "noise" not in [c.key for c in one.columns]
    more = table(believe_section(evidence(two_metrics(partial(make_run, "b"), seeds=3))), "believe")  # fmt: skip
    assert "--ask-seeds" not in more.note
    found = {r["score"]: r["noise"] for r in more.rows}
    assert (found["deletion"], found["ADCC"]) == (0.0, None)


def test_metrics_of_place_cost_no_pictures(make_run):
    run = two_metrics(make_run)
    asked_runs.put_costs(run, [{"question": "curves", "metrics": ["deletion"], "maps": 5, "pictures": 280, "seconds": 1.0}])  # fmt: skip
    section = believe_section(evidence(run))
    assert row(section, "believe", score="deletion")["pictures"] == 56.0
    assert row(section, "believe", score="enrichment")["pictures"] == 0.0
    assert row(section, "believe", score="enrichment")["seconds"] is None
    assert row(section, "believe", score="ADCC")["pictures"] is None, "its cost is not known"


def test_a_known_truth_needs_four_methods(make_run):
    section = believe_section(evidence(two_metrics(make_run, masks=("evidence",))))
    assert "takes four methods of the network or more; there are 2." in section.lead
    assert "truth" not in [c.key for c in table(section, "believe").columns]


# Agreement


def test_metrics_rank_methods_and_agree(make_run):
    run = asked(make_run)
    section = agreement_section(evidence(run))
    assert [t.name for t in section.tables] == ["alpha", "ranks"]
    one = row(section, "ranks", score="deletion")
    means = {s: run.answers.filter(spec=s, metric="deletion")["value"].mean() for s in METHODS}
    assert [one[s] for s in sorted(means, key=means.get)] == [1, 2, 3]
    assert row(section, "alpha", group="robustness")["n"] == 3
    assert "Krippendorff's alpha" in section.lead


# A planted tag


def tagged(make_run, dense, mass=0.34, **more):
    values = {}
    for spec, value in dense.items():
        values[spec, "mask-enrichment", "mask:tag"] = np.full(12, value)
        values[spec, "relevance-mass", "mask:tag"] = np.full(12, mass[spec] if isinstance(mass, dict) else mass)  # fmt: skip
    return make_run(n=12, masks=("tag",), values=values, **more)


def test_maps_that_look_at_a_planted_tag_are_warned_of(make_run):
    run = tagged(make_run, {"cam": 17.0, "grad-cam@layer4": 0.5, "random": 1.0, "centre": 0.5, "edges": 1.0})  # fmt: skip
    found = findings([run], replicates=200)
    said = "cam puts 34 % of its heat on the planted tag, which covers 2.0 % of the picture: the network may have learned the tag."  # fmt: skip
    assert found.answer.endswith(said)
    assert found.sections[0].warnings[0] == f"{said} So much denser than even heat (1) is the heat there: cam 17.0 [17.0, 17.0]."  # fmt: skip
    assert found.sections[0].warnings[0] in found.warnings


def test_another_method_is_named_where_the_reference_does_not_look(make_run):
    run = tagged(make_run, {"cam": 0.9, "grad-cam@layer4": 3.0, "random": 1.0, "centre": 0.5, "edges": 2.0})  # fmt: skip
    cue = Cue(evidence(run))
    assert cue.sentence.startswith("grad-cam@layer4 puts 34 % of its heat on the planted tag, which covers 11 %")  # fmt: skip
    assert cue.warnings[0].endswith("Without any network: edges 2.0 [2.0, 2.0]; only what lies beyond that is the network's.")  # fmt: skip


def test_a_method_that_looks_much_more_is_named_too(make_run):
    mass = {"cam": 0.05, "grad-cam@layer4": 0.6, "random": 0.1, "centre": 0.1, "edges": 0.1}
    run = tagged(make_run, {"cam": 2.0, "grad-cam@layer4": 22.0, "random": 1.0, "centre": 0.5, "edges": 1.0}, mass)  # fmt: skip
    assert Cue(evidence(run)).sentence == (
        "cam puts 5.0 % of its heat on the planted tag, which covers 2.5 % of the picture, and grad-cam@layer4 60 %: the network may have "
        "learned the tag."
    )


def test_maps_that_do_not_clearly_look_are_not(make_run):
    noisy = np.tile([0.2, 2.0], 6)  # its mean is above 1, its interval is not
    run = tagged(make_run, {"cam": noisy, "grad-cam@layer4": 1.0, "random": 1.0, "centre": 0.5, "edges": 3.0})  # fmt: skip
    cue = Cue(evidence(run))
    assert (cue.sentence, cue.warnings) == ("", [])
