import csv
import errno
import json

import numpy as np
import pytest
from PIL import Image

import saliscope as sc
from saliscope import pipeline, results
from saliscope.images import load_image


def rows_of(folder):
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def model_of(place):
    model = sc.load_model(f"{place / 'net.py'}:build", "untrained")
    return sc.Model(model.module, 64, labels=(place / "labels.txt").read_text().splitlines())


def test_one_photograph(run, place):
    done = run("explain", place / "photos/p0.png", "-o", place / "out")
    assert done.code == 0
    assert done.out == ""
    assert done.lines == [
        f"1 image -> {place / 'out'}",
        f"1 explained, 0 failed -> {place / 'out' / 'results.csv'}",
    ]
    assert sorted(p.name for p in (place / "out").iterdir()) == [
        "p0.grad-cam@features.overlay.jpg",
        "p0.maps.npz",
        "p0.panel.jpg",
        "results.csv",
        "results.json",
    ]


def test_quiet_is_quiet(run, place):
    done = run("explain", place / "photos", "-o", place / "out", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_nothing_is_written_outside_the_output_folder(run, place, tree):
    before = tree(place)
    run("explain", place / "photos", "-o", place / "cwd" / "a" / "b", "--top", "2")
    after = tree(place)
    assert {k: v for k, v in after.items() if not k.startswith("cwd/a/b/")} == before
    assert len(after) > len(before)
    assert not [name for name in after if name.endswith(".tmp")]


def test_rows_equal_what_the_library_finds(run, place):
    methods = ["cam", "grad-cam@features.1", "grad-cam@features.0:relu=false", "random"]
    words = [word for m in methods for word in ("--method", m)]
    words += ["--labels", place / "labels.txt", "--truth", "10,12,50,40", "--batch-size", "1"]
    run("explain", place / "photos/p1.png", *words, "-o", place / "out")
    (rows, model) = rows_of(place / "out"), model_of(place)
    found = [sc.explain(model, str(place / "photos/p1.png"), m) for m in methods]
    truth = sc.Box(10, 12, 50, 40)
    assert [r["method"] for r in rows] == [e.method for e in found]
    with np.load(place / "out" / "p1.maps.npz") as maps:
        for i, (row, e) in enumerate(zip(rows, found, strict=True)):
            np.testing.assert_allclose(maps[f"map_{i}"], e.map, rtol=1e-5, atol=1e-7)
            box = e.box()
            assert [float(row[k]) for k in ("x0", "y0", "x1", "y1")] == pytest.approx(list(box))
            assert float(row["iou"]) == pytest.approx(sc.iou(box, truth))
            assert float(row["logit"]) == pytest.approx(e.target.logit, rel=1e-5)
            assert (row["layer"] or None, row["status"]) == (e.layer, e.status)
            assert (row["target"], row["label"]) == (str(e.target.index), e.target.label)


def test_both_tables_are_the_same_and_strict(run, place):
    (place / "photos/bad.png").write_text("no picture")
    run("explain", place / "photos", "-o", place / "out", "--method", "cam")
    record = json.loads((place / "out/results.json").read_text(), parse_constant=pytest.fail)
    rows = [{k: "" if v is None else str(v) for k, v in r.items()} for r in record["rows"]]
    assert rows == rows_of(place / "out")
    assert record["model"].endswith("net.py:build (untrained)")
    assert {r["iou"] for r in rows} == {""}


@pytest.mark.parametrize("size", [2, 3, 8])
def test_rows_do_not_depend_on_the_batch_size(run, place, size):
    (place / "photos/p1x.png").write_text("no picture")
    for name, count in (("one", 1), ("many", size)):
        run("explain", place / "photos", "-o", place / name, "-b", count, "-M", "cam", "--top", "2")
    one, many = rows_of(place / "one"), rows_of(place / "many")
    assert [(r["image"], r["target"]) for r in one] == [(r["image"], r["target"]) for r in many]
    assert [r["image"] for r in one][::2][:2] == ["p0.png", "p1.png"]
    for a, b in zip(one, many, strict=True):
        for key in ("x0", "y0", "x1", "y1", "logit"):
            if a["status"] != "failed":
                assert float(a[key]) == pytest.approx(float(b[key]), rel=1e-4)
        assert {k: a[k] for k in ("status", "message")} == {k: b[k] for k in ("status", "message")}


def test_top_targets_for_each_method(run, place):
    words = ["--top", "3", "-M", "cam", "-M", "random", "--labels", place / "labels.txt"]
    done = run("explain", place / "photos/p2.png", *words, "-o", place / "out")
    assert done.code == 0
    rows = rows_of(place / "out")
    assert [r["method"] for r in rows] == ["cam", "random"] * 3
    targets = [r["target"] for r in rows[::2]]
    assert len(set(targets)) == 3
    logits = [float(r["logit"]) for r in rows[::2]]
    assert logits == sorted(logits, reverse=True)
    assert {r["predicted"] for r in rows} == {targets[0]}
    overlays = sorted(p.name for p in (place / "out").glob("*.overlay.jpg"))
    assert overlays == sorted(
        f"p2.{m}.class{t}.overlay.jpg" for m in ("cam@features", "random") for t in targets
    )


@pytest.mark.parametrize("target", ["3", "tabby", "TABBY", "tab"])
def test_a_target_by_index_and_by_label(run, place, target):
    words = ["--target", target, "--labels", place / "labels.txt"]
    assert run("explain", place / "photos/p0.png", *words, "-o", place / "out").code == 0
    assert [(r["target"], r["label"]) for r in rows_of(place / "out")] == [("3", "tabby")]


def test_the_same_method_twice_is_one(run, place):
    words = ["-M", "cam", "-M", "cam", "-M", "cam@features"]
    run("explain", place / "photos/p0.png", *words, "-o", place / "out")
    assert len(rows_of(place / "out")) == 1


def test_photographs_may_stand_between_flags(run, place):
    photos = [place / f"photos/p{i}.png" for i in range(3)]
    done = run("explain", photos[2], "-o", place / "out", photos[0], "--no-progress", photos[1])
    assert done.code == 0
    assert [r["image"] for r in rows_of(place / "out")] == ["p2.png", "p0.png", "p1.png"]


def test_a_box_may_begin_outside(run, place):
    words = ["--truth", "-5,-5,40,40", "-o", place / "out"]
    assert run("explain", place / "photos/p0.png", *words).code == 0
    assert 0 < float(rows_of(place / "out")[0]["iou"]) < 1


def test_layer_serves_the_methods_that_name_none(run, place):
    words = ["-M", "grad-cam", "-M", "grad-cam@features.3", "-M", "random", "-l", "features.0"]
    run("explain", place / "photos/p0.png", *words, "-o", place / "out")
    assert [r["layer"] for r in rows_of(place / "out")] == ["features.0", "features.3", ""]


# --- annotations -----------------------------------------------------------------------------------------------------


def voc(path, box, size=None):
    edges = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inside = "".join(f"<{k}>{v}</{k}>" for k, v in edges)
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>" if size else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation>{stated}<object><name>dog</name><bndbox>{inside}</bndbox></object></annotation>"
    )
    return path


