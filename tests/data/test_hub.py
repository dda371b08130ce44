"""Data sets of Hugging Face, from folders on disk: nothing here needs a network."""

import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data import open_data
from saliscope.data.sample import Failed, read_samples
from saliscope.errors import DataError, DependencyError, ImageError, OptionError

datasets = pytest.importorskip("datasets", reason="needs the extra [hf]")

BREEDS = ["beagle", "pug", "boxer"]
WIDTH, HEIGHT = 500, 335


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def png(value, size=(WIDTH, HEIGHT), **options):
    """A real picture of one colour, as bytes."""
    stream = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(stream, "PNG", **options)
    return stream.getvalue()


def table(rows, features):
    columns = {column: [row[column] for row in rows] for column in features}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def labelled(count, *, start=0):
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=BREEDS)}
    rows = [
        {"image": {"bytes": png(start + i), "path": None}, "label": i % 3} for i in range(count)
    ]
    return table(rows, features)


def boxed(rows, *, length=4, kind="float32"):
    """Rows of boxes and class numbers, as detection sets write them: lists in a group."""
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=BREEDS),
        "objects": {
            "bbox": datasets.List(datasets.List(datasets.Value(kind), length=length)),
            "category": datasets.List(datasets.ClassLabel(names=["head", "body"])),
        },
    }
    filled = [
        {
            "image": {"bytes": png(i), "path": None},
            "label": i % 3,
            "objects": {"bbox": boxes, "category": numbers},
        }
        for i, (boxes, numbers) in enumerate(rows)
    ]
    return table(filled, features)


@pytest.fixture
def saved(tmp_path):
    def save(data):
        data.save_to_disk(str(tmp_path / "set"))
        return str(tmp_path / "set")

    return save


def opened(place, split="test", **options):
    words = "".join(f":{key}={value}" for key, value in options.items())
    return open_data(f"hf:{place}{words}", split)


def test_columns_are_found_by_their_kinds(saved):
    place = saved(datasets.DatasetDict({"test": labelled(4, start=10)}))
    data = opened(place)
    assert data.classes == tuple(BREEDS)
    assert list(data.labels) == [0, 1, 2, 0]
    assert list(data.ids) == ["test/000000", "test/000001", "test/000002", "test/000003"]
    sample = data[2]
    assert isinstance(sample.image, bytes)  # not decoded
    assert sample.photo().size == (HEIGHT, WIDTH)
    assert sample.photo().pixels[0, 0].tolist() == [12, 0, 0]
    assert (sample.label, sample.regions, sample.masks()) == (2, (), {})


def test_validation_is_val(saved):
    place = saved(
        datasets.DatasetDict({"train": labelled(6), "validation": labelled(3), "test": labelled(1)})
    )
    assert list(opened(place, "val").ids) == [f"validation/{i:06d}" for i in range(3)]
    assert len(opened(place, "train")) == 6  # all of it: nothing has to be held out
    assert opened(place, "val")[0].split == "val"


def test_without_validation_it_is_taken_from_train(saved):
    place = saved(datasets.DatasetDict({"train": labelled(12)}))
    train, val = (opened(place, part, validation=0.25) for part in ("train", "val"))
    assert sorted([*train.ids, *val.ids]) == [f"train/{i:06d}" for i in range(12)]
    assert sorted(val.labels) == [0, 1, 2]
    assert len(opened(place, "trainval")) == 12
    for data in (train, val):
        for key, sample in zip(data.ids, data, strict=True):
            assert sample.id == key
            assert sample.photo().pixels[0, 0, 0] == int(key[-2:])


def test_where_there_is_no_test_it_says_what_there_is(saved):
    place = saved(datasets.DatasetDict({"train": labelled(3), "unsupervised": labelled(3)}))
    with pytest.raises(
        DataError, match=r'no split "test": it has "train", "unsupervised"; .* opened is "train"$'
    ):
        opened(place)


def test_an_undivided_set_is_all(saved):
    place = saved(labelled(3))
    assert list(opened(place, "all").ids) == ["all/000000", "all/000001", "all/000002"]
    with pytest.raises(DataError, match=r'no split "test": it has "all"'):
        opened(place)


