import re
import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pytest

from saliscope.boxes import Box
from saliscope.errors import OptionError
from saliscope.explanation import Explanation, Target
from saliscope.frames import Frame
from saliscope.images import Photo
from saliscope.localization import status_of
from saliscope.pictures import TRUTH_COLOUR, box_colours
from saliscope.report import (
    boxes_figure,
    comparison_figure,
    method_figure,
    save_figure,
    stages_figure,
)
from saliscope.report.page import measured, wrapped

TRUTH = Box(30, 20, 170, 120)


def blob(n=7, x=0.5, y=0.5, radius=0.25):
    rows, columns = (np.mgrid[:n, :n] + 0.5) / n
    bump = np.exp(-(((columns - x) / radius) ** 2) - ((rows - y) / radius) ** 2)
    return np.maximum(bump - 0.3, 0)


def explain(grid, method="grad-cam", layer="layer4", size=(150, 200), label="dog", frame=None):
    grid = np.asarray(grid, np.float32)
    target = Target(5, label, "logit", 2.0, 0.5)
    photo = Photo(np.full((*size, 3), 120, np.uint8), "rex.jpg")
    frame = frame or Frame.squash(size, (32, 32))
    return Explanation(
        map=grid, frame=frame, target=target, status=status_of(grid), method=method, layer=layer,
        model="resnet50", photo=photo, predicted=target, seconds=0.25,
    )  # fmt: skip