def coco(path, boxes):
    record = {"categories": [{"id": 1, "name": "dog"}], "images": [], "annotations": []}
    for i, (name, (x0, y0, x1, y1)) in enumerate(boxes.items()):
        record["images"].append({"id": i, "file_name": name})
        box = [x0, y0, x1 - x0, y1 - y0]
        record["annotations"].append({"id": i, "image_id": i, "category_id": 1, "bbox": box})
    path.write_text(json.dumps(record))
    return path


BOX = (10, 12, 50, 40)


@pytest.mark.parametrize("kind", ["text", "file", "file.xml", "folder", "subfolder", "coco"])
def test_every_kind_of_truth_gives_the_same_iou(run, place, kind):
    truth = {
        "text": lambda: ",".join(map(str, BOX)),
        "file": lambda: voc(place / "p0", BOX),
        "file.xml": lambda: voc(place / "p0.xml", BOX),
        "folder": lambda: voc(place / "notes/p0", BOX).parent,
        "subfolder": lambda: voc(place / "notes/breed/p0", BOX).parents[1],
        "coco": lambda: coco(place / "truth.json", {"p0.png": BOX}),
    }[kind]()
    words = ["--truth", truth, "--protocol", "cam2016", "-M", "centre"]
    assert run("explain", place / "photos/p0.png", *words, "-o", place / "out").code == 0
    (row,) = rows_of(place / "out")
    expected = sc.explain(model_of(place), str(place / "photos/p0.png"), "centre")
    box = expected.box("cam2016")
    assert 0 < sc.iou(box, sc.Box(*BOX)) < 1
    assert float(row["iou"]) == pytest.approx(sc.iou(box, sc.Box(*BOX)))
    assert row["protocol"] == "cam2016"


