"""Class folders: which files are samples, which labels and splits they get, and how boxes find their pictures."""

import json
import logging
import os
import pickle

import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data import fingerprint, held_out, open_data, read_samples
from saliscope.data.sample import Failed, Region
from saliscope.errors import DataError, OptionError


def put(root, *names, size=(40, 60)):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size[1], size[0])).save(root / name)


def opened(root, split="all", options=""):
    return open_data(f"folder:{root}{options}", split)


@pytest.fixture
def pets(tmp_path):
    root = tmp_path / "pets"
    put(root, *(f"{name}/{name[0]}{i}.jpg" for name in ("dog", "cat") for i in range(10)))
    return root


# --- which files -----------------------------------------------------------------------------------------------------


def test_class_folders(tmp_path):
    put(tmp_path, "dog/b.jpg", "dog/more/a.JPG", "cat/z.png", "Bird/1.jpg")
    data = opened(tmp_path)
    assert data.classes == ("Bird", "cat", "dog")
    assert data.ids == ["Bird/1.jpg", "cat/z.png", "dog/b.jpg", "dog/more/a.JPG"]
    assert list(data.labels) == [0, 1, 2, 2]
    assert (data.name, data.split) == (f"folder:{tmp_path}", "all")
    sample = data[3]
    assert (sample.id, sample.label, sample.split, sample.size) == (
        "dog/more/a.JPG",
        2,
        "all",
        None,
    )
    assert sample.image == tmp_path / "dog/more/a.JPG"
    assert sample.photo().size == (40, 60)
    assert sample.regions == ()


def test_numbers_are_counted_not_spelt(tmp_path):
    put(tmp_path, *(f"{name}/x.jpg" for name in ("0", "1", "10", "2", "100")))
    assert opened(tmp_path).classes == ("0", "1", "2", "10", "100")
    put(tmp_path, "x1/x.jpg")
    assert opened(tmp_path).classes == ("0", "1", "10", "100", "2", "x1")


def test_hidden_files_and_others_are_counted(tmp_path, caplog):
    put(tmp_path, "dog/a.jpg", ".cache/x.jpg", "dog/._a.jpg", "dog/.thumbs/a.jpg")
    (tmp_path / "dog/notes.txt").write_text("x")
    (tmp_path / "dog/jpg").write_text("x")
    (tmp_path / "masks").mkdir()
    with caplog.at_level(logging.INFO, "saliscope"):
        data = opened(tmp_path)
    assert data.ids == ["dog/a.jpg"]
    assert data.classes == ("dog",)
    assert caplog.messages == [f"{tmp_path}: left out 2 files that are no pictures, 3 hidden"]


def test_pictures_beside_the_class_folders_are_left_out_aloud(pets, caplog):
    put(pets, "cover.jpg", "back.jpg")
    data = opened(pets)
    assert len(data) == 20
    assert "2 pictures lie in no class folder and are left out, e.g. back.jpg" in caplog.text


def test_links_are_followed_but_not_in_a_circle(tmp_path):
    put(tmp_path, "store/dogs/a.jpg", "data/cat/b.jpg")
    (tmp_path / "data/dog").symlink_to(tmp_path / "store/dogs")
    (tmp_path / "data/cat/again").symlink_to(tmp_path / "data")
    (tmp_path / "store/dogs/up").symlink_to(tmp_path / "store")
    data = opened(tmp_path / "data")
    assert data.ids == ["cat/b.jpg", "dog/a.jpg"]
    assert data.classes == ("cat", "dog")


def test_a_dead_link_and_a_damaged_picture_are_samples_that_say_so(tmp_path):
    put(tmp_path, "dog/a.jpg")
    (tmp_path / "dog/b.jpg").symlink_to(tmp_path / "nowhere.jpg")
    data = opened(tmp_path)
    assert data.ids == ["dog/a.jpg", "dog/b.jpg"]
    with pytest.raises(ValueError, match=r"b\.jpg"):
        data[1].photo()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_picture(tmp_path):
    put(tmp_path, "dog/a.jpg")
    os.mkfifo(tmp_path / "dog/b.jpg")
    assert opened(tmp_path).ids == ["dog/a.jpg"]


# --- splits ----------------------------------------------------------------------------------------------------------