def drawn(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def sharp(figure):
    figure.set_dpi(400)
    return figure


def texts(figure):
    return [t for axes in figure.axes for t in axes.texts]


def words(figure):
    return [t.get_text() for t in texts(figure)]


def colour_at(figure, axes, x, y):
    """The colour of the page at pixel (x, y) of the photograph shown in `axes`."""
    return colours_at(figure, axes, [(x, y)])[0]


def colours_at(figure, axes, points):
    pixels = drawn(figure)
    places = axes.transData.transform(points)
    return [pixels[int(pixels.shape[0] - up), int(right)].astype(int) for right, up in places]


def assert_nothing_overlaps(figure):
    renderer = figure.canvas.get_renderer()
    figure.canvas.draw()
    page = figure.bbox
    boxes = [t.get_window_extent(renderer) for t in texts(figure)]
    for text, box in zip(texts(figure), boxes, strict=True):
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
        assert inside, f"clipped: {text.get_text()}"
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            across = min(one.x1, other.x1) - max(one.x0, other.x0)
            down = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert not (across > 1.0 and down > 3.0)
    pictures = [axes.bbox for axes in figure.axes if axes.images]
    for text, box in zip(texts(figure), boxes, strict=True):
        for picture in pictures:
            if text.get_text().startswith("status: ") and text.axes.images:
                continue
            across = min(box.x1, picture.x1) - max(box.x0, picture.x0)
            down = min(box.y1, picture.y1) - max(box.y0, picture.y0)
            assert not (across > 1.0 and down > 3.0), f"on a picture: {text.get_text()}"


def test_boxes_have_the_papers_colours_at_their_place():
    cam, grad_cam = explain(blob(x=0.4), "cam"), explain(blob(x=0.6))
    figure = sharp(boxes_figure([cam, grad_cam], TRUTH, protocol="cam2016"))
    axes = next(a for a in figure.axes if a.images)
    blue = cam.box("cam2016")
    right = colour_at(figure, axes, TRUTH.x1, 70)
    assert np.abs(right - TRUTH_COLOUR).max() <= 12
    left = colour_at(figure, axes, blue.x0, (blue.y0 + blue.y1) / 2)
    assert np.abs(left - box_colours(["cam"])[0]).max() <= 12
    green = grad_cam.box("cam2016")
    edge = colours_at(
        figure, axes, [(green.x1, y) for y in np.linspace(green.y0 + 5, green.y1 - 5, 40)]
    )
    near = [np.abs(c - box_colours(["grad-cam"])[0]).max() <= 12 for c in edge]
    assert 0.3 < np.mean(near) < 0.95  # dashed
    assert colour_at(figure, axes, 100, 2).tolist() == [120, 120, 120]


def test_equal_boxes_show_both_colours():
    figure = sharp(boxes_figure([explain(blob(), "cam"), explain(blob())], []))
    axes = next(a for a in figure.axes if a.images)
    box = explain(blob()).box()
    edge = colours_at(figure, axes, [(x, box.y0) for x in np.linspace(box.x0 + 8, box.x1 - 8, 80)])
    for colour in box_colours(["cam", "grad-cam"]):
        assert sum(np.abs(c - colour).max() <= 25 for c in edge) >= 8


def test_table_holds_the_iou_of_the_protocol_named_below():
    one, two = explain(blob(x=0.4), "cam"), explain(blob(14), layer="layer3")
    for figure in (
        boxes_figure([one, two], TRUTH, protocol="gradcam2017"),
        comparison_figure([one, two], TRUTH, protocol="gradcam2017"),
    ):
        shown = words(figure)
        for ex in (one, two):
            assert f"{ex.iou(TRUTH, protocol='gradcam2017'):.3f}" in shown
            assert ex.spec in shown
        assert "box: gradcam2017; IoU: half-open" in shown


def test_iou_without_an_annotation_is_a_dash_not_a_zero():
    shown = words(comparison_figure([explain(blob())]))
    assert "–" in shown
    assert not any("IoU 0" in text or text == "0.000" for text in shown)


@pytest.mark.parametrize(
    ("grid", "status"),
    [(np.zeros((7, 7)), "zero"), (np.ones((7, 7)), "constant"), (-blob() - 1, "negative")],
)
def test_every_figure_writes_the_status(grid, status):
    ex = explain(grid)
    for figure, times in (
        (method_figure(ex), 2),
        (stages_figure([ex]), 2),
        (comparison_figure([ex], TRUTH), 1),
    ):
        stamps = [t for t in texts(figure) if t.get_text() == f"status: {status}" and t.axes.images]
        assert len(stamps) == times
    assert status in words(boxes_figure([ex], TRUTH))


def test_method_figure_shows_the_photograph_heatmap_and_blend():
    ex = explain(blob())
    figure = method_figure(ex, alpha=0.25, colormap="viridis")
    shown = [a.images[0].get_array() for a in figure.axes if a.images][:3]
    assert np.array_equal(shown[0], ex.photo.pixels)
    assert np.array_equal(shown[2], np.asarray(ex.overlay(alpha=0.25, colormap="viridis")))
    assert {"photograph", "heatmap", "blend", "0", "0.5", "1"} <= set(words(figure))


def test_stages_figure_has_heatmap_and_blend_of_each_layer_under_its_name():
    stages = [explain(blob(n), layer=f"conv{n}_out") for n in (56, 28, 14, 7)]
    figure = stages_figure(stages)
    pictures = [a for a in figure.axes if a.images]
    assert len(pictures) == 1 + 2 * 4 + 1  # photograph, stages, colour bar
    assert {f"conv{n}_out" for n in (56, 28, 14, 7)} <= set(words(figure))


def test_targets_and_hatching_are_named_where_they_matter():
    frame = Frame.crop((150, 200), (32, 32), shorter=32)
    figure = comparison_figure(
        [explain(blob(), frame=frame), explain(blob(), label="cat", frame=frame)]
    )
    assert any("hatched: not seen" in text for text in words(figure))
    assert "grad-cam@layer4, cat (#5)" in words(figure)
    assert not any("hatched" in text for text in words(method_figure(explain(blob()))))


@pytest.mark.parametrize("count", [1, 2, 4, 5, 12])
@pytest.mark.parametrize("size", [(150, 200), (200, 120)])
def test_comparisons_of_any_number_fit_their_page(count, size):
    many = [
        explain(blob(), f"method-{i}:option=value", f"stage{i}.block{i}.conv3", size)
        for i in range(count)
    ]
    figure = comparison_figure(many, TRUTH.clip(size))
    assert figure.get_figwidth() == 7.2
    assert_nothing_overlaps(figure)


@pytest.mark.parametrize("size", [(1, 1), (10, 400), (400, 10), (2000, 1500)])
def test_photographs_of_any_shape_fit_their_page(size):
    long = "a very long label " * 30
    ex = explain(blob(), size=size, label=long)
    whole = Box(0, 0, size[1], size[0])
    for figure in (
        method_figure(ex),
        stages_figure([ex, explain(blob(9), layer="x" * 60, size=size)] * 4),
        boxes_figure([ex, explain(blob(9), layer="y.z" * 40, size=size)], whole),
        comparison_figure([ex], [whole, whole]),
    ):
        assert_nothing_overlaps(figure)


@pytest.mark.parametrize("label", ["치와와", "犬 🐶", "$\\alpha$ & 100% _x^", "Пудель", "\n\t"])
def test_labels_in_any_script_are_drawn_without_a_warning(label, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = comparison_figure([explain(blob(), label=label)], TRUTH)
        for suffix in ("png", "svg", "pdf"):
            save_figure(figure, tmp_path / f"a.{suffix}")


def test_saved_figures_are_the_same_bytes_each_time(tmp_path):
    for suffix in ("png", "svg", "pdf"):
        for name in ("a", "b"):
            save_figure(boxes_figure([explain(blob())], TRUTH), tmp_path / f"{name}.{suffix}")
        one, two = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
        assert one == two
        assert not re.search(rb"CreationDate|<dc:date>", one)
    assert b"/Type42" in one or b"/CIDFontType2" in one or b"/TrueType" in one
    svg = (tmp_path / "a.svg").read_text()
    assert svg.count("<image") == 1  # the photograph; letters and boxes are paths
    assert svg.count("<use") > 50


def test_other_suffixes_and_no_explanations_are_refused(tmp_path):
    figure = method_figure(explain(blob()))
    with pytest.raises(OptionError, match=r'suffix "\.bmp" is no figure; use \.png, \.svg, \.pdf'):
        save_figure(figure, tmp_path / "a.bmp")
    with pytest.raises(OSError, match="does not exist"):
        save_figure(figure, tmp_path / "gone" / "a.png")
    for draw in (stages_figure, comparison_figure, lambda none: boxes_figure(none, TRUTH)):
        with pytest.raises(OptionError, match="no explanations were given"):
            draw([])


def test_nobodys_settings_are_read_into_or_changed(tmp_path):
    before = dict(mpl.rcParams)
    with mpl.rc_context({"figure.autolayout": True, "axes.facecolor": "red", "font.size": 30}):
        plain = drawn(boxes_figure([explain(blob())], TRUTH)).copy()
    assert np.array_equal(plain, drawn(boxes_figure([explain(blob())], TRUTH)))
    save_figure(method_figure(explain(blob())), tmp_path / "a.pdf")
    assert dict(mpl.rcParams) == before


def test_pyplot_stays_out():
    code = "import sys, saliscope.report, saliscope.report.page as p; p.Page(1, 1).write(0, 0, 'é 犬'); "
    code += "sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_wrapping_keeps_every_letter_within_the_room():
    text = "grad-cam@backbone.layer4.2.conv3:relu=false and more words"
    lines = wrapped(text, 1.2, most=9)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(measured(line, 9.0) <= 1.2 for line in lines)
    assert len(wrapped(text, 1.2, most=2)) == 2
    assert wrapped(text, 1.2, most=2)[-1].endswith("…")
    assert wrapped("", 1.0) == []
