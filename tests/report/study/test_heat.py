"""What is read of maps and pixels: identity, statuses, PxAP, heat outside boxes."""

import numpy as np
import polars as pl
import pytest

from saliscope.metrics import PixelAP
from saliscope.report.study.flat import grids_of, read_statuses
from saliscope.report.study.identity import same_heat
from saliscope.report.study.outside import outside_by_class, t_interval
from saliscope.report.study.pixels import pixel_precision
from saliscope.report.study.together import study_of
from saliscope.runs.tables import to_bytes


def with_maps(run, maps):
    """The run with maps by method: (n, cells) each."""
    rows = run.maps
    lists = [None] * len(rows)
    for i, (spec, index) in enumerate(rows.select("spec", "index").rows()):
        lists[i] = maps[spec][index].tolist() if spec in maps else [0.0]
    changed = rows.with_columns(map=pl.Series(lists, dtype=pl.List(pl.Float32)))
    run.place.write("maps/part-0000.parquet", to_bytes(changed))
    return type(run)(run.place.address)


def test_cam_and_grad_cam_are_one_method_where_their_heat_is(make_run):
    cam = np.random.default_rng(0).normal(size=(6, 49)).astype(np.float32)
    run = with_maps(make_run(n=6), {"cam": cam, "grad-cam@layer4": np.maximum(cam, 0) / 49})
    (found,) = same_heat(run)
    assert (found.cam, found.grad_cam, found.layer, found.maps) == (
        "cam",
        "grad-cam@layer4",
        "layer4",
        6,
    )
    assert found.identical
    assert found.largest < 1e-6


def test_another_map_is_another_method(make_run):
    cam = np.abs(np.random.default_rng(0).normal(size=(6, 49))).astype(np.float32)
    other = cam.copy()
    other[4, 7] += 0.5 * cam[4].max()
    (found,) = same_heat(with_maps(make_run(n=6), {"cam": cam, "grad-cam@layer4": other}))
    assert not found.identical
    assert found.largest > 0.1


def test_other_layers_are_not_compared(make_run):
    assert same_heat(make_run(n=3, methods=("cam", "grad-cam@layer3"))) == ()


def test_statuses_are_counted_once(make_run):
    run = make_run(
        n=5, target="both", wrong=0.9, statuses={"cam": ["zero", "ok", "constant", "ok", "zero"]}
    )
    found = {(s, status): n for s, status, n in read_statuses(run).rows()}
    assert found["cam", "zero"] == 2
    assert found["cam", "ok"] == 2
    assert found["edges", "ok"] == 5
    assert grids_of(run) == dict.fromkeys(run.methods, (7, 7))


def test_pixel_precision_is_that_of_the_pooled_pixels(make_run):
    run = make_run(n=12, masks=("body", "fox"))
    found = pixel_precision(study_of([run], replicates=200))
    assert set(found) == {(m, s) for m in ("body", "class") for s in run.methods}
    pooled = PixelAP()
    for inside, outside in (
        run.pixels.filter(spec="cam", mask="body").select("inside", "outside").rows()
    ):
        pooled.update_histogram(np.array(inside), np.array(outside))
    assert found["body", "cam"].estimate == pytest.approx(pooled.compute().value)
    assert found["body", "cam"].low < found["body", "cam"].estimate < found["body", "cam"].high
    assert found["body", "cam"].n == 12


def test_pools_of_bins_hardly_change_an_interval(make_run, monkeypatch):
    from saliscope.report.study import pixels

    study = study_of([make_run(n=30, masks=("body",))], replicates=300)
    pooled = pixel_precision(study)["body", "cam"]
    monkeypatch.setattr(pixels, "_pools", lambda counts, cost: np.arange(len(counts)))
    exact = pixel_precision(study)["body", "cam"]
    wide = exact.high - exact.low
    assert pooled.estimate == exact.estimate
    assert abs(pooled.low - exact.low) < 0.02 * wide
    assert abs(pooled.high - exact.high) < 0.02 * wide


def test_without_masks_there_is_no_pixel_precision(make_run):
    assert pixel_precision(study_of([make_run(n=3)])) == {}


