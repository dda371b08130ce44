import io
import shutil
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliscope.report.thumbnails import Photographs, thumbnail, thumbnail_size


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (240, 320)),
        ((640, 480), (320, 240)),
        ((100, 90), (100, 90)),
        ((2, 5000), (1, 320)),
    ],
)
def test_size(size, expected):
    assert thumbnail_size(size) == expected


def test_picture():
    photo = np.zeros((400, 800, 3), np.uint8)
    photo[:, 400:] = (250, 120, 10)
    data = b64decode(thumbnail(photo))
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("WEBP", (320, 160))
    pixels = np.asarray(image.convert("RGB"), int)
    assert np.abs(pixels[80, 240] - (250, 120, 10)).max() < 8
    assert len(data) < 2000


def test_photographs_of_a_run(made, tmp_path):
    photographs = Photographs(made.settings)
    row = made.images.row(3, named=True)
    pixels = photographs.read("all", 3, row["id"])
    assert pixels.shape == (row["height"], row["width"], 3)
    assert photographs.problem is None


def test_data_that_is_not_there_any_more(made, tmp_path):
    photographs = Photographs(
        made.settings.model_copy(update={"data": f"folder:{tmp_path / 'gone'}"})
    )
    assert photographs.read("all", 0, "fox/p0000.png") is None
    assert "the data cannot be opened: there is no folder" in photographs.problem


def test_another_copy_of_the_data(made):
    photographs = Photographs(made.settings)
    assert photographs.read("all", 0, "other.png") is None
    assert photographs.read("all", 9999, "fox/p0000.png") is None
    assert "it is another copy; give its folder with --root" in photographs.problem


def test_a_damaged_photograph(made):
    photographs = Photographs(made.settings)
    name = made.images.row(23, named=True)["id"]
    assert photographs.read("all", 23, name) is None
    assert "is not a picture that can be read" in photographs.problem


def test_root_in_place_of_the_folder_of_the_run(made, tmp_path):
    row = made.images.row(3, named=True)
    old = Path(made.settings.data.removeprefix("folder:"))
    shutil.copytree(old, tmp_path / "moved")
    gone = made.settings.model_copy(update={"data": f"folder:{tmp_path / 'gone'}"})
    found = Photographs(gone, root=tmp_path / "moved")
    np.testing.assert_array_equal(
        found.read("all", 3, row["id"]), Photographs(made.settings).read("all", 3, row["id"])
    )
    assert found.problem is None
    assert Photographs(gone).read("all", 3, row["id"]) is None


def test_root_in_place_of_the_one_of_the_run(made):
    settings = made.settings.model_copy(update={"data": "voc", "root": "/here"})
    assert Photographs(settings, root="/elsewhere").settings.root == "/elsewhere"
    assert Photographs(settings).settings.root == settings.root == "/here"
