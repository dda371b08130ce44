"""The stage in which the network forgets: each method is followed once, stored, and continued."""

import pytest
from polars.testing import assert_frame_equal

from asked_world import METHODS, cut, model_of, settings_of
from saliscope import runs
from saliscope.runs.forgetting import sanity_rows, sanity_samples
from saliscope.runs.subject import open_subject


def test_the_network_forgets_and_each_method_is_followed_once(
    world, data, model, tmp_path, monkeypatch, watch
):
    told = watch()
    settings = settings_of(world, data, ask=("sanity",), sanity_images=3, limit=6)
    runs.evaluate(settings, tmp_path, model=model_of(model), watch=told)
    run = runs.open_run(tmp_path)
    count = len(run.methods)
    assert told.begun[-1] == ("randomise", 3 * count, 0)
    assert set(run.sanity["spec"]) == set(run.methods)
    assert run.sanity["id"].n_unique() == 3
    assert run.answers.is_empty()
    spec = dict(zip(run.methods, open_subject(settings, model_of(model)).specs, strict=True))[
        "gradient"
    ]
    subject = open_subject(settings, model_of(model))
    samples = sanity_samples(run.maps, 3)
    expected = sanity_rows(subject, "gradient", spec, samples)
    own = run.sanity.filter(spec="gradient")
    order = ["id", "how", "likeness", "stage", "seed"]
    assert_frame_equal(own.sort(order), expected.sort(order), abs_tol=1e-6)
    monkeypatch.setattr("saliscope.runs.answering.sanity_rows", None)
    runs.measure(tmp_path, model=model_of(model), ask=("sanity",), sanity_images=3)
    monkeypatch.setattr("saliscope.runs.answering._same_subject", None)
    runs.measure(tmp_path, protocols=["cam2016"])  # without the network
    assert set(runs.open_run(tmp_path).sanity["spec"]) == set(run.methods)


def test_sanity_follows_the_images_that_there_are(world, data, model, tmp_path):
    settings = settings_of(world, data, ask=("sanity",), sanity_images=4, limit=2)
    runs.evaluate(settings, tmp_path / "grown", model=model_of(model))
    assert runs.open_run(tmp_path / "grown").sanity["id"].n_unique() == 2
    whole = settings.model_copy(update={"limit": None})
    runs.evaluate(whole, tmp_path / "grown", model=model_of(model))
    runs.evaluate(whole, tmp_path / "whole", model=model_of(model))
    for shard in ("1/2", "2/2"):
        part = whole.model_copy(update={"shard": shard})
        runs.evaluate(part, tmp_path / "sharded", model=model_of(model))
    expected = runs.open_run(tmp_path / "whole").sanity
    assert expected["id"].n_unique() == 4
    for folder in ("grown", "sharded"):
        found = runs.open_run(tmp_path / folder).sanity
        assert_frame_equal(found, expected, abs_tol=1e-5)
    assert (
        expected.filter(likeness="hog")["value"].is_nan().all()
    )  # pictures of 24 pixels are too small for it
    assert expected.filter(likeness="spearman", stage=0)["value"].is_finite().any()


def test_a_method_that_is_written_is_not_followed_again(world, data, model, tmp_path, monkeypatch):
    settings = settings_of(world, data, ask=("sanity",), sanity_images=2, limit=4)
    from saliscope.runs import answering

    own, names = answering.sanity_rows, []

    def stopping(subject, name, *args, **options):
        names.append(name)
        if len(names) == 2:
            raise KeyboardInterrupt
        return own(subject, name, *args, **options)

    monkeypatch.setattr(answering, "sanity_rows", stopping)
    with pytest.raises(KeyboardInterrupt):
        runs.evaluate(settings, tmp_path, model=model_of(model))
    assert runs.open_run(tmp_path).half_asked
    runs.evaluate(settings, tmp_path, model=model_of(model))
    assert names == [METHODS[0], METHODS[1], METHODS[1], "random", "centre", "edges"]
    assert not runs.open_run(tmp_path).half_asked
    whole = runs.open_run(tmp_path).sanity
    assert set(whole["spec"]) == {*METHODS, "random", "centre", "edges"}
    cut(sorted((tmp_path / "sanity").iterdir())[1])
    runs.measure(tmp_path, model=model_of(model))
    assert names[6:] == [METHODS[1]]  # and one that was damaged since
    assert runs.open_run(tmp_path).sanity.equals(whole, null_equal=True)


def test_what_the_sanity_of_probes_takes_is_said_before_it_begins(
    world, data, model, tmp_path, watch
):
    """Of two images each probe is asked for images x (2 x (2 + 3 seeds x stages) + 6) maps."""
    methods = ("gradient", "occlusion:patch=0.5:stride=0.5", "lime:samples=8:segments=4")
    settings = settings_of(world, data, ask=("sanity",), sanity_images=2, methods=methods, limit=2)
    told, order = watch(), []
    told.say = lambda message: order.append(message)
    told.begin = lambda stage, *_: order.append(stage)
    runs.evaluate(settings, tmp_path, model=model_of(model), watch=told)
    stages = runs.open_run(tmp_path).sanity.filter(how="cascading")["stage"].max()
    names = [name for name in runs.open_run(tmp_path).methods if name.startswith(("occ", "lime"))]
    assert (
        f"sanity makes {2 * (2 * (2 + 3 * stages) + 6)} maps each of {', '.join(names)}, and for every one"
        in order[-2]
    )
    assert "; fewer with --sanity-images (now 2), none where --ask leaves sanity out" in order[-2]
    assert order[-1] == "randomise"
    order.clear()
    runs.measure(tmp_path, model=model_of(model), watch=told)
    sorted((tmp_path / "sanity").iterdir())[0].unlink()  # that of the gradient, which is no probe
    runs.measure(tmp_path, model=model_of(model), watch=told)
    assert order.count("randomise") == 1
    assert not [said for said in order if said.startswith("sanity makes")]