def test_a_class_with_unexpected_heat_outside_stands_out(make_run):
    energy = np.full(80, 0.9) + 0.01 * np.sin(np.arange(80))
    energy[np.arange(80) % 4 == 2] -= 0.4
    run = make_run(n=80, classes=4, values={("cam", "energy", "boxes"): energy})
    study = study_of([run])
    found = outside_by_class(study, study.method("cam"))
    assert [c.name for c in found if c.stands_out] == ["class 2"]
    first = found[0]
    own = (1 - energy)[np.arange(80) % 4 == 2]
    assert first.n == 20
    assert first.outside == pytest.approx(own.mean())
    assert first.low < first.outside < first.high
    share = study.units["share"].to_numpy()
    assert first.even == pytest.approx((1 - share)[np.arange(80) % 4 == 2].mean())
    assert first.more == pytest.approx(first.outside - first.expected)


def test_small_objects_alone_make_no_class_stand_out(make_run):
    share = np.where(np.arange(120) % 4 == 2, 0.1, 0.6) + 0.02 * np.sin(np.arange(120))
    energy = np.clip(share + 0.05 + np.random.default_rng(4).normal(0, 0.03, 120), 0, 1)
    values = {("cam", "energy", "boxes"): energy, ("full-box", "energy", "boxes"): share}
    study = study_of([make_run(n=120, classes=4, values=values)])
    found = outside_by_class(study, study.method("cam"))
    assert max(c.outside for c in found) > 0.8
    assert not any(c.stands_out for c in found)


def test_expected_heat_is_that_of_objects_of_that_size(make_run):
    energy = np.random.default_rng(2).random(100)
    run = make_run(n=100, values={("cam", "energy", "boxes"): energy})
    study = study_of([run])
    share = study.units["share"].to_numpy()
    order = sorted(range(100), key=lambda i: 1 - share[i])
    expected = np.empty(100)
    for b in range(5):
        rows = order[20 * b : 20 * (b + 1)]
        slope, start = np.polyfit((1 - share)[rows], 1 - energy[rows], 1)
        expected[rows] = start + slope * (1 - share)[rows]
    for one in outside_by_class(study, study.method("cam")):
        own = np.array([f"class {i % 4}" == one.name for i in range(100)])
        assert one.expected == pytest.approx(expected[own].mean())


def test_undefined_energy_says_nothing_of_classes(make_run):
    study = study_of([make_run(n=8, values={("cam", "energy", "boxes"): np.full(8, np.nan)})])
    assert outside_by_class(study, study.method("cam")) == ()


def test_students_interval():
    low, high = t_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    half = 2.776445 * 2.5**0.5 / 5**0.5
    assert (low, high) == pytest.approx((3 - half, 3 + half), rel=1e-6)
    assert np.isnan(t_interval(np.array([0.1, 0.2, 0.3, 0.4]))).all()


def test_students_interval_keeps_within_the_score():
    values = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    low, high = t_interval(values)
    assert low < 0
    assert high > 1
    assert t_interval(values, (0.0, 1.0)) == (0.0, 1.0)


def test_small_classes_have_no_interval_and_no_impossible_share(make_run):
    energy = np.tile([0.02, 0.98, 0.5], 5)[:15]
    study = study_of([make_run(n=15, classes=5, values={("cam", "energy", "boxes"): energy})])
    found = outside_by_class(study, study.method("cam"))
    assert [c.n for c in found] == [3] * 5
    assert np.isnan([(c.low, c.high, c.pvalue) for c in found]).all()
    assert all(0 <= c.expected <= 1 for c in found)


def test_expected_shares_are_shares(make_run):
    random = np.random.default_rng(0)
    share = random.uniform(0.02, 0.98, 25)
    values = {
        ("cam", "energy", "boxes"): (share > 0.5).astype(float),
        ("full-box", "energy", "boxes"): share,
    }
    study = study_of([make_run(n=25, classes=25, values=values)])
    expected = [c.expected for c in outside_by_class(study, study.method("cam"))]
    assert (min(expected), max(expected)) == (0.0, 1.0)


def test_the_images_of_a_second_run_have_expected_heat_too(make_run):
    study = study_of([make_run("a", n=8), make_run("b", n=8, split="val")])
    found = outside_by_class(study, study.method("val · cam"))
    assert sum(c.n for c in found) == 8
    assert np.isfinite([c.expected for c in found]).all()


def test_heat_without_known_shares_says_nothing_of_classes(make_run):
    energy = np.linspace(0.1, 0.9, 8)
    values = {("cam", "energy", "boxes"): energy}
    run = make_run(n=8, trivial=False, values=values, images={"share": None})
    study = study_of([run])
    assert outside_by_class(study, study.method("cam")) == ()
