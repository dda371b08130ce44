import json

import pytest

from saliscope.models.folders import SCHEMA
from saliscope.report.study.naming import run_names, trainings_of
from saliscope.report.study.together import study_of


def test_one_run_needs_no_name(make_run):
    run = make_run(n=2)
    assert run_names([run]) == ("",)
    assert [m.name for m in study_of([run]).networks] == ["cam", "grad-cam@layer4"]


@pytest.mark.parametrize(
    ("one", "two", "names"),
    [
        ({}, {"resolved": {"model": "vgg16 (pretrained)"}}, ("resnet50", "vgg16")),
        ({}, {"data": "other"}, ("made", "other")),
        ({}, {"target": "predicted"}, ("truth logit", "predicted logit")),
        (
            {"resolved": {"model": "resnet50 (a)"}},
            {"resolved": {"model": "resnet50 (b)"}},
            ("a", "b"),
        ),
        ({}, {}, ("run1", "run2")),
    ],
)
def test_runs_are_named_by_what_differs(make_run, one, two, names):
    assert run_names([make_run("run1", n=2, **one), make_run("run2", n=2, **two)]) == names


def test_equal_folders_are_numbered(make_run):
    runs = [make_run("x/run", n=2), make_run("y/run", n=2)]
    assert run_names(runs) == ("run #1", "run #2")


def test_network_and_data_tell_four_runs_apart(make_run):
    runs = [
        make_run(f"{model}{data}", n=2, data=data, resolved={"model": f"{model} (pretrained)"})
        for model in ("a", "b") for data in ("x", "y")
    ]  # fmt: skip
    assert run_names(runs) == ("a, x", "a, y", "b, x", "b, y")


def trained(folder, seed, learning_rate=0.01):
    folder.mkdir()
    facts = {
        "schema": SCHEMA, "model": "resnet50", "num_classes": 1, "classes": ["a"], "source": None,
        "preprocessing": {"size": [224, 224], "mean": [0, 0, 0], "std": [1, 1, 1], "resize": "squash"},
        "recipe": {"seed": seed, "learning_rate": learning_rate}, "seed": seed,
        "data": {"name": "d", "fingerprint": "f"}, "weights": {"sha256": str(seed)},
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(facts))
    return {"model": str(folder), "resolved": {"model": f"resnet50 ({folder.name})"}, "seed": seed}


def test_trainings_of_one_recipe_belong_together(make_run, tmp_path):
    runs = [
        make_run(f"r{i}", n=2, **trained(tmp_path / f"t{i}", i, 0.01 if i < 2 else 0.5)) for i in range(3)
    ]  # fmt: skip
    (group,) = trainings_of(runs)
    assert group.runs == (0, 1)
    assert group.known


def test_without_their_folders_equal_settings_have_to_do(make_run):
    runs = [
        make_run(f"r{i}", n=2, seed=i, model=f"gone/{i}", resolved={"model": f"resnet50 ({i})"}) for i in range(2)
    ]  # fmt: skip
    (group,) = trainings_of(runs)
    assert group.runs == (0, 1)
    assert not group.known


def test_the_same_weights_are_no_two_trainings(make_run):
    assert trainings_of([make_run("a", n=2), make_run("b", n=2)]) == ()
    other = make_run("c", n=2, seed=1, resolved={"model": "vgg16 (pretrained)"})
    assert trainings_of([make_run("d", n=2), other]) == ()