def test_class_folders_are_read_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for split, breed, value in (("train", "pug", 1), ("train", "beagle", 2), ("test", "pug", 3)):
        path = tmp_path / "dogs" / split / breed / "a.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(png(value))
    data = opened(tmp_path / "dogs")
    assert data.classes == ("beagle", "pug")
    assert list(data.labels) == [1]
    assert data[0].photo().pixels[0, 0, 0] == 3


def test_boxes_of_tensorflow_datasets_come_back_to_the_pixel(saved):
    # [ymin, xmin, ymax, xmax] over the annotated size, the far side cut to 1.
    first = [27 / HEIGHT, 60 / WIDTH, 331 / HEIGHT, 385 / WIDTH]
    second = [0.0, 1 / WIDTH, 1.0, 1.01]
    data = opened(
        saved(datasets.DatasetDict({"test": boxed([([first, second], [1, 0]), ([], [])])})),
        box_format="yxyx-normalised",
    )
    sample = data[0]
    assert sample.boxes() == (Box(60, 27, 385, 331), Box(1, 0, 500, 335))
    assert [region.label for region in sample.regions] == ["body", "head"]
    assert sample.size == (HEIGHT, WIDTH)
    assert data[1].regions == ()


@pytest.mark.parametrize(
    ("box_format", "numbers"),
    [
        ("xyxy", [60, 27, 385, 331]),
        ("yxyx", [27, 60, 331, 385]),
        ("xywh", [60, 27, 325, 304]),
        ("cxcywh", [222.5, 179, 325, 304]),
        ("xyxy-normalised", [0.12, 27 / HEIGHT, 0.77, 331 / HEIGHT]),
        ("xywh-normalised", [0.12, 27 / HEIGHT, 0.65, 304 / HEIGHT]),
        ("cxcywh-normalised", [0.445, 179 / HEIGHT, 0.65, 304 / HEIGHT]),
    ],
)
def test_every_way_to_write_a_box(saved, box_format, numbers):
    place = saved(datasets.DatasetDict({"test": boxed([([numbers], [0])])}))
    assert opened(place, box_format=box_format)[0].boxes() == (Box(60, 27, 385, 331),)


def test_boxes_in_pixels_are_taken_as_they_are(saved):
    place = saved(datasets.DatasetDict({"test": boxed([([[-3.25, 0, 600, 331]], [0])])}))
    assert opened(place, box_format="xyxy")[0].boxes() == (Box(-3.25, 0, 600, 331),)


def test_how_boxes_are_meant_is_never_guessed(saved):
    place = saved(datasets.DatasetDict({"test": boxed([([[1, 2, 3, 4]], [0])])}))
    with pytest.raises(
        OptionError, match=r'boxes in "objects.bbox".*give box_format, one of "xyxy"'
    ):
        opened(place)
    assert opened(place, boxes="none")[0].regions == ()
    with pytest.raises(OptionError, match='hf has no box_format "xxyy"'):
        opened(place, box_format="xxyy")


def test_one_box_of_an_image_bears_the_images_label(saved):
    features = {
        "photo": datasets.Image(),
        "breed": datasets.ClassLabel(names=BREEDS),
        "bbox": datasets.List(datasets.Value("int64")),
    }
    row = {"photo": {"bytes": png(1), "path": None}, "breed": 2, "bbox": [1, 2, 3, 4]}
    data = opened(saved(datasets.DatasetDict({"test": table([row], features)})), box_format="xywh")
    assert data[0].boxes() == (Box(1, 2, 4, 6),)
    assert data[0].regions[0].label == "boxer"


def test_objects_may_be_a_list_of_groups(saved):
    features = {
        "image": datasets.Image(),
        "objects": datasets.List(
            {"box": datasets.List(datasets.Value("float32")), "label": datasets.Value("string")}
        ),
    }
    row = {
        "image": {"bytes": png(1), "path": None},
        "objects": [{"box": [1, 2, 3, 4], "label": "cat"}, {"box": [0, 0, 9, 9], "label": "dog"}],
    }
    data = opened(saved(datasets.DatasetDict({"test": table([row], features)})), box_format="xyxy")
    assert data[0].truth.boxes == ((Box(1, 2, 3, 4), "cat"), (Box(0, 0, 9, 9), "dog"))
    assert (data.classes, list(data.labels)) == ((), [None])