def test_corners_widen_the_box(run, place):
    voc(place / "p0", BOX)
    ious = []
    for corners in ("half-open", "inclusive", "voc"):
        words = ["--truth", place / "p0", "--corners", corners, "-M", "centre"]
        words += ["--protocol", "cam2016:threshold=0.7", "-o", place / "out"]
        run("explain", place / "photos/p0.png", *words)
        ious.append(float(rows_of(place / "out")[0]["iou"]))
    assert len(set(ious)) == 3


def test_images_without_annotation_are_counted(run, place):
    truth = coco(place / "truth.json", {"p0.png": BOX, "p3.png": BOX})
    done = run("explain", place / "photos", "--truth", truth, "-o", place / "out")
    assert done.code == 0
    assert "2 of 4 images have no box in the annotations: their IoU is empty" in done.lines
    assert [r["iou"] == "" for r in rows_of(place / "out")] == [False, True, True, False]


def test_one_broken_annotation_does_not_stop_the_others(run, place):
    for i in range(4):
        voc(place / f"notes/p{i}", BOX)
    (place / "notes/p1").write_text("<annotation>")
    voc(place / "notes/p2", BOX, size=(99, 99))
    done = run("explain", place / "photos", "--truth", place / "notes", "-o", place / "out")
    assert done.code == 1
    rows = rows_of(place / "out")
    assert [r["iou"] == "" for r in rows] == [False, True, True, False]
    assert "well-formed" in rows[1]["message"]
    assert "99 x 99" in rows[2]["message"]
    assert done.lines[-1].startswith("2 explained, 2 failed")


# --- files that are not what they should be --------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path, snap):
    """Every kind of picture the issue names, in one folder."""
    folder = tmp_path / "mixed"
    good = snap(folder / "good.jpg", height=50, width=70)
    image = Image.open(good)
    (folder / "text.jpg").write_text("no picture at all")
    (folder / "cut.jpg").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "empty.png").write_bytes(b"")
    Image.new("RGB", (1, 1), (9, 200, 30)).save(folder / "one.png")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    deep = np.linspace(0, 65535, 50 * 70).reshape(50, 70).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    image.quantize(16).save(folder / "palette.png")
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    alpha.save(folder / "alpha.png")
    image.save(folder / "moving.gif", save_all=True, append_images=[image.rotate(90)])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    return folder


BAD = {
    "cut.jpg": "is damaged",
    "empty.png": "is empty (0 bytes)",
    "huge.png": "20,000 x 20,000 pixels",
    "text.jpg": "is not a picture",
}
GOOD = ["alpha", "cmyk", "deep", "good", "moving", "one", "palette", "turned"]


def test_bad_files_never_stop_the_good_ones(run, mixed, place):
    done = run("explain", mixed, "-o", place / "out", "-M", "cam", "-M", "edges", "-b", "3")
    assert done.code == 1
    assert done.lines[0] == f"12 images -> {place / 'out'}"
    assert done.lines[-1] == f"8 explained, 4 failed -> {place / 'out' / 'results.csv'}"
    rows = {}
    for row in rows_of(place / "out"):
        rows.setdefault(row["image"], []).append(row)
    assert list(rows) == sorted(rows)
    for name, message in BAD.items():
        ((row,), said) = rows[name], [line for line in done.lines if name in line]
        assert row["status"] == "failed"
        assert message in row["message"]
        assert said == [f"failed: {row['message']}"]
        assert {row[k] for k in ("method", "target", "x0", "iou", "seconds")} == {""}
    for stem in GOOD:
        kept = {p.name for p in (place / "out").glob(f"{stem}.*")}
        assert kept == {
            f"{stem}.{end}"
            for end in ("cam@features.overlay.jpg", "edges.overlay.jpg", "panel.jpg", "maps.npz")
        }
    assert sum(len(r) for r in rows.values()) == 2 * len(GOOD) + len(BAD)
    assert not [p for p in (place / "out").iterdir() if p.name.split(".")[0] in ("cut", "text")]
    with Image.open(place / "out/turned.cam@features.overlay.jpg") as overlay:
        assert overlay.size == (50, 70)
    assert (rows["one.png"][0]["x0"], rows["one.png"][0]["status"]) == ("", "ok")


