import re

import numpy as np
import pytest

from asked_runs import put_answers
from saliscope.errors import OptionError
from saliscope.report.study.derived import as_hits, at_thresholds, best_centred_box, top_error
from saliscope.report.study.grid import grid_of
from saliscope.report.study.primary import find_primary, find_reference, scored_by
from saliscope.report.study.together import study_of
from saliscope.runs.primary import score_names


def curves(run, spec, rule, split):
    rows = run.curves.filter(spec=spec, rule=rule, split=split).sort("index")
    return np.array(rows["iou"].to_list(), np.float32)


def test_a_chosen_threshold_is_the_best_of_the_tuning_images(make_run):
    run = make_run(n={"test": 15, "val": 11}, tune="val")
    found = at_thresholds(study_of([run]), "iou", "min-max")
    for spec in ("cam", "grad-cam@layer4", "random"):
        tuned = curves(run, spec, "min-max", "val")
        best, at = -1.0, None
        for t in range(50):
            mean = sum(float(row[t]) for row in tuned) / len(tuned)
            if mean > best + 1e-12:
                best, at = mean, t
        np.testing.assert_allclose(found.values[spec], curves(run, spec, "min-max", "test")[:, at])
        assert found.detail[spec] == f"threshold {at / 50:g}, chosen on val"
        assert found.source[spec] == "chosen"
    assert not found.near


def test_without_tuning_images_it_is_an_oracle(make_run):
    run = make_run(n=15)
    found = at_thresholds(study_of([run]), "iou", "min-max")
    own = curves(run, "cam", "min-max", "test")
    at = int(own.mean(axis=0, dtype=np.float64).argmax())
    np.testing.assert_allclose(found.values["cam"], own[:, at])
    assert found.detail["cam"] == f"threshold {at / 50:g}, oracle"
    assert found.source["cam"] == "oracle"
    assert found.near["cam"].shape[:2] == (15, 1)


def test_the_best_centred_box_is_a_threshold_too(make_run):
    run = make_run(n={"test": 15, "val": 11}, tune="val")
    study = study_of([run])
    found = best_centred_box(study)
    at = int(curves(run, "centre-box", "side", "val").mean(axis=0, dtype=np.float64).argmax())
    np.testing.assert_allclose(
        found.values["centred box"], curves(run, "centre-box", "side", "test")[:, at]
    )
    assert found.detail["centred box"] == f"side {(at + 1) / 100:g}, chosen on val"


def test_hits_are_counted_in_single_precision():
    from saliscope.report.study.derived import Scored

    hits = as_hits(Scored({"a": np.array([0.5, 0.49, np.nan, float(np.float32(0.7))])}), 0.7)
    assert hits.values["a"][[0, 1, 3]].tolist() == [0, 0, 1]
    assert np.isnan(hits.values["a"][2])


@pytest.mark.parametrize("k", [1, 5])
def test_localisation_error_needs_the_class_and_the_box(make_run, k):
    right = np.tile([1.0, 0.0, np.nan], 8)
    run = make_run(n=24, wrong=0.6, values={("cam", "gt-known", "yang2025"): right})
    found = top_error(study_of([run]), "yang2025", k)["cam"]
    ranks = run.scores.filter(spec="cam", metric="iou", protocol="yang2025").sort("index")["rank"]
    for i, rank in enumerate(ranks):
        expected = np.nan if np.isnan(right[i]) else float(not (rank < k and right[i] == 1))
        np.testing.assert_equal(found[i], expected)


def test_images_of_several_classes_have_no_localisation_error(make_run):
    assert top_error(study_of([make_run(n=4, several=2)]), "yang2025", 1) == {}


def test_of_predicted_classes_alone_there_is_no_top_5_error(make_run):
    study = study_of([make_run(n=4, target="predicted")])
    assert top_error(study, "yang2025", 5) == {}
    assert top_error(study, "yang2025", 1) != {}
    assert ("top-5", "yang2025", "cam") not in grid_of(study, find_reference(study)).cells
    with pytest.raises(OptionError, match="was not measured"):
        find_primary(study, "top-5@yang2025")


