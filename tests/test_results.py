import csv
import errno
import json
import math
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saliscope import results
from saliscope.boxes import Box, best_iou
from saliscope.data import TruthSource
from saliscope.errors import DataError, ImageError
from saliscope.explainer import explain_batch, resolve_specs
from saliscope.images import load_image
from saliscope.keeping import file_base
from saliscope.localization import parse_protocol
from saliscope.methods import parse_method
from saliscope.models import Model
from saliscope.results import COLUMNS, Look, ResultFolder, defined, unique_stems

# --- names -----------------------------------------------------------------------------------------------------------

ODD = st.text(
    st.one_of(
        st.sampled_from("aAbB._- 12:?é\u0301\udce9|"),
        st.characters(codec="utf-8", exclude_characters="/\x00"),
    ),
    min_size=1,
    max_size=8,
).filter(lambda s: s not in (".", ".."))
PATHS = st.lists(
    st.builds(
        lambda folders, stem, suffix: Path(*folders, stem + suffix),
        st.lists(ODD, max_size=2),
        ODD,
        st.sampled_from(["", ".jpg", ".JPG", ".png"]),
    ),
    unique=True,
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(PATHS)
def test_no_two_images_share_a_file_name(paths):
    stems = unique_stems(paths)
    assert list(stems) == paths
    names = {normalize("NFC", file_base(s, "cam@layer4").casefold()) for s in stems.values()}
    assert len(names) == len(paths)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), unique=True, max_size=8))
def test_names_that_differ_stay_as_they_are(names):
    stems = unique_stems([Path("folder", f"{name}.jpg") for name in names])
    assert list(stems.values()) == names


@pytest.mark.parametrize(
    ("paths", "stems"),
    [
        (["a/dog.jpg", "b/dog.jpg"], ["a_dog", "b_dog"]),
        (["a/dog.jpg", "a/dog.png"], ["dog_jpg", "dog_png"]),
        (["a/Dog.jpg", "b/dog.jpg"], ["a_Dog", "b_dog"]),
        (["x/a/dog.jpg", "y/a/dog.jpg"], ["x_a_dog", "y_a_dog"]),
        (["a/dog.jpg", "b/dog.jpg", "a_dog.jpg"], ["dog-2", "b_dog", "a_dog"]),
        (["a:b.jpg", "a?b.jpg", "a_b.png"], ["a:b-2", "a?b-3", "a_b_png"]),
        (["p.jpg", "q.jpg"], ["p", "q"]),
        ([], []),
    ],
)
def test_a_name_grows_only_where_it_must(paths, stems):
    assert list(unique_stems([Path(p) for p in paths]).values()) == stems


# --- the folder ------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(nets):
    return Model(nets.gap(), 32, labels=["ant", "bee", "cat", "dog", "eel"])


@pytest.fixture
def paths(tmp_path):
    made = []
    for seed, name in enumerate(["one", "two", "three"]):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        made.append(tmp_path / f"{name}.png")
        Image.fromarray(pixels).save(made[-1])
    return made


@pytest.fixture
def folder(tmp_path, paths):
    made = ResultFolder(tmp_path / "out", Look(parse_protocol("yang2025")), unique_stems(paths))
    made.prepare()
    return made


def explained(model, path, *methods, **more):
    specs = resolve_specs(model, [parse_method(m) for m in methods or ("cam",)])
    return explain_batch(model, [load_image(path)], specs, **more)[0]