def test_only_bad_files_still_make_a_table(run, place):
    for name in ("a.jpg", "b.jpg"):
        (place / "bad").mkdir(exist_ok=True)
        (place / "bad" / name).write_text("no picture")
    done = run("explain", place / "bad", "-o", place / "out")
    assert done.code == 1
    assert [r["status"] for r in rows_of(place / "out")] == ["failed", "failed"]
    assert sorted(p.name for p in (place / "out").iterdir()) == ["results.csv", "results.json"]
    assert done.lines[-1].startswith("0 explained, 2 failed")


def test_an_empty_folder_is_a_wrong_argument(run, place):
    (place / "none").mkdir()
    done = run("explain", place / "none", "-o", place / "out")
    assert (done.code, len(done.lines)) == (2, 1)
    assert "holds no pictures" in done.err
    assert not (place / "out").exists()


def test_images_of_one_name_do_not_overwrite_each_other(run, place, snap):
    for i, name in enumerate(["a/dog.jpg", "b/dog.jpg", "c/dog.jpg", "c/dog.png", "c/Dog.jpg"]):
        snap(place / "same" / name, seed=i)
    done = run("explain", place / "same", "-o", place / "out", "-M", "cam")
    assert done.code == 0
    for ending in ("panel.jpg", "overlay.jpg", "maps.npz"):
        assert len(list((place / "out").glob(f"*.{ending}"))) == 5
    for name in ("dog_png", "a_dog", "b_dog"):
        assert (place / "out" / f"{name}.panel.jpg").is_file()


def test_pictures_of_an_earlier_run_are_not_explained(run, place):
    photos = place / "photos"
    first = run("explain", photos, "-o", photos)
    again = run("explain", photos, "-o", photos)
    assert (first.code, again.code) == (0, 0)
    assert f"left out 8 pictures that saliscope wrote into {photos}" in again.lines
    assert len(rows_of(photos)) == 4
    named = run("explain", photos / "p0.panel.jpg", "-o", photos)
    assert named.code == 0
    assert [r["image"] for r in rows_of(photos)] == ["p0.panel.jpg"]


def test_a_folder_of_nothing_but_earlier_pictures(run, place):
    run("explain", place / "photos", "-o", place / "out")
    done = run("explain", place / "out", "-o", place / "out")
    assert (done.code, len(done.lines)) == (2, 1)
    assert "all 8 pictures found are ones that saliscope wrote" in done.err


# --- stopped in the middle -------------------------------------------------------------------------------------------


def failing_after(monkeypatch, count, error):
    """Let the `count`-th archive of maps be written, and then nothing more; one image at a time, so that it is known which."""
    monkeypatch.setattr(pipeline, "cores", lambda: 1)
    real, written = results.write_whole, []

    def write(path, data):
        if len(written) >= count and not path.name.startswith("results"):
            raise error
        real(path, data)
        written.append(path)

    monkeypatch.setattr(results, "write_whole", write)


def test_a_full_disk_keeps_what_is_done(run, place, monkeypatch):
    failing_after(monkeypatch, 2, OSError(errno.ENOSPC, "No space left on device", "x.npz"))
    done = run("explain", place / "photos", "-o", place / "out", "-b", "2")
    assert done.code == 2
    assert done.lines[-1].startswith("saliscope: the pictures of p2.png are not written: No space")
    assert "Traceback" not in done.err
    assert f"2 of 4 images are in {place / 'out' / 'results.csv'}" in done.lines
    assert [r["image"] for r in rows_of(place / "out")] == ["p0.png", "p1.png"]
    assert not list((place / "out").glob("*.tmp"))