def test_the_declared_score_is_primary(make_run):
    study = study_of([make_run(n=6, primary="iou@cam2016", margin=0.05)])
    found = find_primary(study)
    assert (found.text, found.declared, found.oracle) == ("iou@cam2016", True, False)
    assert (found.endpoint.name, found.endpoint.margin, found.endpoint.primary) == (
        "mean IoU (cam2016)",
        0.05,
        True,
    )
    other = find_primary(study, "enrichment")
    assert (other.text, other.declared) == ("enrichment@boxes", False)
    assert (other.endpoint.name, other.endpoint.margin, other.endpoint.primary) == (
        "enrichment",
        0.05,
        False,
    )
    assert other.endpoint.margin == 0.05
    assert find_primary(study, "energy@boxes").endpoint.margin == 0.01


def test_chosen_without_tuning_is_called_an_oracle(make_run):
    found = find_primary(study_of([make_run(n=6, primary="iou@chosen")]))
    assert found.oracle
    assert found.endpoint.name == "mean IoU (oracle threshold)"
    tuned = find_primary(study_of([make_run("b", n=6, tune="val", primary="iou@chosen")]))
    assert not tuned.oracle
    assert tuned.endpoint.name == "mean IoU (chosen)"


def test_a_centred_box_alone_makes_no_oracle_of_the_score(make_run):
    found = find_primary(study_of([make_run(n=6)]))
    assert list(found.scored.near) == ["centred box"]
    assert "centred box" in found.scored.values


@pytest.mark.parametrize(
    ("text", "delta"),
    [("gt-known@chosen", 0.5), ("max-box-acc@min-max", None), ("top-1@cam2016", None)],
)
def test_derived_scores_can_be_primary(make_run, text, delta):
    study = study_of([make_run(n=12, tune="val")])
    found = find_primary(study, text)
    values = found.scored.values["cam"]
    assert set(np.unique(values)) <= {0.0, 1.0}
    if delta is not None:
        iou = scored_by(study, "iou", "chosen").values["cam"]
        assert values.tolist() == (iou.astype(np.float32) >= np.float32(delta)).tolist()
    assert found.endpoint.better == ("lower" if text.startswith("top") else "higher")


def test_max_box_acc_v2_is_a_mean_over_deltas(make_run):
    run = make_run(n=12)
    study = study_of([run])
    found = find_primary(study, "max-box-acc-v2")
    best = np.array(
        run.curves.filter(spec="cam", rule="min-max").sort("index")["best"].to_list(), np.float32
    )
    means = [max((best[:, t] >= np.float32(d)).mean() for t in range(50)) for d in (0.3, 0.5, 0.7)]
    assert found.scored.values["cam"].mean() == pytest.approx(np.mean(means))
    share = study.units["share"].to_numpy()
    expected = np.mean(
        [(share.astype(np.float32) >= np.float32(d)) for d in (0.3, 0.5, 0.7)], axis=0
    )
    np.testing.assert_allclose(found.scored.values["full-image box"], expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "iuo@yang2025",
            'the primary score "iuo@yang2025" was not measured; nearest: "iou@yang2025"',
        ),
        ("iou@elsewhere", 'the primary score "iou@elsewhere" was not measured'),
        (
            "iou",
            "names no protocol; write METRIC@PROTOCOL: iou@yang2025, iou@cam2016, iou@gradcam2017",
        ),
        ("nothing", 'the primary score "nothing" was not measured'),
    ],
)
def test_a_score_that_was_not_measured_is_refused(make_run, text, said):
    with pytest.raises(OptionError, match=said):
        find_primary(study_of([make_run(n=3)]), text)


