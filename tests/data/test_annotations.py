import json

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data import Truth, TruthSource, find_truth, read_coco, read_voc
from saliscope.errors import DataError, ImageError, OptionError


def box_xml(name, x0, y0, x1, y1):
    edges = f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
    return f"<object><name>{name}</name><bndbox>{edges}</bndbox></object>"


def voc(*objects, size=(375, 500)):
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>" if size else ""
    return f"<annotation><folder>x</folder>{stated}{''.join(objects)}</annotation>"


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
    return path


def photo(path, size=(375, 500)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (size[1], size[0])).save(path)
    return path


ONE = box_xml("dog", 31, 23, 366, 263)
TWO = box_xml(" Maltese_dog ", 2, 69, 437, 207)


# --- VOC -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n02085936_1155", "n02085936_1155.xml"])
def test_voc_with_and_without_ending(tmp_path, name):
    truth = read_voc(written(tmp_path / name, voc(ONE, TWO)))
    assert truth == Truth(
        (375, 500), ((Box(31, 23, 366, 263), "dog"), (Box(2, 69, 437, 207), "Maltese_dog"))
    )
    assert truth.boxes_of() == (Box(31, 23, 366, 263), Box(2, 69, 437, 207))
    assert truth.boxes_of("dog") == (Box(31, 23, 366, 263),)
    assert truth.boxes_of("cat") == ()


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ("half-open", Box(31, 23, 366, 263)),
        ("inclusive", Box(31, 23, 367, 264)),
        ("voc", Box(30, 22, 366, 263)),
    ],
)
def test_what_the_corners_mean(tmp_path, corners, expected):
    file = written(tmp_path / "a", voc(ONE))
    assert read_voc(file, corners=corners).boxes == ((expected, "dog"),)
    assert (
        TruthSource.open(file, corners=corners).find("a.jpg", size=(375, 500)).boxes[0][0]
        == expected
    )
    whole = written(tmp_path / "b", voc(box_xml("dog", 1, 1, 500, 375)))
    assert read_voc(whole, corners="voc").boxes_of() == (Box(0, 0, 500, 375),)


def test_corners_of_another_name_are_refused(tmp_path):
    with pytest.raises(OptionError, match='corners "inclusiv" is unknown; nearest: "inclusive"'):
        read_voc(tmp_path / "a", corners="inclusiv")


def test_floats_part_boxes_missing_names_and_overhang(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    item = box_xml("person", 45.7, 25.25, 600, 330.5).replace("</object>", part + "</object>")
    unnamed = box_xml("", 1, 2, 3, 4).replace("<name></name>", "")
    truth = read_voc(written(tmp_path / "a", voc(item, unnamed)))
    assert truth.boxes == ((Box(45.7, 25.25, 600, 330.5), "person"), (Box(1, 2, 3, 4), ""))


@pytest.mark.parametrize("size", [None, (0, 0), (-1, 5)])
def test_a_size_that_is_missing_or_empty_is_none(tmp_path, size):
    assert read_voc(written(tmp_path / "a", voc(ONE, size=size))).size is None
    assert read_voc(written(tmp_path / "b", voc(size=("x", 5)))) == Truth(None, ())


def test_other_encodings(tmp_path):
    text = '<?xml version="1.0" encoding="{}"?>' + voc(box_xml("Löwchen", 1, 2, 3, 4))
    for encoding in ("utf-8", "utf-16", "iso-8859-1"):
        file = written(tmp_path / encoding, text.format(encoding).encode(encoding))
        assert read_voc(file).boxes[0][1] == "Löwchen"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a is not well-formed XML"),
        ("hello", "a is not well-formed XML"),
        (voc(ONE)[:-20], "a is not well-formed XML"),
        (b"\xff\xd8\xff\xe0 a jpeg", "a is not well-formed XML"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "a is not well-formed XML"),
        ("<svg></svg>", "no VOC annotation: its root is <svg>"),
        (voc("<object><name>dog</name></object>"), 'a: object "dog" has no proper box'),
        (voc(box_xml("dog", "x", 1, 2, 3)), 'object "dog" has no proper box.*could not convert'),
        (voc(box_xml("dog", 9, 1, 2, 3)), "it needs a <bndbox> with xmin <= xmax"),
        (voc(box_xml("dog", "nan", 1, 2, 3)), 'object "dog" has no proper box'),
        (voc(box_xml("dog", 1, 1, "inf", 3)), 'object "dog" has no proper box'),
    ],
)
def test_broken_xml_names_the_file(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_voc(written(tmp_path / "a", text))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"the annotation .*nothing cannot be read"):
        read_voc(tmp_path / "nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read_voc(tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE a [<!ENTITY x "dog">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://example.org/a.dtd">',
        '<!DOCTYPE a [<!ENTITY y "z"><!ENTITY x "&y;&y;&y;&y;&y;&y;&y;&y;">]>',
    ],
)
def test_entities_are_refused_unread(tmp_path, head):
    text = '<?xml version="1.0" encoding="utf-16"?>' + head + voc(box_xml("&x;", 1, 2, 3, 4))
    for data in (text.encode("utf-16"), text.replace("utf-16", "utf-8").encode()):
        with pytest.raises(DataError, match="a declares a document type; remove its <!DOCTYPE"):
            read_voc(written(tmp_path / "a", data))