def test_without_split_folders_the_seed_divides(pets):
    data = {split: opened(pets, split) for split in ("train", "val", "trainval", "test", "all")}
    assert {split: len(part) for split, part in data.items()} == {
        "train": 14,
        "val": 2,
        "trainval": 16,
        "test": 4,
        "all": 20,
    }
    assert all(part.classes == ("cat", "dog") for part in data.values())
    assert sorted(data["test"].labels) == [0, 0, 1, 1]
    assert sorted(data["val"].labels) == [0, 1]
    ids = {split: set(part.ids) for split, part in data.items()}
    assert ids["train"] | ids["val"] == ids["trainval"]
    assert ids["trainval"] | ids["test"] == ids["all"]
    assert not ids["train"] & ids["val"]
    assert not ids["trainval"] & ids["test"]
    assert ids["test"] == held_out(data["all"].ids, data["all"].labels, share=0.2)
    assert data["train"][0].split == "train"


def test_shares_and_seed_are_options(pets):
    every = opened(pets)
    found = opened(pets, "test", ":test=0.5:seed=4")
    assert set(found.ids) == held_out(every.ids, every.labels, share=0.5, seed=4)
    assert set(found.ids) != held_out(every.ids, every.labels, share=0.5)
    assert len(opened(pets, "trainval", ":test=0")) == 20
    assert len(opened(pets, "val", ":test=0.5:validation=0.4")) == 4


@pytest.mark.parametrize("folder", ["val", "valid", "validation", "Val"])
def test_folders_name_the_splits(tmp_path, folder):
    put(tmp_path, "train/dog/a.jpg", "train/cat/sub/b.jpg", f"{folder}/dog/a.jpg", "test/cow/c.jpg")
    (tmp_path / "boxes").mkdir()
    found = {s: opened(tmp_path, s) for s in ("train", "val", "trainval", "test", "all")}
    assert all(part.classes == ("cat", "cow", "dog") for part in found.values())
    assert found["train"].ids == ["train/cat/sub/b.jpg", "train/dog/a.jpg"]
    assert list(found["train"].labels) == [0, 2]
    assert (found["val"].ids, list(found["val"].labels)) == ([f"{folder}/dog/a.jpg"], [2])
    assert (found["test"].ids, list(found["test"].labels)) == (["test/cow/c.jpg"], [1])
    assert set(found["trainval"].ids) == {*found["train"].ids, *found["val"].ids}
    assert len(found["all"]) == 4


def test_a_missing_val_is_taken_from_train(pets, tmp_path):
    (tmp_path / "set").mkdir()
    pets.rename(tmp_path / "set/train")
    put(tmp_path / "set", "test/dog/x.jpg")
    val, train = (opened(tmp_path / "set", split) for split in ("val", "train"))
    assert sorted(val.labels) == [0, 1]
    assert len(train) == 18
    assert not set(val.ids) & set(train.ids)
    assert len(opened(tmp_path / "set", "trainval")) == 20
    assert opened(tmp_path / "set", "test").ids == ["test/dog/x.jpg"]


def test_a_split_without_a_folder(tmp_path):
    put(tmp_path, "train/dog/a.jpg", "val/dog/b.jpg")
    with pytest.raises(DataError, match=r'no folder for the split "test", only for "train", "val"'):
        opened(tmp_path, "test")
    put(tmp_path / "other", "val/dog/b.jpg")
    for split in ("train", "test"):
        with pytest.raises(DataError, match=rf'no folder for the split "{split}", only for "val"'):
            opened(tmp_path / "other", split)


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, "train/a.jpg", "car/b.jpg", "test/c.jpg")
    assert opened(tmp_path).classes == ("car", "test", "train")


def test_folders_of_splits_mixed_with_others(tmp_path):
    put(tmp_path, "train/dog/a.jpg", "car/b.jpg")
    with pytest.raises(
        DataError, match=r'mixes folders of splits \("train"\) with others \("car"\)'
    ):
        opened(tmp_path)


@pytest.mark.parametrize("names", [("a.jpg", "b.jpg"), ("train/a.jpg", "test/b.jpg")])
def test_pictures_without_classes_open_as_all_only(tmp_path, names):
    put(tmp_path, *names)
    data = opened(tmp_path)
    assert data.ids == sorted(names)
    assert list(data.labels) == [None, None]
    assert data.classes == ()
    assert data[0].label is None
    for split in ("train", "test"):
        with pytest.raises(
            DataError, match=r'no class folders, so .* split="all"(.|\n)*PATH/CLASS'
        ):
            opened(tmp_path, split)