@pytest.mark.parametrize("text", ["deletion@saliscope", "deletion"])
def test_a_score_that_nobody_asked_for_is_refused_with_the_command_that_asks(make_run, text):
    run = make_run(n=3)
    said = (
        f'"{text}" was not measured; the network has to be asked for it first: '
        f"saliscope measure {run.place.address} --ask deletion; known: "
    )
    with pytest.raises(OptionError, match=re.escape(said)):
        find_primary(study_of([run]), text)
    put_answers(run, {("cam", "deletion", "saliscope"): np.arange(3) / 4})
    assert find_primary(study_of([run]), text).scored.values["cam"].tolist() == [0, 0.25, 0.5]


def test_chosen_needs_a_sweep(make_run):
    study = study_of([make_run(n=3, thresholds=0, primary="iou@chosen")])
    with pytest.raises(OptionError, match='"iou@chosen" was not measured'):
        find_primary(study)


def test_the_reference_is_the_declared_one_or_the_first(make_run):
    assert find_reference(study_of([make_run(n=3)])).name == "cam"
    declared = make_run("b", n=3, reference="grad-cam@layer4")
    assert find_reference(study_of([declared])).name == "grad-cam@layer4"
    assert find_reference(study_of([declared, make_run("c", n=3)])).name == "b · grad-cam@layer4"


@pytest.mark.parametrize(
    ("text", "nearby"),
    [
        ("max-box-acc@elsewhere", "max-box-acc@min-max"),  # the full image has a score by any rule
        ("max-box-acc@max", "max-box-acc@min-max"),
        ("iou@chosen:max", "iou@chosen:min-max"),
        ("top-1@yang", "top-1@yang2025"),
        ("iou@box", "iou@oracle"),
    ],
)
def test_what_only_rows_without_a_network_have_is_no_primary(make_run, text, nearby):
    study = study_of([make_run(n=3)])
    with pytest.raises(OptionError, match=f'"{text}" was not measured; nearest: "{nearby}"'):
        find_primary(study, text)


def test_a_score_of_images_with_several_classes(make_run):
    study = study_of([make_run(n=4, several=2)])
    with pytest.raises(OptionError, match='"top-1@cam2016" was not measured'):
        find_primary(study, "top-1@cam2016")


def test_all_that_was_measured_may_be_asked_for(make_run):
    """And what a run may declare, a report of it finds."""
    run = make_run(n=6, masks=("body",), rules=["min-max", "max"], wsol=True)
    study = study_of([run])
    names = score_names(run.settings).known
    assert len(names) > 40
    for name in [*names, "relevance-mass@mask:body"]:
        assert find_primary(study, name).text == name


def test_without_rules_no_threshold_is_looked_for(make_run):
    study = study_of([make_run(n=4, rules=[])])
    assert find_primary(study).text == "iou@yang2025"
    with pytest.raises(OptionError, match='"iou@chosen" was not measured'):
        find_primary(study, "iou@chosen")


def test_declared_in_short_is_declared_in_full(make_run):
    study = study_of([make_run(n=4, primary="enrichment", margin=0.2)])
    for given in (None, "enrichment", "enrichment@boxes"):
        found = find_primary(study, given)
        assert (found.text, found.declared, found.endpoint.margin) == (
            "enrichment@boxes",
            True,
            0.2,
        )
    assert not find_primary(study, "energy").declared
    lost = study_of([make_run("b", n=4, primary="iou@else")])
    assert not find_primary(lost, "iou@yang2025").declared


def test_a_reference_with_its_layer_is_the_method_without(make_run):
    assert find_reference(study_of([make_run(n=3, reference="cam@layer4")])).name == "cam"
    both = ("grad-cam@layer4", "cam")
    assert find_reference(study_of([make_run("b", n=3, methods=both)])).name == "grad-cam@layer4"
    named = make_run("c", n=3, methods=both, reference="cam@layer4")
    assert find_reference(study_of([named])).name == "cam"
