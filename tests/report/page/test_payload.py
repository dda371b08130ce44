import io
import json
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from saliscope.pictures import TRUTH_COLOUR, colour_table
from saliscope.report.grids import unpack_grid
from saliscope.report.payload import make_payload


@pytest.fixture(scope="module")
def payload(album):
    return album.payload


@pytest.fixture(scope="module")
def images(payload):
    return {image["id"]: image for image in payload.images}


def test_each_image_once_in_order_of_the_data(payload, made):
    ids = [image["id"] for image in payload.images]
    assert ids == [name for name in made.images["id"] if name in set(ids)]


def test_it_is_json_without_nan(payload):
    for part in (payload.meta, payload.images, payload.grids):
        json.dumps(part, allow_nan=False)


def test_maps_are_those_of_the_run(payload, images, made):
    for row in made.maps.filter(made.maps["status"] != "failed").iter_rows(named=True):
        image = images.get(row["id"])
        if image is None:
            continue
        source = [s["label"] for s in payload.meta["sources"]].index(row["spec"])
        (found,) = [
            m for m in image["maps"]
            if m["source"] == source and image["targets"][m["target"]]["name"] == row["label"]
        ]  # fmt: skip
        grid = payload.grids[found["grid"]] if isinstance(found["grid"], int) else found["grid"]
        raw = np.array(row["map"], np.float32).reshape(row["height"], row["width"])
        np.testing.assert_allclose(
            unpack_grid(grid), raw, atol=max(np.ptp(np.nan_to_num(raw)) / 400, 1e-6)
        )
        assert found["status"] == row["status"]


def test_boxes_and_scores_of_each_map(payload, images, made):
    place = [s["label"] for s in payload.meta["sources"]].index("grad-cam@layer4")
    image = images["fox/p0000.png"]
    assert image["boxes"] == [list(made.images["boxes"][0])]
    for target, role in ((0, "truth"), (1, "predicted")):
        (found,) = [m for m in image["maps"] if m["source"] == place and m["target"] == target]
        own = made.boxes.filter(
            (made.boxes["id"] == image["id"]) & (made.boxes["spec"] == "grad-cam@layer4")
        )
        own = own.filter(own["is_truth"] if role == "truth" else own["rank"] == 0)
        expected = {
            r["protocol"]: [r[k] for k in ("x0", "y0", "x1", "y1")]
            for r in own.iter_rows(named=True)
        }
        assert found["boxes"] == {k: pytest.approx(v, abs=0.006) for k, v in expected.items()}
        for metric, value in zip(payload.meta["metrics"], found["scores"], strict=True):
            name, protocol = metric["label"].lower().rstrip(")").split(" (")
            wide = made.by_method(name, protocol, target=role)
            assert value == pytest.approx(
                wide.filter(wide["id"] == image["id"])["grad-cam@layer4"][0], abs=1e-5
            )


def test_classes_of_a_wrong_prediction(images):
    image = images["fox/p0001.png"]
    assert [(t["name"], t["truth"], t["ranks"]) for t in image["targets"]] == [
        ("fox", True, {0: 1}),
        ("owl <b>of</b> snow", False, {0: 0}),
    ]
    assert (image["correct"], image["predicted"]) == (False, "owl <b>of</b> snow")


def test_undefined_scores_and_no_box(images, payload):
    place = [s["label"] for s in payload.meta["sources"]].index("grad-cam@layer2")
    (found,) = [
        m for m in images["fox/p0002.png"]["maps"] if m["source"] == place and m["target"] == 0
    ]
    assert found["boxes"] == {"yang2025": None, "cam2016": None}
    labels = [m["label"] for m in payload.meta["metrics"]]
    assert found["scores"][labels.index("energy (boxes)")] is None
    assert found["scores"][0] == 0.0


def test_photographs(images):
    image = images["fox/p0005.png"]
    photo = Image.open(io.BytesIO(b64decode(image["photo"])))
    assert image["size"] == [480, 640]
    assert image["thumb"] == [240, 320]
    assert photo.size == (320, 240)


def test_region_in_picture_pixels(images):
    regions = {tuple(m["region"]) for m in images["fox/p0005.png"]["maps"]}
    assert regions == {(0.0, 0.0, 320.0, 240.0)}


def test_failed_images_say_why(images):
    image = images["Ωmega/p0022.png"]
    assert image["status"] == "failed"
    assert image["message"].startswith("Ωmega/p0022.png is not a picture")
    assert image["photo"] is None


def test_equal_maps_are_stored_once(payload):
    centre = [s["label"] for s in payload.meta["sources"]].index("centre")
    shared = {m["grid"] for i in payload.images for m in i.get("maps", ()) if m["source"] == centre}
    assert len(shared) == 1
    assert isinstance(shared.pop(), int)


def test_colours_are_those_of_python(payload):
    table = np.frombuffer(b64decode(payload.meta["colours"]), np.uint8).reshape(256, 3)
    np.testing.assert_array_equal(table, colour_table())
    assert payload.meta["truthColour"] == list(TRUTH_COLOUR)


def test_picks_point_at_images_and_classes(payload, album):
    for group, written in zip(album.groups, payload.meta["groups"], strict=True):
        for pick, (number, target, source) in zip(group.picks, written["picks"], strict=True):
            image = payload.images[number]
            assert image["id"] == pick.id
            assert source == pick.source
            if pick.target is not None:
                assert image["targets"][target]["name"] == pick.target


def test_without_photographs(material, album):
    payload = make_payload(material, album.groups, None)
    assert {image["photo"] for image in payload.images} == {None}
    assert payload.problem is None