def test_what_cannot_be_opened(tmp_path, pets, monkeypatch):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; check the path"):
        opened(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no pictures(.|\n)*PATH/train/CLASS"):
        opened(tmp_path / "empty")
    for split, options in (("val", ":validation=0"), ("test", ":test=0")):
        with pytest.raises(DataError, match=rf'the split "{split}" of .* is empty'):
            opened(pets, split, options)
    for options in (":test=1.5", ":test=much"):
        with pytest.raises(OptionError, match="the test share must be at least 0 and below 1"):
            opened(pets, "test", options)
    with pytest.raises(OptionError, match=r"the validation share must be .*, got much"):
        opened(pets, "val", ":validation=much")
    with pytest.raises(OptionError, match=r'folder has no corners "outer"'):
        opened(pets, "val", ":corners=outer")

    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(DataError, match="cannot be read: Permission denied; check its permissions"):
        opened(pets)


# --- boxes from a table ----------------------------------------------------------------------------------------------


def table(pets, text, split="all", options="", encoding="utf-8"):
    path = pets.parent / "boxes.csv"
    path.write_bytes(text.encode(encoding))
    return opened(pets, split, f":boxes={path}{options}")


def regions(data, key):
    return data[data.ids.index(key)].regions


@pytest.mark.parametrize(
    "text",
    [
        "file,x0,y0,x1,y1\ncat/c1.jpg,2,3,10,12\n",
        "Image, XMin ,YMin,XMax,YMax\ncat/c1.jpg, 2,3,10,12\n",
        "path,x1,y1,x2,y2\ncat/c1.jpg,2,3,10,12\n",
        "x,y,w,h,filename\n2,3,8,9,cat/c1.jpg\n",
        "file;x;y;width;height\r\ncat/c1.jpg;2;3;8;9\r\n",
        "file;x0;y0;x1;y1\ncat/c1.jpg;2,0;3,0;10;12\n",
        "file\tx0\ty0\tx1\ty1\ncat/c1.jpg\t2\t3\t10\t12\n",
        '\ufefffile,x0,y0,x1,y1\n"cat/c1.jpg",2,3,10,12\n\n',
        "file,x0,y0,x1,y1\nc1.jpg,2,3,10,12\n",
        "file,x0,y0,x1,y1\npets/cat/c1.jpg,2,3,10,12\n",
        "file,x0,y0,x1,y1\nC:\\old\\pets\\cat\\c1.jpg,2,3,10,12\n",
        "file,x0,y0,x1,y1\n./cat/c1.jpg,2,3,10,12\n",
        "file,width,height,label,xmin,ymin,xmax,ymax\ncat/c1.jpg,60,40,cat,2,3,10,12\n",
    ],
)
def test_ways_to_write_one_box(pets, text):
    data = table(pets, text)
    assert regions(data, "cat/c1.jpg") == (Region(Box(2, 3, 10, 12), "cat"),)
    assert regions(data, "cat/c2.jpg") == ()
    assert regions(data, "dog/d1.jpg") == ()


def test_several_boxes_labels_and_fractions(pets):
    data = table(
        pets,
        "file,x0,y0,x1,y1,label\nd1.jpg,1,2,3,4,puppy\nc1.jpg,0,0,9.5,9,\nd1.jpg,5,6,7,8.25,ball\n",
    )
    assert regions(data, "dog/d1.jpg") == (
        Region(Box(1, 2, 3, 4), "puppy"),
        Region(Box(5, 6, 7, 8.25), "ball"),
    )
    assert regions(data, "cat/c1.jpg") == (Region(Box(0, 0, 9.5, 9), "cat"),)


def test_width_and_height_beside_corners_are_the_size_of_the_picture(pets):
    data = table(
        pets, "filename,width,height,class,xmin,ymin,xmax,ymax\nc1.jpg,60,40,cat,2,3,10,12\n"
    )
    sample = data[data.ids.index("cat/c1.jpg")]
    assert sample.size == (40, 60)
    assert sample.boxes() == (Box(2, 3, 10, 12),)


@pytest.mark.parametrize(
    ("corners", "expected"), [("inclusive", Box(2, 3, 11, 13)), ("voc", Box(1, 2, 10, 12))]
)
def test_corners(pets, corners, expected):
    data = table(pets, "file,x0,y0,x1,y1\nc1.jpg,2,3,10,12\n", options=f":corners={corners}")
    assert regions(data, "cat/c1.jpg")[0].box == expected
    with pytest.raises(OptionError, match=r"has the columns x, y, w, h, which counts from 0"):
        table(pets, "file,x,y,w,h\nc1.jpg,2,3,10,12\n", options=f":corners={corners}")


def test_a_row_without_numbers_says_that_there_is_no_box(pets):
    data = table(pets, "file,x0,y0,x1,y1\nc1.jpg,,,,\nd1.jpg\nd2.jpg,1,1,2,2\n")
    assert regions(data, "cat/c1.jpg") == ()
    assert regions(data, "dog/d1.jpg") == ()
    assert len(regions(data, "dog/d2.jpg")) == 1


@pytest.mark.parametrize(
    "row", ["c1.jpg,5,1,2,2", "c1.jpg,a,1,2,2", "c1.jpg,1,1,2", "c1.jpg,nan,1,2,2"]
)
def test_a_damaged_row_is_reported_by_its_picture_and_line(pets, row):
    data = table(pets, f"file,x0,y0,x1,y1\nd1.jpg,1,1,2,2\n{row}\n")
    failed = [found for _, found in read_samples(data) if isinstance(found, Failed)]
    assert [one.id for one in failed] == ["cat/c1.jpg"]
    assert failed[0].message.startswith("cat/c1.jpg: ")
    assert "boxes.csv, line 3: x0, y0, x1, y1 are" in failed[0].message
    assert len(regions(data, "dog/d1.jpg")) == 1


def test_names_match_whole_folders_only(pets):
    """cow/c1.jpg is not cat/c1.jpg, and 1.jpg is not c1.jpg."""
    with pytest.raises(
        DataError, match=r"names 2 pictures \(cow/c1\.jpg, 1\.jpg\), but none .* like cat/c0\.jpg"
    ):
        table(pets, "file,x0,y0,x1,y1\ncow/c1.jpg,1,1,2,2\n1.jpg,1,1,2,2\ncow/c1.jpg,1,1,2,2\n")


def test_names_that_are_not_here_are_counted(pets, caplog):
    data = table(pets, "file,x0,y0,x1,y1\nc1.jpg,1,1,2,2\ngone.jpg,1,1,2,2\ncow/x.jpg,1,1,2,2\n")
    assert len(regions(data, "cat/c1.jpg")) == 1
    assert "names 2 pictures that are not here, e.g. gone.jpg, cow/x.jpg" in caplog.text


def test_boxes_of_other_splits_are_no_strangers(pets, caplog):
    rows = "".join(f"cat/c{i}.jpg,{i},1,20,20\n" for i in range(10))
    data = table(pets, f"file,x0,y0,x1,y1\n{rows}", "test")
    assert caplog.text == ""
    found = {sample.id: sample.regions[0].box.x0 for sample in data if sample.label == 0}
    assert found == {key: float(key[5]) for key in data.ids if key.startswith("cat")}


def test_names_that_fit_several(pets):
    put(pets, "dog/c1.jpg")
    with pytest.raises(
        DataError, match=r'"c1\.jpg" in .* fits 2 pictures, cat/c1\.jpg and dog/c1\.jpg'
    ):
        table(pets, "file,x0,y0,x1,y1\nc1.jpg,1,1,2,2\n")
    data = table(pets, "file,x0,y0,x1,y1\ncat/c1.jpg,1,1,2,2\n")
    assert [sample.id for sample in data if sample.regions] == ["cat/c1.jpg"]


def test_names_below_the_folders_of_splits(tmp_path):
    put(tmp_path / "set", "train/dog/a.jpg", "val/dog/a.jpg", "val/dog/b.jpg")
    text = "file,x0,y0,x1,y1\nval/dog/a.jpg,1,1,2,2\ndog/b.jpg,3,3,4,4\n"
    data = table(tmp_path / "set", text)
    assert [sample.boxes() for sample in data] == [(), (Box(1, 1, 2, 2),), (Box(3, 3, 4, 4),)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns of an empty file; it needs one of file, image, path, filename"),
        ("file,x0,y0,x1\na,1,1,2\n", "has the columns file, x0, y0, x1; it needs"),
        ("x0,y0,x1,y1\n1,1,2,2\n", "it needs one of file"),
        ("file,x0,y0,x1,y1\n", "holds no boxes; it should name pictures like cat/c0.jpg"),
        ("<annotation/>", "is a single XML file; give the folder"),
        ('{"images": 3', "is not JSON"),
        ("file,x0,y0,x1,y1\n" + "c" * 200_000 + ",1,1,2,2\n", "line 2: field larger"),
    ],
)
def test_tables_that_cannot_be(pets, text, message):
    with pytest.raises(DataError, match=message):
        table(pets, text)