def test_columns_can_be_named(saved):
    rows = boxed([([[1, 2, 3, 4]], [1])])
    rows = rows.add_column("other", ["x"]).rename_column("label", "breed")
    place = saved(datasets.DatasetDict({"test": rows}))
    data = opened(
        place,
        image="image",
        label="other",
        boxes="objects.bbox",
        box_format="xyxy",
        box_label="none",
    )
    assert (data.classes, list(data.labels)) == (("x",), [0])
    assert data[0].regions[0].label == "x"
    data = opened(place, label="none", box_format="xyxy", box_label="objects.category")
    assert (data.labels, data[0].regions[0].label) == ([None], "body")
    with pytest.raises(OptionError, match=r'no column "objects.bbx" for boxes=; nearest: "bbox"'):
        opened(place, boxes="objects.bbx", box_format="xyxy")
    with pytest.raises(OptionError, match=r'no column "other.x" for label=; it has no parts'):
        opened(place, label="other.x", boxes="none")


def test_what_is_not_clear_is_asked_for(saved):
    features = {
        "left": datasets.Image(),
        "right": datasets.Image(),
        "coarse": datasets.ClassLabel(names=BREEDS),
        "fine": datasets.ClassLabel(names=BREEDS),
    }
    cell = {"bytes": png(1), "path": None}
    row = {"left": cell, "right": cell, "coarse": 0, "fine": 1}
    place = saved(datasets.DatasetDict({"test": table([row], features)}))
    with pytest.raises(OptionError, match='several columns may be the image: "left", "right"'):
        opened(place)
    with pytest.raises(OptionError, match='several columns may be the label: "coarse", "fine"'):
        opened(place, image="left")
    assert list(opened(place, image="left", label="fine").labels) == [1]


def test_without_pictures_there_is_nothing_to_open(saved):
    rows = datasets.Dataset.from_dict({"text": ["a"]})
    with pytest.raises(OptionError, match='no column holds pictures, only "text"'):
        opened(saved(datasets.DatasetDict({"test": rows})))
    with pytest.raises(OptionError, match="no column holds pictures"):
        opened(saved(datasets.DatasetDict({"test": labelled(1)})), image="none")


def test_words_and_numbers_are_labels_that_all_splits_share(saved):
    features = {"image": datasets.Image(), "label": datasets.Value("string")}
    cell = {"bytes": png(1), "path": None}
    parts = {
        "train": table([{"image": cell, "label": word} for word in ("pug", "boxer")], features),
        "test": table([{"image": cell, "label": word} for word in ("pug", None)], features),
    }
    data = opened(saved(datasets.DatasetDict(parts)))
    assert data.classes == ("boxer", "pug")
    assert list(data.labels) == [1, None]


def test_unlabelled_rows_have_no_label(saved):
    rows = labelled(3).remove_columns("label").add_column("label", [-1, 2, None])
    rows = rows.cast_column("label", datasets.ClassLabel(names=BREEDS))
    assert list(opened(saved(datasets.DatasetDict({"test": rows}))).labels) == [None, 2, None]


def test_turned_photographs_are_measured_upright(saved):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn: upright it is HEIGHT wide
    rows = boxed([([[0.5, 0.5, 1, 1]], [0])])
    turned = {"bytes": png(1, exif=exif), "path": None}
    rows = rows.remove_columns("image").add_column("image", [turned])
    rows = rows.cast_column("image", datasets.Image())
    sample = opened(saved(datasets.DatasetDict({"test": rows})), box_format="xyxy-normalised")[0]
    assert sample.size == sample.photo().size == (WIDTH, HEIGHT)
    assert sample.boxes() == (Box(HEIGHT / 2, WIDTH / 2, HEIGHT, WIDTH),)


