"""The sanity question of a run: the same numbers as the functions it is made of, and nothing that ends it."""

import hashlib

import numpy as np
import polars as pl
import pytest
import torch

import saliscope as sc
from saliscope import metrics, runs
from saliscope.errors import MethodError, OptionError
from saliscope.methods import map_batch
from saliscope.runs import forgetting
from saliscope.runs.forgetting import (
    ANOTHER_CLASS,
    ANOTHER_PICTURE,
    LIKENESSES,
    SanitySample,
    sanity_maps,
    sanity_rows,
    sanity_samples,
    sanity_stages,
)
from saliscope.runs.subject import open_subject
from saliscope.runs.tables import SANITY

SEEDS = (0, 1)


@pytest.fixture
def subject_of(settings):
    """Open what a run of these methods is about, on pictures large enough for HOG."""
    return lambda *methods, **more: open_subject(
        settings(methods=list(methods), size="48", trivial=False, **more)
    )


def samples_of(subject, count=3):
    """The first photographs, each with its own class."""
    data = subject.data["all"]
    return [SanitySample(data.ids[i], i, "all", data.labels[i]) for i in range(count)]


def rows_of(subject, count=3, **more):
    more = {"seeds": SEEDS, "batch_size": 2} | more
    return sanity_rows(
        subject, subject.names[0], subject.specs[0], samples_of(subject, count), **more
    )


def pictures_of(subject, count=3):
    data = subject.data["all"]
    return subject.model.inputs([data[i].photo() for i in range(count)])[0]


def values(frame, **wanted):
    """The values of the rows that have these entries, in order."""
    return frame.filter(*[pl.col(k) == v for k, v in wanted.items()])["value"].to_numpy()


def plainly(method, **options):
    """The explainer of the same method by the front door, which looks at each network anew."""

    def explain(net, pictures, classes):
        return sc.attribute(net, pictures, classes, method=method, **options)

    return explain


def table(frame, how, kind, sample):
    """The values of one map by (stage, seed), and its chance."""
    own = frame.filter(how=how, likeness=kind, id=sample.id)
    cells = {(r["stage"], r["seed"]): r["value"] for r in own.to_dicts()}
    return cells, cells.pop((-1, SEEDS[0]), None)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("grad-cam@features.1", plainly("grad-cam@features.1", relu=False)),
        ("cam", plainly("cam")),
        ("guided-backprop", plainly("guided-backprop")),
    ],
)
def test_the_rows_are_those_of_the_functions(subject_of, written, plain):
    subject = subject_of(written)
    found, samples = rows_of(subject), samples_of(subject)
    assert dict(found.schema) == SANITY
    pictures, module = pictures_of(subject), subject.model.module
    classes = torch.tensor([s.target for s in samples])
    order = sanity_stages(subject.model)
    assert [s.name for s in order] == ["fc", "features.2", "features.0"]
    for how in ("cascading", "independent"):
        curve = metrics.randomisation_curve(
            plain,
            module,
            pictures,
            classes=classes,
            order=order,
            seeds=SEEDS,
            how=how,
            batch_size=2,
        )
        for kind in LIKENESSES:
            for i, sample in enumerate(samples):
                cells, chance = table(found, how, kind, sample)
                expected = {
                    (k, seed): curve.values[kind][k, s, i]
                    for k in range(4)
                    for s, seed in enumerate(SEEDS)
                }
                assert cells == pytest.approx(expected, abs=1e-6, nan_ok=True)
                assert chance == pytest.approx(curve.chance[kind][i], abs=1e-6, nan_ok=True)
        named = found.filter(how=how)["stage", "stage_name"].unique().sort("stage").rows()
        assert named == [(-1, ANOTHER_PICTURE), *enumerate(curve.stages)]
    for seed in SEEDS:
        other = metrics.random_logit(
            plain, module, pictures, classes=classes, seed=seed, batch_size=2
        )
        for kind in LIKENESSES:
            own = values(found, how="random-logit", likeness=kind, seed=seed)
            np.testing.assert_allclose(own, other.values[kind], atol=1e-6)
    assert set(found.filter(how="random-logit")["stage_name"]) == {ANOTHER_CLASS}