def table(folder):
    with (folder.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_says_what_the_explanation_says(folder, model, paths):
    folder.truth = Box(5, 5, 30, 30)
    found = explained(model, paths[0], "cam", "grad-cam@conv1", "random")
    rows = folder.write(paths[0], found)
    assert [tuple(row) for row in rows] == [COLUMNS] * 3
    for row, e in zip(rows, found, strict=True):
        box = e.box("yang2025")
        assert (row["x0"], row["y0"], row["x1"], row["y1"]) == tuple(box)
        assert row["iou"] == best_iou(box, [folder.truth]) == e.iou(folder.truth)
        assert (row["method"], row["layer"], row["status"]) == (e.method, e.layer, e.status)
        assert (row["target"], row["label"]) == (e.target.index, e.target.label)
        assert (row["logit"], row["probability"]) == (e.target.logit, e.target.probability)
        assert row["message"] is None
    assert folder.rows == rows


def test_files_of_one_image(folder, model, paths):
    folder.write(paths[0], explained(model, paths[0], "cam", "random"))
    names = sorted(p.name for p in folder.folder.iterdir())
    assert names == [
        "one.cam@act2.overlay.jpg",
        "one.maps.npz",
        "one.panel.jpg",
        "one.random.overlay.jpg",
    ]
    with Image.open(folder.folder / names[0]) as overlay:
        assert overlay.size == (50, 40)


def test_the_archive_holds_the_raw_maps(folder, model, paths):
    found = explained(model, paths[0], "cam", "grad-cam@conv1:relu=false", top=2)
    folder.write(paths[0], found)
    with np.load(folder.folder / "one.maps.npz", allow_pickle=False) as stored:
        facts = json.loads(str(stored["facts"]))
        assert len(facts) == len(found) == 4
        for i, e in enumerate(found):
            np.testing.assert_array_equal(stored[f"map_{i}"], e.map)
            assert stored[f"map_{i}"].dtype == np.float32
            assert facts[i]["spec"] == e.spec
            assert facts[i]["target"] == e.target.index
        assert tuple(stored["frame_source"]) == (40, 50)


def test_rows_stand_in_the_order_of_the_images(folder, model, paths):
    for path in reversed(paths[1:]):
        folder.write(path, explained(model, path))
    folder.failed(paths[0], ImageError("one.png is torn"))
    folder.save()
    assert [row["image"] for row in folder.rows] == ["one.png", "two.png", "three.png"]
    assert [row["image"] for row in table(folder)] == ["one.png", "two.png", "three.png"]


def test_both_tables_say_the_same_and_know_no_nan(folder, model, paths):
    folder.write(paths[0], explained(model, paths[0], "cam"))
    folder.failed(paths[1], ImageError("two.png is torn"))
    folder.save()
    text = (folder.folder / "results.json").read_text(encoding="utf-8")
    record = json.loads(text, parse_constant=pytest.fail)
    for row, line in zip(record["rows"], table(folder), strict=True):
        assert line == {k: "" if v is None else str(v) for k, v in row.items()}
    assert record["rows"][0]["iou"] is None
    assert record["rows"][1] == dict.fromkeys(COLUMNS) | {
        "image": "two.png",
        "path": str(paths[1]),
        "status": "failed",
        "message": "two.png is torn",
    }
    assert record["protocol"] == "yang2025"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "one.png does not fit into memory; make it smaller"),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "one.png cannot be read: Permission denied",
        ),
        (ImageError("as it is"), "as it is"),
        (RuntimeError("DefaultCPUAllocator: " + "x" * 500), "does not fit into memory"),
    ],
)
def test_a_failure_is_said_in_words(folder, paths, error, message):
    row = folder.failed(paths[0], error)
    assert message in row["message"]
    assert len(row["message"]) < 300
    assert folder.problem(paths[0]) == row["message"]
    assert folder.problem(paths[1]) == ""


def test_a_broken_annotation_costs_one_image_its_iou(folder, model, paths, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "one").write_text("<annotation><object>")
    (notes / "two.xml").write_text(
        "<annotation><object><name>x</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax>"
        "<ymax>31</ymax></bndbox></object></annotation>"
    )
    folder.truth = TruthSource.open(notes)
    rows = [folder.write(p, explained(model, p))[0] for p in paths]
    assert "explained, but without IoU: " in rows[0]["message"]
    assert "well-formed" in folder.problem(paths[0])
    assert math.isnan(rows[0]["iou"])
    assert rows[0]["status"] == "ok"
    assert rows[1]["iou"] == best_iou(explained(model, paths[1])[0].box(), [Box(1, 2, 30, 31)])
    assert rows[1]["message"] is None
    assert math.isnan(rows[2]["iou"])
    assert folder.unannotated == 1


def test_a_file_name_that_is_no_utf8_reaches_the_table(folder, tmp_path):
    path = Path("caf\udce9.png")
    folder.stems[path] = "x"
    folder.failed(path, ImageError("caf\udce9.png is torn"))
    folder.save()
    assert table(folder)[0]["image"] == "caf\\udce9.png"
    record = json.loads((folder.folder / "results.json").read_bytes())
    assert record["rows"][0]["message"] is not None


def test_prepare_refuses_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    folder = ResultFolder(tmp_path / "file" / "sub", Look(parse_protocol("yang2025")), {})
    with pytest.raises(DataError, match=r"cannot write into .*file.sub: .*choose another folder"):
        folder.prepare()


def test_prepare_leaves_only_the_folder(folder):
    assert list(folder.folder.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_no_half_file(folder, model, paths, monkeypatch):
    monkeypatch.setattr(results, "write_whole", full)
    with pytest.raises(DataError, match=r"pictures of one.png are not written: No space left"):
        folder.write(paths[0], explained(model, paths[0]))
    assert folder.rows == []
    with pytest.raises(DataError, match=r"table of results is not written: No space left"):
        folder.save()
    assert not [p for p in folder.folder.iterdir() if p.suffix not in (".jpg",)]


def full(path, data):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


@pytest.mark.parametrize(
    ("value", "kept"),
    [(math.nan, None), (math.inf, None), (0.5, 0.5), (None, None), ("nan", "nan"), (3, 3)],
)
def test_defined(value, kept):
    assert defined(value) == kept
