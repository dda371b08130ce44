"""Photographs, boxes, polygons and semantic masks of COCO val2017, read through the data set.

The copy has outlines as text, in shares of the image, with COCO's own category numbers; a file of instances is written from
them. The boxes (80 classes in order) and the semantic masks were made by others, from the same annotations.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box, iou
from saliscope.data import open_data
from saliscope.data.coco import KIND
from saliscope.data.masks import read_levels, tight_box
from saliscope.images import image_size

COCO = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "coco_samples"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not COCO.is_dir(), reason="needs ../shared/data/coco_samples"),
]

# Of the numbers 1 to 90, those that COCO does not use.
GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
NUMBERS = [number for number in range(1, 91) if number not in GAPS]


def lines(kind, stem):
    path = COCO / kind / "labels" / "val2017" / f"{stem}.txt"
    return [line.split() for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    images, annotations = [], []
    for path in sorted((COCO / "images" / "val2017").glob("*.jpg")):
        height, width = image_size(path)
        images.append(
            {"id": int(path.stem), "file_name": path.name, "height": height, "width": width}
        )
        for number, *shares in lines("instance_segmentation", path.stem):
            points = np.array(shares, float).reshape(-1, 2) * (width, height)
            (x0, y0), (x1, y1) = points.min(0), points.max(0)
            annotations.append(
                {
                    "image_id": int(path.stem),
                    "category_id": int(number),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "segmentation": [points.ravel().tolist()],
                }
            )
    categories = [{"id": number, "name": f"category {number}"} for number in reversed(NUMBERS)]
    (root / "annotations").mkdir()
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    (root / "val2017").symlink_to(COCO / "images" / "val2017")
    return open_data("coco", "val", root=root)


def boxes_in(sample):
    """The boxes of the other copy: class, centre and size in shares of the image."""
    height, width = sample.size
    for label, *shares in lines("object_detection", sample.id):
        x, y, w, h = np.array(shares, float) * (width, height, width, height)
        yield int(label), Box.from_xywh(x - w / 2, y - h / 2, w, h)


def test_all_photographs_are_read(data):
    assert len(data) == 100
    assert len(data.classes) == KIND.num_classes
    for sample in data:
        assert sample.photo().size == sample.size
    grey = []
    for sample in data:
        with Image.open(sample.image) as image:
            grey += [sample] if image.mode == "L" else []
    assert [sample.photo().pixels.shape[2] for sample in grey] == [3]


def test_labels_are_those_of_the_boxes_without_gaps(data):
    order = {name: label for label, name in enumerate(data.classes)}
    agreeing = sum(
        sorted(order[region.label] for region in sample.regions)
        == sorted(label for label, _ in boxes_in(sample))
        for sample in data
    )
    assert agreeing == 93  # the other seven have crowds, which one of the copies leaves out


def test_masks_fit_the_boxes_to_the_pixel(data):
    """This copy's outlines run through the outermost pixels, so their far sides lie one pixel short of the boxes."""
    order = {name: label for label, name in enumerate(data.classes)}
    off, fits, own = [], [], []
    for sample in data:
        masks = sample.masks()
        for label, box in boxes_in(sample):
            mine = [r.box for r in sample.regions if order[r.label] == label]
            fits.append(max((iou(box, other) for other in mine), default=0.0))
            found = tight_box(masks[data.classes[label]]) if len(mine) == 1 else None
            if found is not None:
                own.append(np.abs(np.subtract(tuple(found), tuple(mine[0]))).max())
                off.append(np.subtract(tuple(found), tuple(box)))
    assert len(off) > 150
    assert np.quantile(own, 0.9) <= 1  # spikes without area stick out of some outlines
    np.testing.assert_allclose(np.median(off, axis=0), [0, 0, -1, -1], atol=0.15)
    assert len(fits) == 709
    assert np.median(fits) > 0.94


def test_masks_agree_with_the_semantic_masks(data):
    numbers = dict(zip(data.classes, NUMBERS, strict=True))
    both = either = count = 0
    for sample in data:
        file = COCO / "semantic_segmentation" / "masks" / "val2017" / f"{sample.id}.png"
        semantic = read_levels(file)
        for name, mask in sample.masks().items():
            if name in numbers:
                other = semantic == numbers[name]
                both += np.count_nonzero(mask & other)
                either += np.count_nonzero(mask | other)
                count += 1
    assert count == 288
    assert both / either > 0.93  # a category shifted by one would give next to nothing