def test_every_row_says_whose_it_is(subject_of):
    subject = subject_of("grad-cam")
    found, samples = rows_of(subject), samples_of(subject)
    assert set(found["spec"]) == {"grad-cam"}
    assert found["id", "index", "split", "target"].unique(maintain_order=True).rows() == [
        (s.id, s.index, s.split, s.target) for s in samples
    ]
    per_image = 4 * (
        2 * (1 + 2 * 4) + 2
    )  # likenesses, (chance, seeds x stages) twice, another class
    assert len(found) == 3 * per_image


@pytest.mark.parametrize("method", ["edges", "centre", "random"])
def test_what_knows_no_network_lasts_for_ever(subject_of, method):
    found = rows_of(subject_of(method)).filter(pl.col("stage") >= 0)
    assert len(found) == 3 * 4 * (2 * 2 * 4 + 2)
    assert (found["value"] == 1).all()


MANY = (
    "hires-cam", "eigen-cam", "full-grad", "gradient", "guided-grad-cam", "mwp", "lrp", "shuffled",
    "integrated-gradients:steps=3", "score-cam", "ablation-cam", "occlusion", "rise:masks=8",
    "kernel-shap:samples=8", "grad-cam@features.1+features.3", "grad-cam:smooth=2",
)  # fmt: skip


@pytest.mark.parametrize("method", MANY)
def test_every_kind_of_method_can_be_asked(subject_of, method, caplog):
    subject = subject_of(method)
    found = rows_of(subject, seeds=(0,), hows=("cascading", "random-logit"))
    assert not caplog.records
    assert (values(found, how="cascading", stage=0, likeness="spearman") == 1).all()
    last = values(found, how="cascading", stage=3, likeness="spearman")
    assert (last < 1).any()
    blind = values(found, how="random-logit", likeness="spearman")
    if not subject.specs[0].method.class_discriminative:
        assert (blind == 1).all()


def test_the_network_is_as_it_was(subject_of):
    subject = subject_of("guided-grad-cam")
    module = subject.model.module.train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    rows_of(subject, count=2, seeds=(0,))
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())


def test_a_class_is_fixed_whatever_the_network_predicts(subject_of):
    subject = subject_of("cam")
    asked = []

    def noting(network, pictures, specs, *, target, **more):
        asked.extend(target.tolist())
        return map_batch(network, pictures, specs, target=target, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting, "map_batch", noting)
        rows_of(subject, hows=("cascading",), seeds=(0,))
    own = [s.target for s in samples_of(subject)]
    assert asked == own * 5  # before, unchanged, and three stages


def failing(when, error=MethodError):
    """`map_batch`, but for networks and pictures for which it raises."""

    def made(network, pictures, specs, **more):
        if when(network, pictures):
            raise error("nothing to see here\nsecond line")
        return map_batch(network, pictures, specs, **more)

    return made


@pytest.mark.parametrize("error", [MethodError, RuntimeError, ZeroDivisionError])
def test_what_fails_on_a_network_that_forgot_is_nan_and_counted(
    subject_of, monkeypatch, caplog, error
):
    subject = subject_of("grad-cam@features.1")
    whole = rows_of(subject)
    weight = subject.model.module.features[2].weight

    def forgot(network, _):
        return not torch.equal(network.module.features[2].weight, weight)

    monkeypatch.setattr(forgetting, "map_batch", failing(forgot, error))
    found = rows_of(subject)
    broken = (pl.col("how") == "cascading") & (pl.col("stage") >= 2)
    broken |= (pl.col("how") == "independent") & (pl.col("stage") == 2)
    assert found.filter(broken)["value"].is_nan().all()
    assert found.filter(~broken).equals(whole.filter(~broken))
    assert [r.getMessage() for r in caplog.records] == [
        f"grad-cam@features.1, {how}: {n} maps could not be made; the first: nothing to see here"
        for how, n in (("cascading", 3 * 2 * 2), ("independent", 3 * 2))
    ]