def test_files_that_cannot_be_read(pets):
    with pytest.raises(DataError, match=r"boxes\.csv cannot be read .*; save them as UTF-8"):
        table(pets, "file,x0,y0,x1,y1\né.jpg,1,1,2,2\n", encoding="latin-1")
    with pytest.raises(
        DataError, match=r"there are no boxes gone\.csv, neither in .* nor in .*pets"
    ):
        opened(pets, "all", ":boxes=gone.csv")


def test_boxes_inside_the_folder_by_their_name(pets):
    (pets / "truth.csv").write_text("file,x0,y0,x1,y1\nc1.jpg,1,2,3,4\n")
    assert regions(opened(pets, "all", ":boxes=truth.csv"), "cat/c1.jpg")[0].box == Box(1, 2, 3, 4)


# --- boxes from COCO and VOC -----------------------------------------------------------------------------------------


def test_coco(pets):
    content = {
        "images": [
            {"id": 7, "file_name": "c1.jpg", "width": 60, "height": 40},
            {"id": 8, "file_name": "dog/d1.jpg"},
        ],
        "categories": [{"id": 3, "name": "kitten"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1.5, 2, 10, 20]},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5]},
        ],
    }
    (pets / "instances.json").write_text(json.dumps(content))
    data = opened(pets, "all", ":boxes=instances.json")
    sample = data[data.ids.index("cat/c1.jpg")]
    assert sample.regions == (
        Region(Box(1.5, 2, 11.5, 22), "kitten"),
        Region(Box(0, 0, 5, 5), "kitten"),
    )
    assert sample.size == (40, 60)
    assert regions(data, "dog/d1.jpg") == ()
    with pytest.raises(OptionError, match=r'corners="voc" .* is a COCO file'):
        opened(pets, "all", ":boxes=instances.json:corners=voc")


