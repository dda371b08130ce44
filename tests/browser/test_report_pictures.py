"""The pictures of a report's page: pixels, boxes, thresholds and the viewer, as Python would draw and count them."""

import numpy as np
import pytest

from saliscope.boxes import Box
from saliscope.frames import Frame
from saliscope.localization import Protocol, find_box, normalise
from saliscope.pictures import blend
from saliscope.report.grids import unpack_grid

pytestmark = pytest.mark.browser


def pixels(canvas):
    found = canvas.evaluate(
        """(c) => {
            const context = new OffscreenCanvas(c.width, c.height).getContext("2d", { willReadFrequently: true });
            context.drawImage(c, 0, 0);
            return [c.height, c.width, Array.from(context.getImageData(0, 0, c.width, c.height).data)];
        }"""
    )
    return np.array(found[2], np.uint8).reshape(found[0], found[1], 4)[..., :3]


def photo_of(page, image):
    """The photograph of a card as this browser decodes it."""
    found = page.evaluate(
        """async ([text, height, width]) => {
            const picture = new Image();
            picture.src = "data:image/webp;base64," + text;
            await picture.decode();
            const canvas = new OffscreenCanvas(width, height);
            const context = canvas.getContext("2d");
            context.drawImage(picture, 0, 0, width, height);
            return Array.from(context.getImageData(0, 0, width, height).data);
        }""",
        [image["photo"], *image["thumb"]],
    )
    return np.array(found, np.uint8).reshape(*image["thumb"], 4)[..., :3]


def python_heat(album, image, source, target=0):
    (one,) = [m for m in image["maps"] if m["source"] == source and m["target"] == target]
    grid = album.payload.grids[one["grid"]] if isinstance(one["grid"], int) else one["grid"]
    return Frame(tuple(image["thumb"]), Box(*one["region"]), (224, 224)).map_to_source(
        unpack_grid(grid)
    )


def image_of(album, group, number=0):
    picks = next(g["picks"] for g in album.payload.meta["groups"] if g["key"] == group)
    return album.payload.images[picks[number][0]], picks[number][1]


@pytest.mark.parametrize(("key", "source"), [("1", 0), ("3", 2), ("6", 5)])
def test_pixels_are_those_of_python(visit, content, key, source, hand):
    page, album = visit(), content.album
    shown = hand.card(page, "best", 2)
    shown.focus()
    page.keyboard.press(key)
    hand.settled(page)
    image, target = image_of(album, "best", 2)
    scaled = normalise(python_heat(album, image, source, target))
    assert np.isnan(scaled).any(), "a crop"
    expected = blend(photo_of(page, image), scaled)
    np.testing.assert_array_equal(pixels(shown.locator("canvas")), expected)
    label = shown.locator("canvas").get_attribute("aria-label")
    method = album.payload.meta["sources"][source]["label"]
    assert label.startswith(f"{method} for {image['targets'][target]['name']}, IoU (yang2025) ")


@pytest.mark.parametrize("rule", ["min-max", "max"])
def test_threshold_finds_the_box_of_python(visit, content, rule, hand):
    page, album = visit(), content.album
    hand.card(page, "worst", 1).click()
    viewer = page.locator("dialog")
    viewer.get_by_label("Normalised by").select_option(rule)
    image, target = image_of(album, "worst", 1)
    for threshold in (0.15, 0.4, 0.85):
        viewer.get_by_label("threshold").fill(str(threshold))
        hand.settled(page)
        heat = python_heat(album, image, 0, target)
        tight = Protocol("page", rule, threshold, False, "pixels", "tight", "the page's own")
        box = find_box(heat, tight)
        scale = image["size"][1] / image["thumb"][1]
        drawn = viewer.locator(".boxes rect.line").last
        found = [float(drawn.get_attribute(name)) for name in ("x", "y", "width", "height")]
        assert found == pytest.approx(
            [box.x0 * scale, box.y0 * scale, box.width * scale, box.height * scale]
        )
        words = viewer.locator(".under").first.inner_text()
        height, width = image["thumb"]
        assert (
            f"at or above {threshold:.2f} ({rule}), computed at {width} × {height} pixels" in words
        )
    assert viewer.get_by_label("Largest part above").is_checked()


def test_opacity_slider(visit, content, hand):
    page, album = visit(), content.album
    shown = hand.card(page, "best", 0)
    slider = page.locator("#toolbar").get_by_label("Heat opacity")
    image, target = image_of(album, "best")
    scaled = normalise(python_heat(album, image, 0, target))
    for value in (0.0, 0.8):
        slider.fill(str(value))
        hand.settled(page)
        expected = blend(photo_of(page, image), scaled, alpha=value)
        np.testing.assert_array_equal(pixels(shown.locator("canvas")), expected)