def test_one_picture_that_fails_takes_no_other_with_it(subject_of, monkeypatch):
    subject = subject_of("grad-cam@features.1")
    whole, (first, second, third) = rows_of(subject), samples_of(subject)
    fails = pictures_of(subject)[1]
    monkeypatch.setattr(
        forgetting, "map_batch", failing(lambda _, x: any(torch.equal(p, fails) for p in x))
    )
    found = rows_of(subject)
    assert found.filter(pl.col("id") == second.id)["value"].is_nan().all()
    for sample in (first, third):
        own = (pl.col("id") == sample.id) & (pl.col("stage") >= 0)
        np.testing.assert_allclose(
            found.filter(own)["value"], whole.filter(own)["value"], atol=1e-6
        )


def test_a_method_that_cannot_be_asked_at_all_has_rows_all_the_same(
    subject_of, monkeypatch, caplog
):
    subject = subject_of("grad-cam")
    whole = rows_of(subject)
    monkeypatch.setattr(forgetting, "map_batch", failing(lambda *_: True))
    found = rows_of(subject)
    assert found["value"].is_nan().all()
    assert found.drop("value").equals(whole.drop("value"))
    assert len(caplog.records) == 3


def test_a_picture_that_is_gone_is_nan(subject_of, photos, caplog):
    subject = subject_of("edges")
    samples = samples_of(subject)
    (photos / samples[1].id).write_bytes(b"no picture")
    found = rows_of(subject)
    gone = pl.col("id") == samples[1].id
    assert found.filter(gone)["value"].is_nan().all()
    assert (found.filter(~gone & (pl.col("stage") >= 0))["value"] == 1).all()
    assert "can no longer be read" in caplog.text


def test_no_picture_at_all(subject_of, photos):
    subject = subject_of("edges")
    samples = samples_of(subject)
    whole = rows_of(subject)
    for sample in samples:
        (photos / sample.id).write_bytes(b"no picture")
    found = rows_of(subject)
    assert found["value"].is_nan().all()
    assert found.drop("value").equals(whole.drop("value"))


def test_progress_counts_every_map(subject_of):
    subject = subject_of("grad-cam")
    told = []
    rows_of(subject, tell=told.append)
    assert sum(told) == sanity_maps(3, 3, seeds=SEEDS)
    assert sanity_maps(24, 8) == 24 * (2 * (2 + 3 * 8) + 6)
    assert sanity_maps(24, 8, seeds=(0,), hows=("random-logit",)) == 48


def test_what_cannot_be_asked_is_refused(subject_of):
    subject = subject_of("edges")
    with pytest.raises(OptionError, match=r'in no way called "cascade"; nearest: "cascading"'):
        rows_of(subject, hows=("cascade",))
    with pytest.raises(
        OptionError, match=r"seeds are different numbers, at least one; got \[0, 0\]"
    ):
        rows_of(subject, seeds=(0, 0))
    with pytest.raises(OptionError, match=r"seeds are different numbers, at least one; got \[\]"):
        rows_of(subject, seeds=())


def test_samples_of_a_finished_run(finished):
    run = runs.open_run(finished)
    maps = run.maps.filter(pl.col("spec") == "cam")
    data = [name for name in maps["id"].unique(maintain_order=True) if name != "owl/p2.png"]
    few, more = (sanity_samples(maps, n) for n in (4, 7))
    assert len(few) == 4
    assert [s.index for s in more] == sorted(s.index for s in more)
    assert set(few) < set(more) < set(sanity_samples(maps, 99))
    assert {s.id for s in sanity_samples(maps, 99)} == set(data)
    ranks = sorted(data, key=lambda i: hashlib.sha256(f"limit/{i}".encode()).digest())
    assert {s.id for s in few} == set(ranks[:4])
    truth = dict(run.images.select("id", "truth").rows())
    assert all(s.target == truth[s.id] for s in more)


def test_the_class_of_a_sample():
    rows = [
        ("a", 0, "test", "ok", 4, 0, False), ("a", 0, "test", "ok", 7, 3, True),
        ("a", 0, "test", "zero", 5, 2, True), ("b", 1, "test", "ok", 1, 0, False),
        ("c", 2, "test", "failed", None, None, None),
    ]  # fmt: skip
    names = ["id", "index", "split", "status", "target", "rank", "is_truth"]
    maps = pl.DataFrame(rows, schema=names, orient="row")
    assert sanity_samples(maps, 9) == [
        SanitySample("a", 0, "test", 5), SanitySample("b", 1, "test", 1),
    ]  # fmt: skip
    assert sanity_samples(maps.head(0), 9) == []
