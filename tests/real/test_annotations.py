"""The real annotations and photographs of Stanford Dogs against the index that came with them."""

import csv
from pathlib import Path

import numpy as np
import pytest

from saliscope.boxes import Box
from saliscope.data import TruthSource, read_voc
from saliscope.finding import find_images
from saliscope.images import image_size, load_image

DOGS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "stanford_dogs"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DOGS.is_dir(), reason="needs ../shared/data/stanford_dogs"),
]


def index():
    with (DOGS / "index.csv").open(newline="") as lines:
        return {row["file"]: row for row in csv.DictReader(lines)}


def boxes_in(row):
    return tuple(Box(*map(float, box.split(","))) for box in row["boxes_xyxy"].split(";"))


def test_every_annotation_agrees_with_the_index():
    rows = index()
    files = [path for path in (DOGS / "Annotation").glob("*/*") if path.is_file()]
    assert len(files) == len(rows) == 1248
    for file in files:
        row = rows[f"{file.parent.name}/{file.name}.jpg"]
        truth = read_voc(file)
        assert truth.boxes_of() == boxes_in(row), file
        assert truth.size == (int(row["height"]), int(row["width"])), file


def test_the_corners_count_from_0_and_include_the_last_pixel():
    """What `read_voc` says of these files: boxes begin at 0 and end at width - 1, none at width."""
    first, last, beyond = 0, 0, 0
    for file in (DOGS / "Annotation").glob("*/*"):
        truth = read_voc(file)
        for box in truth.boxes_of():
            first += box.x0 == 0
            last += box.x1 == truth.size[1] - 1
            beyond += box.x1 == truth.size[1]
    assert first > 50
    assert last > 50
    assert beyond == 0


def test_every_20th_photograph_loads_upright_with_its_boxes():
    rows = index()
    source = TruthSource.open(DOGS / "Annotation")
    found = find_images([DOGS / "Images"])
    assert len(found) == 1248
    for path in found[::20]:
        row = rows[f"{path.parent.name}/{path.name}"]
        photo = load_image(path)
        assert photo.size == (int(row["height"]), int(row["width"])) == image_size(path)
        assert photo.pixels.dtype == np.uint8
        assert photo.pixels.std() > 5
        truth = source.find(path, size=photo.size)
        assert truth is not None
        assert truth.boxes_of() == boxes_in(row)