# --- COCO ------------------------------------------------------------------------------------------------------------


def coco(**changes):
    content = {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 500, "height": 375},
            {"id": 9, "file_name": "val/b.jpg", "width": 20, "height": 10},
            {"id": 11, "file_name": "c.jpg"},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 18,
                "bbox": [60.5, 27, 325.25, 304],
                "iscrowd": 0,
            },
            {"id": 2, "image_id": 7, "category_id": 90, "bbox": [0, 0, 5, 5]},
            {"id": 3, "image_id": 7, "category_id": 18, "bbox": [1, 1, 2, 2], "iscrowd": 1},
            {"id": 4, "image_id": 9, "category_id": 18, "bbox": [1, 2, 3, 4]},
        ],
        "categories": [{"id": 18, "name": "dog"}],
    }
    return json.dumps({**content, **changes})


def test_coco(tmp_path):
    truths = read_coco(written(tmp_path / "t.json", coco()))
    assert truths == {
        "a.jpg": Truth((375, 500), ((Box(60.5, 27, 385.75, 331), "dog"), (Box(0, 0, 5, 5), "90"))),
        "val/b.jpg": Truth((10, 20), ((Box(1, 2, 4, 6), "dog"),)),
        "c.jpg": Truth(None, ()),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"t\.json is not JSON"),
        ("[" * 100_000, r"t\.json is not JSON"),
        ("[1, 2]", 'no COCO file: it needs the keys "images" and "annotations"'),
        ('{"images": []}', "no COCO file"),
        (coco(images=[{"file_name": "a"}]), "not a proper COCO file: KeyError 'id'"),
        (coco(images=5), "not a proper COCO file: TypeError"),
        (coco(annotations=[5]), "not a proper COCO file"),
        (coco(annotations=[{"id": 1, "image_id": 99}]), "annotation 1 is of an unknown image 99"),
        (
            coco(annotations=[{"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3]}]),
            r"annotation 1 has no proper bbox \[x, y, width, height\]",
        ),
        (
            coco(annotations=[{"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, -3, 4]}]),
            "annotation 1 has no proper bbox",
        ),
        (
            coco(annotations=[{"id": 1, "image_id": 7, "category_id": 18}]),
            "annotation 1 has no proper bbox",
        ),
    ],
)
def test_broken_coco_names_the_file(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_coco(written(tmp_path / "t.json", text))


# --- finding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        "Annotation/n1-Breed/d_1",
        "Annotation/n1-Breed/d_1.xml",
        "Annotation/d_1",
        "Annotation/d_1.xml",
    ],
)
def test_in_a_folder_by_stem(tmp_path, place):
    written(tmp_path / place, voc(ONE))
    image = photo(tmp_path / "elsewhere" / "d_1.jpg")
    truth = find_truth(image, tmp_path / "Annotation")
    assert truth.boxes == ((Box(31, 23, 366, 263), "dog"),)
    assert find_truth(tmp_path / "d_2.jpg", tmp_path / "Annotation") is None


def test_the_folder_of_the_photograph_comes_first(tmp_path):
    written(tmp_path / "A" / "cats" / "1.xml", voc(box_xml("cat", 1, 2, 3, 4)))
    written(tmp_path / "A" / "dogs" / "1.xml", voc(ONE))
    assert find_truth(photo(tmp_path / "dogs" / "1.png"), str(tmp_path / "A")).boxes[0][1] == "dog"
    assert find_truth(photo(tmp_path / "cats" / "1.png"), tmp_path / "A").boxes[0][1] == "cat"
    with pytest.raises(DataError, match=r"1\.png has 2 annotations in .*cats.*dogs"):
        find_truth(photo(tmp_path / "1.png"), tmp_path / "A")


def test_a_stem_with_dots(tmp_path):
    written(tmp_path / "A" / "a.b", voc(ONE))
    assert find_truth(tmp_path / "a.b.jpg", tmp_path / "A", size=(375, 500)) is not None
    assert find_truth(tmp_path / "a.jpg", tmp_path / "A", size=(375, 500)) is None


def test_one_xml_file_answers_for_any_photograph(tmp_path):
    file = written(tmp_path / "truth", voc(ONE))
    assert find_truth(photo(tmp_path / "x.png"), file).boxes[0][1] == "dog"


def test_in_a_coco_file_by_name_then_by_file_name(tmp_path):
    source = TruthSource.open(written(tmp_path / "t.json", coco()))
    assert source.find(tmp_path / "a.jpg", size=(375, 500)).boxes[1][1] == "90"
    assert source.find("some/val/b.jpg", size=(10, 20)).size == (10, 20)
    assert source.find("b.jpg", size=(10, 20)).boxes_of("dog") == (Box(1, 2, 4, 6),)
    assert source.find("c.jpg") == Truth(None, ())
    assert source.find("d.jpg") is None
    assert find_truth("b.jpg", source, size=(10, 20)).size == (10, 20)
    assert find_truth("a.jpg", written(tmp_path / "t", coco()), size=(375, 500)).size == (375, 500)


def test_two_coco_images_of_one_file_name(tmp_path):
    images = [{"id": 7, "file_name": "x/a.jpg"}, {"id": 9, "file_name": "y/a.jpg"}]
    source = TruthSource.open(written(tmp_path / "t.json", coco(images=images)))
    assert len(source.find("y/a.jpg").boxes) == 1
    with pytest.raises(DataError, match=r'a\.jpg fits two images of .*"x/a\.jpg" and "y/a\.jpg"'):
        source.find("z/a.jpg")


def test_another_size_is_refused_with_both_sizes(tmp_path):
    file = written(tmp_path / "truth", voc(ONE))
    with pytest.raises(
        DataError,
        match=r"x\.png is 250 x 100 pixels, but its annotation in .*truth was made at 500 x 375",
    ):
        find_truth(photo(tmp_path / "x.png", size=(100, 250)), file)
    with pytest.raises(DataError, match="the photograph was turned after it was annotated"):
        find_truth("x.png", file, size=(500, 375))
    assert find_truth("x.png", file, size=(np.int64(375), np.int64(500))) is not None


def test_a_missing_source_and_a_missing_photograph(tmp_path):
    with pytest.raises(DataError, match=r"there is no annotation file or folder .*nothing"):
        find_truth("x.png", tmp_path / "nothing")
    with pytest.raises(ImageError, match=r"there is no file .*x\.png"):
        find_truth(tmp_path / "x.png", written(tmp_path / "truth", voc(ONE)))


def test_boxes_of_the_target_among_several_classes():
    chair, dog = Box(0, 0, 9, 9), Box(1, 1, 3, 3)
    mixed = Truth((10, 10), ((chair, "chair"), (dog, "Golden_Retriever")))
    assert mixed.boxes_for("golden retriever") == (dog,)
    with pytest.raises(
        DataError, match=r'chair, Golden_Retriever.*other classes than the target, "cat"'
    ):
        mixed.boxes_for("cat")
    with pytest.raises(DataError, match="a class without a label"):
        mixed.boxes_for(None)
    assert Truth(None, ((dog, "dog"), (chair, "dog"))).boxes_for("beagle") == (dog, chair)
    assert Truth(None, ()).boxes_for("beagle") == ()