def test_pictures_may_be_files(saved, tmp_path):
    (tmp_path / "a.png").write_bytes(png(7))
    rows = datasets.Dataset.from_dict({"image": [str(tmp_path / "a.png")], "box": [[0, 0, 1, 1.0]]})
    data = rows.cast_column("image", datasets.Image())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict({"test": data})
        )
        sample = opened("some/name", box_format="xyxy-normalised")[0]
    assert sample.image == tmp_path / "a.png"
    assert sample.boxes() == (Box(0, 0, WIDTH, HEIGHT),)


def test_damaged_rows_are_the_samples_own(saved):
    rows = boxed(
        [([[1, 2, 3]], [0]), ([[5, 2, 3, 4]], [0]), ([[1, 2, 3, 4]], [0, 1]), ([], [])], length=-1
    )
    data = opened(saved(datasets.DatasetDict({"test": rows})), box_format="xyxy")
    found = [sample for _, sample in read_samples(data)]
    assert [type(sample) for sample in found[:3]] == [Failed] * 3
    assert "test/000000 has no proper boxes" in found[0].message
    assert "test/000001 has no proper boxes" in found[1].message
    assert "test/000002 has 1 boxes, but 2 labels" in found[2].message
    assert found[3].regions == ()


def test_damaged_and_missing_pictures_are_the_samples_own(saved):
    features = {
        "image": datasets.Image(),
        "bbox": datasets.List(datasets.Value("float32"), length=4),
    }
    cells = [{"bytes": b"no picture", "path": None}, None]
    rows = table([{"image": cell, "bbox": [0, 0, 1, 1]} for cell in cells], features)
    place = saved(datasets.DatasetDict({"test": rows}))
    with pytest.raises(
        DataError, match=r"test/000000 has no proper boxes \(ImageError: its picture"
    ):
        opened(place, box_format="xyxy-normalised")[0]
    with pytest.raises(ImageError, match="not a picture"):
        opened(place, box_format="xyxy")[0].photo()
    with pytest.raises(DataError, match="test/000001 has no picture"):
        opened(place, box_format="xyxy")[1]


def test_empty_splits_are_errors(saved):
    place = saved(datasets.DatasetDict({"train": labelled(3)}))
    with pytest.raises(DataError, match='no samples in the split "val"'):
        opened(place, "val", validation=0)


def test_damaged_folders_are_named(saved):
    place = saved(datasets.DatasetDict({"test": labelled(1)}))
    (Path(place) / "dataset_dict.json").write_text("nothing")
    with pytest.raises(DataError, match=r"set cannot be loaded .*: write the folder again"):
        opened(place)


def test_one_sentence_where_it_cannot_be_had(monkeypatch):
    asked = []

    def unreachable(*args, **options):
        asked.append((args, options))
        raise ConnectionError("Couldn't reach 'some/name'\non the hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        DataError,
        match=r"hf:some/name cannot be loaded \(ConnectionError: .*'some/name' on the hub\)",
    ) as caught:
        opened("some/name", config=2017, revision="abc")
    assert "\n" not in str(caught.value)
    assert asked == [(("some/name",), {"name": "2017", "revision": "abc"})]


def test_progress_bars_come_back_as_they_were(saved, capfd):
    place = saved(datasets.DatasetDict({"test": labelled(2)}))
    datasets.enable_progress_bars()
    try:
        len(opened(place))
        assert not datasets.are_progress_bars_disabled()
        assert capfd.readouterr().err == ""
    finally:
        datasets.disable_progress_bars()
    len(opened(place))
    assert datasets.are_progress_bars_disabled()


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DependencyError, match=r'hf:x/y needs .* pip install "saliscope\[hf\]"'):
        opened("x/y")


def test_a_name_is_needed():
    with pytest.raises(DataError, match="write hf:NAME"):
        open_data("hf")
    with pytest.raises(OptionError, match="hf takes no root"):
        open_data("hf:x/y", root="somewhere")


def test_it_pickles(saved):
    data = pickle.loads(pickle.dumps(opened(saved(datasets.DatasetDict({"test": labelled(2)})))))
    assert np.asarray(data[1].photo().pixels)[0, 0, 0] == 1
