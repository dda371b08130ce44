import io
import json
import math
import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box, iou
from saliscope.errors import OptionError
from saliscope.explanation import Explanation, Target
from saliscope.frames import Frame
from saliscope.images import Photo
from saliscope.keeping import file_base, maps_npz
from saliscope.localization import find_box, normalise, status_of
from saliscope.pictures import blend, colour_table
from saliscope.views import View, panel_of

DOG = Target(207, "golden retriever", "logit", 9.25, 0.75)
CAT = Target(281, "tabby", "logit", 3.5, 0.125)


def explain(grid, size=(60, 80), **changes):
    grid = np.asarray(grid, np.float32)
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    parts = {
        "map": grid,
        "frame": Frame.squash(size, (32, 32)),
        "target": DOG,
        "status": status_of(grid),
        "method": "grad-cam",
        "layer": "layer4",
        "model": "resnet50",
        "photo": Photo(pixels, "rex.jpg"),
        "predicted": DOG,
        "seconds": 0.5,
    }
    return Explanation(**{**parts, **changes})


def peak(size=7, at=(2, 3)):
    grid = np.zeros((size, size), np.float32)
    grid[at] = 2.0
    grid[0, 0] = -1.0
    return grid


def test_heatmap_is_upsampled_first_and_normalised_then():
    ex = explain(peak())
    up = ex.frame.map_to_source(ex.map)
    assert np.array_equal(ex.signed(), up)
    assert np.allclose(ex.heatmap(), (up - up.min()) / (up.max() - up.min()), atol=1e-6)
    assert np.allclose(ex.heatmap("max"), np.maximum(up, 0) / up.max(), atol=1e-6)
    assert np.array_equal(ex.heatmap("none"), up)
    with pytest.raises(OptionError, match='normalisation "minmax" is unknown'):
        ex.heatmap("minmax")


def test_views_are_made_anew_and_leave_the_map_alone():
    ex = explain(peak())
    before = ex.map.copy()
    ex.signed()[:] = 5
    ex.heatmap("none")[:] = 5
    assert np.array_equal(ex.map, before)
    assert ex.signed().max() < 3


def test_box_and_iou_follow_the_protocol():
    ex = explain(peak())
    for protocol in ("yang2025", "cam2016", "gradcam2017:threshold=0.4"):
        assert ex.box(protocol) == find_box(ex.signed(), protocol)
        truth = Box(20, 10, 50, 40)
        assert ex.iou(truth, protocol=protocol) == iou(ex.box(protocol), truth)
    assert ex.iou(truth, convention="inclusive") == iou(ex.box(), truth, convention="inclusive")
    with pytest.raises(OptionError, match='protocol "yang" is unknown'):
        ex.box("yang")


def test_iou_takes_the_best_instance_and_nothing_annotated_is_undefined():
    ex = explain(peak())
    box = ex.box("cam2016")
    assert ex.iou([Box(0, 0, 1, 1), box], protocol="cam2016") == 1.0
    assert math.isnan(ex.iou([]))


@pytest.mark.parametrize(
    ("grid", "status"),
    [
        (np.zeros((4, 4)), "zero"),
        (np.full((4, 4), 2.0), "constant"),
        (np.array([[1, np.inf]]), "nonfinite"),
    ],
)
def test_flat_maps_have_no_box_score_0_and_say_so_on_every_picture(grid, status):
    ex = explain(grid, size=(120, 160))
    assert ex.status == status
    assert ex.box() is None
    assert ex.iou(Box(0, 0, 160, 120)) == 0.0
    chip = np.array((255, 214, 90))
    for picture in (ex.overlay(), ex.panel()):
        assert (np.asarray(picture) == chip).all(axis=2).any()
    assert f"status: {status}" in ex._repr_html_()
    assert status in repr(ex)


def test_negative_map_is_marked_too():
    ex = explain(-peak() - 3)
    assert (np.asarray(ex.overlay()) == (255, 214, 90)).all(axis=2).any()


def test_overlay_is_the_blend_at_the_photographs_size():
    ex = explain(peak())
    picture = ex.overlay(alpha=0.25, colormap="jet", normalise="max")
    expected = blend(ex.photo.pixels, ex.heatmap("max"), alpha=0.25, colormap="jet")
    assert np.array_equal(np.asarray(picture), expected)
    assert picture.mode == "RGB"