def test_boxes_are_drawn_in_image_pixels(visit, content, hand):
    page, album = visit(), content.album
    shown = hand.card(page, "best")
    image, target = image_of(album, "best")
    assert (
        shown.locator("svg").get_attribute("viewBox")
        == f"0 0 {image['size'][1]} {image['size'][0]}"
    )
    one = next(m for m in image["maps"] if m["source"] == 0 and m["target"] == target)
    expected = [image["boxes"][0], one["boxes"]["yang2025"]]
    lines = shown.locator("rect.line")
    for i, box in enumerate(expected):
        found = [float(lines.nth(i).get_attribute(name)) for name in ("x", "y", "width", "height")]
        assert found == pytest.approx([box[0], box[1], box[2] - box[0], box[3] - box[1]])
    assert lines.first.get_attribute("stroke") == "rgb(230 30 40)"
    page.locator("#toolbar").get_by_label("annotated box").uncheck()
    page.locator("#toolbar").get_by_label("cam2016 box").check()
    hand.settled(page)
    assert lines.count() == 2
    assert lines.last.get_attribute("stroke-dasharray") != lines.first.get_attribute(
        "stroke-dasharray"
    )


def test_wrong_predictions_show_both_classes(visit, content, hand):
    page = visit()
    shown = hand.card(page, "wrong")
    labels = [shown.locator("canvas").nth(i).get_attribute("aria-label") for i in range(2)]
    assert "for owl <b>of</b> snow" in labels[0]
    assert "for fox" in labels[1]
    assert "predicted: owl <b>of</b> snow" in shown.inner_text()


def test_a_status_is_written_on_its_picture(visit, hand):
    page = visit()
    shown = hand.card(page, "status")
    assert shown.locator(".stamp").inner_text() == "status: zero"
    assert "status: zero" in shown.locator(".under").inner_text()


def test_failed_images_are_a_table(visit):
    page = visit()
    rows = page.locator("#group-failed tbody tr")
    assert rows.count() == 2
    assert "is not a picture" in rows.first.inner_text()


def test_another_method_beside_the_reference(visit, content, hand):
    page = visit()
    (first,) = page.locator("[data-group^=disagree]").evaluate_all(
        "(e) => e.map((x) => x.dataset.group)"
    )
    choice = page.locator(f"#group-{first} select")
    names = choice.locator("option").all_inner_texts()
    assert len(names) == 3
    choice.select_option(names[2])
    shown = hand.card(page, first)
    labels = [shown.locator("canvas").nth(i).get_attribute("aria-label") for i in range(2)]
    assert labels[0].startswith("cam for")
    assert labels[1].startswith(f"{names[2]} for")
    assert names[2] in page.locator(f"#group-{first} .group-lead").inner_text()


def test_viewer_by_keyboard(visit, content, hand):
    page, album = visit(), content.album
    hand.card(page, "best").focus()
    page.keyboard.press("Enter")
    viewer, title = page.locator("dialog"), page.locator("#viewer-title")
    assert viewer.is_visible()
    first = image_of(album, "best")[0]["id"]
    assert title.inner_text().startswith(f"{first} (1 of ")
    page.keyboard.press("ArrowRight")
    assert title.inner_text().startswith(f"{image_of(album, 'best', 1)[0]['id']} (2 of ")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert title.inner_text().startswith(first)
    page.keyboard.press("4")
    hand.settled(page)
    assert (
        viewer.get_by_label("Method of the first picture").locator("option:checked").inner_text()
        == "grad-cam@layer2"
    )
    viewer.get_by_label("Side by side").check()
    title.focus()
    page.keyboard.press("Shift+Digit2")
    hand.settled(page)
    assert (
        viewer.get_by_label("Method of the second picture").locator("option:checked").inner_text()
        == "grad-cam@layer4"
    )
    assert (
        viewer.locator("canvas[role=img]")
        .nth(1)
        .get_attribute("aria-label")
        .startswith("grad-cam@layer4")
    )
    page.keyboard.press("s")
    hand.settled(page)
    assert "Largest of" in viewer.locator(".under").nth(0).inner_text()
    slider = viewer.get_by_label("Heat opacity")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "0.51", "an arrow moves the slider that has the focus"
    assert title.inner_text().startswith(first)
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    assert page.evaluate("document.activeElement.classList.contains('card')"), "the focus is back"


def test_scores_in_the_viewer(visit, content, hand):
    page, material = visit(), content.material
    hand.card(page, "best").click()
    rows = page.locator("dialog table tbody tr")
    assert rows.count() == 7
    cells = rows.first.locator("td").all_inner_texts()
    best = np.nanmax(material.values(material.primary)[:, 0])
    assert cells[:2] == ["ok", f"{best:.3f}"]