def test_a_disk_too_full_for_the_table_says_one_thing(run, place, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(results, "write_whole", full)
    done = run("explain", place / "photos", "-o", place / "out")
    assert done.code == 2
    assert len([line for line in done.lines if line.startswith("saliscope: ")]) == 1
    assert "No space left on device" in done.lines[-1]
    assert not [p for p in (place / "out").iterdir() if p.suffix != ".jpg"]


def test_interrupted_while_finishing(run, place, monkeypatch):
    failing_after(monkeypatch, 3, KeyboardInterrupt())
    done = run("explain", place / "photos", "-o", place / "out", "-b", "1")
    assert done.code == 130
    assert done.lines[-1] == "saliscope: interrupted"
    assert "Traceback" not in done.err
    # Several images are finished at once: which of them was the fourth is chance, their order in the table is not.
    finished = [r["image"] for r in rows_of(place / "out")]
    assert len(finished) == 3
    assert finished == sorted(finished)
    assert f"3 of 4 images are in {place / 'out' / 'results.csv'}" in done.lines


def test_interrupted_in_the_network(run, place, monkeypatch):
    real, calls = pipeline.explain_batch, []

    def explain(*args, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(pipeline, "explain_batch", explain)
    done = run("explain", place / "photos", "-o", place / "out", "-b", "1")
    assert done.code == 130
    written = {p.name.split(".")[0] for p in (place / "out").glob("*.npz")}
    assert {r["image"].split(".")[0] for r in rows_of(place / "out")} == written != set()


def test_interrupted_before_the_first_image_leaves_no_table(run, place, monkeypatch):
    def explain(*args, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "explain_batch", explain)
    done = run("explain", place / "photos", "-o", place / "out")
    assert (done.code, list((place / "out").iterdir())) == (130, [])


def test_a_bug_keeps_its_traceback(run, place, monkeypatch):
    monkeypatch.setattr(results, "maps_npz", lambda found: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("explain", place / "photos", "-o", place / "out")


def test_no_memory_for_one_image(run, place, monkeypatch):
    def load(path):
        if path.name == "p1.png":
            raise MemoryError
        return load_image(path)

    monkeypatch.setattr(pipeline, "load_image", load)
    done = run("explain", place / "photos", "-o", place / "out")
    assert done.code == 1
    assert "p1.png does not fit into memory" in rows_of(place / "out")[1]["message"]


# --- wrong arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "gradcam"], 'method "gradcam" is unknown; nearest: "grad-cam"'),
        (
            ["--method", "grad-cam@feature.3"],
            'layer "feature.3" is not in Net; nearest: "features.3"',
        ),
        (["--method", "cam@features.0"], "CAM can be read only where the network pools"),
        (["--method", "grad-cam:relu=maybe"], "grad-cam:relu is true or false"),
        (["--method", "random@features"], "random is not read from a layer"),
        (["--layer", "nowhere"], 'layer "nowhere" is not in Net'),
        (["--target", "fox"], "has no labels"),
        (["--target", "5"], "outside the 5 classes"),
        (["--target", "-1"], "outside the 5 classes"),
        (["--top", "0"], "ask for 1 to 5"),
        (["--top", "6"], "ask for 1 to 5"),
        (["--top", "two"], "--top"),
        (["--top", "2", "--target", "1"], "either --target or --top"),
        (["--method", "cam", "--target-space", "probability"], "not a probability; use grad-cam"),
        (["--target-space", "logits"], 'Did you mean "logit"?'),
        (["--protocol", "yang2024"], 'nearest: "yang2025"'),
        (["--colormap", "infermo"], 'nearest: "inferno"'),
        (["--normalise", "minmax"], 'Did you mean "min-max"?'),
        (["--alpha", "1.5"], "between 0 and 1; got 1.5"),
        (["--alpha", "nan"], "between 0 and 1; got nan"),
        (["--batch-size", "0"], "the batch size is at least 1; got 0"),
        (["--mean", "1,2"], "--mean is 3 numbers"),
        (["--std", "0,1,1"], "std is three numbers above 0"),
        (["--resize", "stretch"], '"squash", "crop", "letterbox"'),
        (["--device", "toaster"], 'device "toaster" cannot be used here'),
        (["--num-classes", "0"], "num_classes must be at least 1"),
        (["--labels", "nowhere.txt"], "label file nowhere.txt cannot be read"),
        (["--labels", "../net.py"], "has an empty line 1"),
        (["--labels", "../four.txt"], "4 labels for the"),
        (["--truth", "1,2,3"], "--truth is 4 numbers"),
        (["--truth", "9,9,1,1"], "x0 <= x1"),
        (["--truth", "nowhere"], "no annotation file or folder nowhere"),
        (["--truth", "../net.py"], "not well-formed XML"),
        (["--corners", "coco"], '"half-open", "inclusive", "voc"'),
        (["--modle", "x"], "Did you mean --model? See `saliscope explain --help`"),
        (["-o"], "-o requires an argument"),
        (["-o", "../net.py"], "net.py is a file; name a folder"),
        (["-o", "../net.py/sub"], "cannot write into"),
        (
            ["--method", "cam", "grad-cam@features"],
            "is a method, not a photograph; repeat the flag",
        ),
        (["http://example.org/a.jpg"], "is an address; download the picture"),
        (["--std", "-1,1,1"], "std is three numbers above 0"),
        (["nothere.jpg"], "there is no file or folder nothere.jpg"),
        (["*.webp"], 'no picture matches "*.webp"'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_one_line_and_writes_nothing(run, place, tree, words, said):
    before = tree(place)
    done = run("explain", place / "photos/p0.png", *words)
    assert done.code == 2
    assert len(done.lines) == 1, done.err
    assert done.err.startswith("saliscope: ")
    assert said in done.err
    assert done.out == ""
    assert tree(place) == before
    assert not (place / "cwd" / "saliscope-out").exists()


@pytest.mark.parametrize(
    ("given", "said"), [("fox", 'fits 2 classes: 0 "red fox", 1 "arctic fox"'), ("tabbi", "tabby")]
)
def test_an_unknown_label_gets_the_nearest(run, place, given, said):
    words = ["--labels", place / "labels.txt", "--target", given]
    done = run("explain", place / "photos/p0.png", *words)
    assert (done.code, len(done.lines)) == (2, 1)
    assert said in done.err


@pytest.mark.parametrize("size", ["0", "-5", "abc", "6x", "64x0", "x64"])
def test_a_wrong_size(run, place, size):
    words = ["--model", f"{place / 'net.py'}:build", "--weights", "untrained", f"--size={size}"]
    done = run("explain", place / "photos/p0.png", *words, net=False)
    assert (done.code, len(done.lines)) == (2, 1)
    assert "size" in done.err


@pytest.mark.parametrize(
    ("model", "weights", "said"),
    [
        ("resnet51", "untrained", 'nearest: "resnet51q", "resnet50"'),
        ("../net.py:biuld", "untrained", "has no function 'biuld'; nearest: \"build\""),
        ("nett.py:build", "untrained", "there is no file nett.py"),
        ("../net.py:build", "nowhere.pt", "there is no weights file 'nowhere.pt'"),
        ("../net.py:build", "../net.py", "unknown kind: give one of .safetensors"),
        ("", "untrained", "is empty"),
    ],
)
def test_a_wrong_network(run, place, model, weights, said):
    words = ["--model", model, "--weights", weights]
    done = run("explain", place / "photos/p0.png", *words, net=False)
    assert (done.code, len(done.lines)) == (2, 1)
    assert said in done.err


def test_memory_changes_no_map(run, place):
    words = ("explain", place / "photos/p0.png", "--method", "score-cam@features.1")
    assert run(*words, "-o", place / "a").code == 0
    assert run(*words, "-o", place / "b", "--memory", "200KB").code == 0
    with np.load(place / "a/p0.maps.npz") as one, np.load(place / "b/p0.maps.npz") as other:
        assert list(one) == list(other)
        for name in one:
            if one[name].dtype.kind == "f":
                np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("verb", ["explain", "compare"])
def test_memory_that_is_none_is_a_wrong_argument(run, place, verb):
    done = run(verb, place / "photos/p0.png", "--memory", "lots")
    assert done.code == 2
    assert 'memory is a number of bytes or a text like "500MB", "2GB" or "1.5GiB"' in done.err
    assert not (place / "cwd/saliscope-out").exists()


def test_a_long_method_shows_how_far_it_is(run, place, monkeypatch):
    from saliscope.cli import progress

    monkeypatch.setattr(progress, "_EVERY", 0.0)
    words = ("explain", place / "photos/p0.png", "--method", "score-cam@features.1", "-o", place / "out")  # fmt: skip
    done = run(*words)
    assert any(line.startswith("score-cam@features.1: asked 0 of ") for line in done.lines)
    assert not [line for line in run(*words, "--no-progress").lines if "asked" in line]