def test_overlay_colours_what_a_crop_saw_and_nothing_else():
    size = (40, 100)
    grey = np.full((*size, 3), 100, np.uint8)
    frame = Frame.crop(size, (32, 32), shorter=32)
    grid = np.array([[0.0, 1.0], [0.0, 1.0]])
    ex = explain(grid, size, frame=frame, photo=Photo(grey))
    picture = np.asarray(ex.overlay(alpha=1.0)).astype(int)
    assert (frame.seen.x0, frame.seen.x1) == (30, 70)
    coloured = np.ptp(picture, axis=2).max(axis=0) > 0
    assert not coloured[:30].any()
    assert not coloured[70:].any()
    assert picture[20, 69].tolist() == colour_table()[255].tolist()
    assert np.isnan(ex.heatmap()[:, :30]).all()


def test_overlay_of_a_letterbox_reaches_every_pixel():
    size = (40, 100)
    ex = explain(peak(), size, frame=Frame.letterbox(size, (32, 32)))
    assert np.isfinite(ex.heatmap()).all()
    assert ex.overlay().size == (100, 40)


def test_the_same_heat_has_the_same_colour_in_two_photographs():
    grey = Photo(np.full((20, 20, 3), 80, np.uint8))
    weak, strong = (explain(np.full((2, 2), h), (20, 20), photo=grey) for h in (0.25, 1.0))
    mixed = explain([[0.25, 1.0], [0.25, 1.0]], (20, 20), photo=grey)
    look = {"normalise": "none", "alpha": 1.0}
    column = np.asarray(mixed.overlay(**look))[5]
    assert column[0].tolist() == np.asarray(weak.overlay(**look))[0, 0].tolist()
    assert column[-1].tolist() == np.asarray(strong.overlay(**look))[0, 0].tolist()


def test_specification_puts_the_layer_before_the_options():
    assert explain(peak()).spec == "grad-cam@layer4"
    assert explain(peak(), method="grad-cam:relu=false,sign=negative").spec == (
        "grad-cam@layer4:relu=false,sign=negative"
    )
    assert explain(peak(), method="random:seed=3", layer=None).spec == "random:seed=3"


def test_save_writes_four_files_that_hold_the_explanation(tmp_path):
    ex = explain(peak(), method="grad-cam:relu=false", predicted=CAT)
    truth = Box(20, 10, 50, 40)
    paths = ex.save(tmp_path / "new" / "folder", truth=truth, protocol="cam2016")
    base = "rex.grad-cam@layer4_relu=false"
    assert [p.name for p in paths] == [
        f"{base}.overlay.jpg", f"{base}.panel.jpg", f"{base}.npz", f"{base}.json",
    ]  # fmt: skip
    assert sorted(p.name for p in paths[0].parent.iterdir()) == sorted(p.name for p in paths)
    with Image.open(paths[0]) as overlay:
        assert overlay.size == (80, 60)
    facts = json.loads(paths[3].read_text())
    assert facts["target"] == 207
    assert facts["predicted_label"] == "tabby"
    assert facts["box"] == list(ex.box("cam2016"))
    assert facts["iou"] == ex.iou(truth, protocol="cam2016")
    assert (facts["protocol"], facts["status"], facts["map_max"]) == ("cam2016", "ok", 2.0)


def test_saved_map_comes_back_exactly(tmp_path):
    ex = explain(peak())
    path = ex.save(tmp_path)[2]
    with np.load(path, allow_pickle=False) as kept:
        assert np.array_equal(kept["map_0"], ex.map)
        assert kept["map_0"].dtype == np.float32
        frame = Frame(
            tuple(kept["frame_source"].tolist()),
            Box(*kept["frame_region"]),
            tuple(kept["frame_size"].tolist()),
        )
        assert frame == ex.frame
        (facts,) = json.loads(str(kept["facts"]))
    assert (facts["spec"], facts["target"], facts["probability"]) == ("grad-cam@layer4", 207, 0.75)


def test_many_maps_share_one_archive_in_order():
    first, second = explain(peak()), explain(2 * peak())
    with np.load(io.BytesIO(maps_npz([first, second])), allow_pickle=False) as kept:
        assert np.array_equal(kept["map_1"], second.map)
        assert len(json.loads(str(kept["facts"]))) == 2


