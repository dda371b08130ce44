import hashlib

import numpy as np
import pytest

from saliscope.report.gallery import choose
from saliscope.report.material import Material
from saliscope.report.study.primary import find_primary, find_reference
from saliscope.report.study.together import study_of
from saliscope.runs import open_run


@pytest.fixture(scope="module")
def groups(material):
    return {group.key: group for group in choose(material, each=5)}


def wide(made, role="truth"):
    frame = made.by_method("iou", "yang2025", target=role)
    return {name: frame[name].to_numpy() for name in frame.columns}


def test_headings_in_order(groups):
    titles = list(dict.fromkeys(group.title for group in groups.values()))
    assert titles == [
        "Where two methods disagree most",
        "Best",
        "Worst",
        "Wrong predictions",
        "Maps without heat to read",
        "Failed",
        "A random sample",
    ]


def test_best_and_worst_of_the_reference(groups, made):
    scores = wide(made)
    order = np.argsort(-scores["cam"], kind="stable")
    assert [p.id for p in groups["best"].picks] == scores["id"][order[:5]].tolist()
    order = np.argsort(scores["cam"], kind="stable")
    assert [p.id for p in groups["worst"].picks] == scores["id"][order[:5]].tolist()
    assert groups["worst"].lead == "The lowest IoU (yang2025) of cam."


def test_best_is_low_where_low_is_better(made):
    study = study_of([made])
    material = Material(study, find_primary(study), find_reference(study))
    material.lower = True
    groups = {group.key: group for group in choose(material, each=5)}
    scores = wide(made)
    order = np.argsort(scores["cam"], kind="stable")
    assert [p.id for p in groups["best"].picks] == scores["id"][order[:5]].tolist()


def test_disagreements_with_each_method_the_best_first(groups, material, made):
    scores = wide(made)
    pairs = [group for group in groups.values() if group.panes == "pair"]
    labels = [material.sources[group.other].label for group in pairs]
    means = [np.nanmean(scores[label]) for label in labels]
    assert means == sorted(means, reverse=True)
    assert set(labels) == {"grad-cam@layer4", "grad-cam@layer3", "grad-cam@layer2"}
    for group, label in zip(pairs, labels, strict=True):
        apart = np.abs(scores[label] - scores["cam"])
        expected = scores["id"][np.argsort(-apart, kind="stable")][: len(group.picks)]
        assert [p.id for p in group.picks] == expected.tolist()
        assert apart[np.argsort(-apart)][len(group.picks) - 1] > 0


def test_wrong_predictions_the_surest_first(groups, made):
    wrong = made.images.filter(~made.images["correct"].fill_null(True))["id"].to_list()
    group = groups["wrong"]
    assert group.panes == "classes"
    assert sorted(p.id for p in group.picks) == wrong
    maps = made.maps.filter((made.maps["rank"] == 0) & (made.maps["spec"] == "cam"))
    sure = dict(maps.select("id", "probability").iter_rows())
    shares = [sure[p.id] for p in group.picks]
    assert shares == sorted(shares, reverse=True)
    assert {p.target for p in group.picks} == {"fox"}, "the true class"


def test_wrong_predictions_of_a_run_without_their_maps(make_run, tmp_path, monkeypatch):
    run = open_run(make_run(tmp_path, 8, photos=False, failed=0))
    study = study_of([run])
    material = Material(study, find_primary(study), find_reference(study))
    material.__dict__["maps"] = material.maps.filter(material.maps["is_truth"])
    (group,) = [g for g in choose(material) if g.key == "wrong"]
    assert group.panes == "one"
    assert "--target both" in group.lead
    assert len(group.picks) == 4


def test_maps_without_heat_of_every_kind(groups, material):
    group = groups["status"]
    assert [p.id for p in group.picks] == ["fox/p0001.png", "fox/p0002.png", "fox/p0003.png"]
    assert {material.sources[p.source].label for p in group.picks} == {"grad-cam@layer2"}


def test_failed_images_are_listed(groups):
    assert [p.id for p in groups["failed"].picks] == ["Ωmega/p0022.png", "Ωmega/p0023.png"]
    assert groups["failed"].panes == "none"


def test_sample_depends_on_ids_alone(groups, material):
    ids = [
        name for name, status in material.rows.select("id", "status").iter_rows() if status == "ok"
    ]
    rank = sorted(ids, key=lambda name: hashlib.sha256(f"page/{name}".encode()).digest())
    assert {p.id for p in groups["sample"].picks} == set(rank[:5])


def test_groups_without_images_are_left_out(make_run, tmp_path):
    run = open_run(
        make_run(tmp_path, 6, photos=False, failed=0, wrong=0, odd=False, methods=["cam"])
    )
    study = study_of([run])
    keys = [g.key for g in choose(Material(study, find_primary(study), find_reference(study)))]
    assert keys == ["best", "worst", "sample"]


def test_the_first_pair_is_not_of_equal_heat(made):
    study = study_of([made])
    first = choose(Material(study, find_primary(study), find_reference(study)), each=5)[0]
    shares = study.values("energy", "boxes")
    named = study.methods[first.other].name
    shares[named] = shares["cam"] + 1e-6
    material = Material(study, find_primary(study), find_reference(study))
    assert material.twins == {first.other}
    pairs = [group.other for group in choose(material, each=5) if group.panes == "pair"]
    assert pairs[-1] == first.other
    assert len(pairs) == 3