XML = (
    "<annotation><size><width>60</width><height>40</height></size><object><name>puppy</name><bndbox><xmin>3</xmin>"
    "<ymin>4</ymin><xmax>10</xmax><ymax>12</ymax></bndbox></object></annotation>"
)


@pytest.mark.parametrize("name", ["d1.xml", "d1", "dog/d1.XML", "Annotation/dog/d1"])
def test_a_folder_of_xml(pets, tmp_path, name):
    path = tmp_path / "xml" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(XML)
    (tmp_path / "xml/.DS_Store").write_text("x")
    (tmp_path / "xml/classes.txt").write_text("x")
    data = opened(pets, "all", f":boxes={tmp_path / 'xml'}:corners=voc")
    assert [sample.id for sample in data if sample.regions] == ["dog/d1.jpg"]
    sample = data[data.ids.index("dog/d1.jpg")]
    assert sample.regions == (Region(Box(2, 3, 10, 12), "puppy"),)
    assert sample.size == (40, 60)


def test_xml_beside_the_pictures(pets):
    (pets / "dog/d1.xml").write_text(XML)
    (pets / "dog/d2.xml").write_text("<annotation>")
    data = opened(pets, "all", f":boxes={pets}")
    assert regions(data, "dog/d1.jpg")[0].box == Box(3, 4, 10, 12)
    failed = [found for _, found in read_samples(data) if isinstance(found, Failed)]
    assert [one.id for one in failed] == ["dog/d2.jpg"]
    assert "d2.xml is not well-formed" in failed[0].message


def test_one_xml_for_two_pictures_of_one_name(pets, tmp_path):
    put(pets, "dog/d1.png")
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml/d1.xml").write_text(XML)
    with pytest.raises(DataError, match=r'"d1" in .* fits 2 pictures, dog/d1\.jpg and dog/d1\.png'):
        opened(pets, "all", f":boxes={tmp_path / 'xml'}")


def test_a_folder_without_xml(pets, tmp_path):
    (tmp_path / "xml").mkdir()
    with pytest.raises(DataError, match=r"xml holds no boxes; it should name pictures like cat/c0"):
        opened(pets, "all", f":boxes={tmp_path / 'xml'}")


@pytest.mark.parametrize("kind", ["csv", "json", "xml"])
def test_a_pickled_data_set_reads_the_same(pets, kind):
    (pets / "b.csv").write_text("file,x0,y0,x1,y1\nc1.jpg,1,2,3,4\n")
    (pets / "b.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "c1.jpg"}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 2, 2]}],
            }
        )
    )
    (pets / "b.xml").mkdir()
    (pets / "b.xml/c1.xml").write_text(XML)
    data = opened(pets, "all", f":boxes=b.{kind}")
    again = pickle.loads(pickle.dumps(data))
    assert fingerprint(again) == fingerprint(data)
    assert regions(again, "cat/c1.jpg") == regions(data, "cat/c1.jpg") != ()