def test_undefined_numbers_are_null_in_json_and_npz(tmp_path):
    target = Target(None, None, "callable")
    ex = explain(np.array([[np.nan, 1.0]]), target=target)
    paths = ex.save(tmp_path, "x")
    facts = json.loads(paths[3].read_text(), parse_constant=pytest.fail)
    assert facts["logit"] is None
    assert facts["target"] is None
    assert facts["map_max"] is None
    assert facts["iou"] is None
    with np.load(paths[2], allow_pickle=False) as kept:
        (facts,) = json.loads(str(kept["facts"]), parse_constant=pytest.fail)
    assert facts["logit"] is None
    assert facts["target"] is None


def test_saving_again_replaces_and_gives_the_same_bytes(tmp_path):
    first = [p.read_bytes() for p in explain(peak()).save(tmp_path)]
    second = [p.read_bytes() for p in explain(peak()).save(tmp_path)]
    assert first == second
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("stem", "spec", "expected"),
    [
        ("dog", "cam@features.0", "dog.cam@features.0"),
        ("a/b:c", "m@x|y?:z=*", "a_b_c.m@x_y__z=_"),
        ("con", "cam", "_con.cam"),
        ("COM1", "cam", "_COM1.cam"),
        ("console", "cam", "console.cam"),
        ("", "cam", "image.cam"),
        ("강아지", "cam", "강아지.cam"),
        ("..", "cam. ", "...cam"),
    ],
)
def test_file_names_suit_every_system(stem, spec, expected):
    assert file_base(stem, spec) == expected


def test_long_names_are_cut_and_stay_different(tmp_path):
    one, two = file_base("강" * 300 + "a", "cam"), file_base("강" * 300 + "b", "cam")
    assert one != two
    assert len(one.encode()) <= 200
    assert all(p.exists() for p in explain(peak()).save(tmp_path, "x" * 4000))


def test_repr_says_what_when_and_how_much():
    assert repr(explain(peak())) == (
        "<Explanation grad-cam@layer4 of golden retriever (#207): logit 9.25, probability 0.75; "
        "map 7×7 in [-1, 2], ok>"
    )
    assert repr(Target(3, None, "probability", 1.0, 0.5)) == (
        "<Target probability of #3: logit 1, probability 0.5>"
    )
    assert str(Target(None, None, "callable")) == "callable target"
    assert str(Target(1, "x", "logit", -2.0, 0.25)) == "x (#1)   logit −2.00   probability 0.250"


def picture_in(page):
    return b64decode(re.search(r"data:image/webp;base64,([^\"]+)", page)[1])


@pytest.mark.parametrize("size", [(1, 1), (60, 80), (700, 40), (2000, 3000)])
def test_notebook_view_is_small_whatever_the_photograph(size):
    page = explain(peak(), size)._repr_html_()
    assert len(page) <= 200_000
    with Image.open(BytesIO(picture_in(page))) as image:
        image.load()
        assert image.width <= 640


def test_notebook_table_has_the_numbers_and_escapes_labels():
    page = explain(peak(), target=Target(1, "<b>&\"'", "logit", 2.0, 0.5))._repr_html_()
    assert "&lt;b&gt;&amp;&quot;&#x27; (#1) · logit 2.00 · probability 0.500" in page
    assert "<b>" not in page
    assert "7 × 7, -1 to 2 · status: ok" in page
    assert "golden retriever (#207)" in page
    assert page.count("<tr") == 5


def test_panel_of_needs_explanations_of_one_photograph():
    with pytest.raises(OptionError, match="nothing to draw"):
        panel_of([])
    with pytest.raises(
        OptionError, match=r"one panel shows one photograph; .*\(60, 80\), \(61, 80\)"
    ):
        panel_of([View(explain(peak())), View(explain(peak(), (61, 80)))])


def test_panel_has_a_row_for_each_explanation():
    one, two = (
        explain(peak()).panel(),
        panel_of([View(explain(peak())), View(explain(peak(), layer="layer3"))]),
    )
    assert two.shape[1] == one.width
    assert two.shape[0] > one.height + 60
    assert normalise(explain(peak()).signed(), "max").max() == 1.0
