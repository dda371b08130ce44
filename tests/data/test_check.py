"""The audit: every fault is planted once, found with its id, and nothing else is."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data import DataKind, Listing, Region, Sample, looking
from saliscope.data.check import WHAT, audit
from saliscope.errors import DataError

CLASSES = ("cat", "dog")
WHOLE = Region(Box(5, 5, 20, 15), "cat")


def picture(seed, size=(30, 40), mode="RGB", **more):
    """The bytes of a picture of noise: no two seeds are equal."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    kind = more.pop("kind", "JPEG")
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **more)
    return buffer.getvalue()


class Copy:
    """A data set on disk: `add` puts a sample into a split, `open` opens one."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.samples = {"train": [], "test": []}

    def add(self, name, data=None, *, split="train", label=0, size=(30, 40), regions=(WHOLE,), suffix=".jpg", masks=None):  # fmt: skip
        self.count += 1
        if isinstance(data, (bytes, type(None))):
            path = self.folder / f"{split}-{name.replace('/', '_')}{suffix}"
            path.write_bytes(picture(self.count) if data is None else data)
            data = path
        reader = None if masks is None else masks
        self.samples[split].append(
            Sample(name, data, label, split, tuple(regions), size, {}, reader)
        )

    def open(self, split="train", classes=CLASSES):
        own = self.samples[split]

        def read(index):
            if own[index] is None or own[index].id.startswith("bad"):
                raise DataError(f"{own[index].id} is no XML")
            return own[index]

        return Listing("beasts", split, classes, [s.id for s in own], [s.label for s in own], read)

    def audit(self, *splits, **more):
        return audit([self.open(split) for split in splits or ("train",)], threads=2, **more)


@pytest.fixture
def copy(tmp_path):
    made = Copy(tmp_path)
    made.add("one")
    made.add("two", label=1)
    return made


def only(found, what):
    """The one finding there is."""
    assert [finding.what for finding in found.findings] == [what]
    return found.findings[0]


def test_a_clean_copy(copy):
    found = copy.audit()
    assert found.findings == ()
    assert found.clean
    assert found.name == "beasts"
    assert (found.classes, found.published_classes, found.deep) == (2, None, False)
    (count,) = found.counts
    assert (count.split, count.samples, count.published) == ("train", 2, None)
    assert (count.per_class, count.empty, count.partial) == ((1, 1, 1), (), False)


def test_progress_is_told_sample_by_sample(copy):
    copy.add("bad")
    seen = []
    copy.audit(watch=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_more_samples_than_are_in_flight(tmp_path, monkeypatch):
    from saliscope.data import check

    monkeypatch.setattr(check, "_BATCH", 3)
    copy = Copy(tmp_path)
    for number in range(8):
        copy.add(f"bad{number}" if number in (2, 3) else f"n{number}")
    copy.add("n8", b"no picture")
    found = copy.audit()
    assert [(f.what, f.ids) for f in found.findings] == [
        ("annotation", ("bad2",)),
        ("annotation", ("bad3",)),
        ("image", ("n8",)),
    ]


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_an_annotation_that_cannot_be_read(copy):
    copy.add("bad1")
    finding = only(copy.audit(), "annotation")
    assert (finding.ids, finding.splits, finding.detail) == (
        ("bad1",),
        ("train",),
        "bad1 is no XML",
    )
    assert not copy.audit().clean


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"<html>", "is not a picture that can be read"),
        (picture(9)[:-300], "truncated"),
        (picture(9)[:-2], "truncated"),
        (picture(9, kind="PNG")[:-300], "truncated"),
        (picture(9, kind="WEBP")[:-300], "truncated|damaged"),
        (picture(9, kind="BMP")[:-300], "truncated|damaged"),
    ],
    ids=["empty", "text", "jpeg", "jpeg without its end", "png", "webp", "bmp"],
)
@pytest.mark.parametrize("deep", [False, True])
def test_an_image_that_cannot_be_read(copy, data, words, deep):
    copy.add("x/torn", data)
    finding = only(copy.audit(deep=deep), "image")
    assert finding.ids == ("x/torn",)
    assert any(word in finding.detail for word in words.split("|"))


def test_a_missing_image(copy, tmp_path):
    copy.add("gone", tmp_path / "gone.jpg")
    assert "there is no file" in only(copy.audit(), "image").detail


def test_a_truncated_photograph_with_a_whole_thumbnail(copy):
    """The end mark of the thumbnail in its head must not pass for that of the file."""
    thumbnail = picture(5, (8, 8))
    whole = picture(6)
    segment = b"\xff\xe1" + (len(thumbnail) + 8).to_bytes(2, "big") + b"Exif\0\0" + thumbnail
    copy.add("whole", whole[:2] + segment + whole[2:])
    copy.add("torn", whole[:2] + segment)
    copy.add("torn later", whole[:2] + segment + whole[2:-40])
    assert sorted(f.ids[0] for f in copy.audit().findings) == ["torn", "torn later"]


def test_what_cameras_write_behind_the_end_is_no_damage(copy):
    copy.add("padded", picture(9) + b"\0" * 500)
    assert copy.audit().clean


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded."""
    paths, own = [], looking.load_image

    def load(path):
        paths.append(Path(path).name)
        return own(path)

    monkeypatch.setattr(looking, "load_image", load)
    return paths


def test_only_suspicious_images_are_decoded(copy, decoded):
    copy.add("padded", picture(9) + b"\0" * 500)
    copy.add("png", picture(9, kind="PNG"), suffix=".png")
    copy.audit()
    assert decoded == ["train-padded.jpg"]


def test_deep_decodes_them_all(copy, decoded):
    assert copy.audit(deep=True).deep
    assert sorted(decoded) == ["train-one.jpg", "train-two.jpg"]


def test_damage_inside_is_found_by_decoding(copy):
    data = bytearray(picture(9, kind="PNG", size=(200, 200)))
    data[5000] ^= 0xFF
    copy.add("inside", bytes(data), size=(200, 200), suffix=".png")
    assert copy.audit().clean
    assert only(copy.audit(deep=True), "image").ids == ("inside",)


def test_masks_are_read_when_deep(copy):
    def torn():
        raise DataError("mask.png is damaged")

    copy.add("fine", masks=lambda: {"object": np.ones((30, 40), bool)})
    copy.add("torn", masks=torn)
    copy.add("small", masks=lambda: {"object": np.ones((40, 30), bool)})
    assert copy.audit().clean
    first, second = copy.audit(deep=True).findings
    assert (first.what, first.ids, first.detail) == ("mask", ("torn",), "mask.png is damaged")
    assert second.ids == ("small",)
    assert second.detail == '"object" is (40, 30), its image (30, 40) (H, W)'


# --- what does not fit -----------------------------------------------------------------------------------------------


def test_another_size_than_annotated(copy):
    copy.add("turned", size=(40, 30))
    copy.add("shrunk", size=(60, 80))
    copy.add("unstated", size=None)
    found = copy.audit()
    assert [f.detail for f in found.of("size")] == [
        "annotated at 30 x 40, the file is 40 x 30, turned",
        "annotated at 80 x 60, the file is 40 x 30",
    ]
    assert len(found.findings) == 2


def test_the_size_is_that_of_the_upright_photograph(copy):
    exif = Image.Exif()
    exif[274] = 6
    copy.add("upright", picture(9, exif=exif), size=(40, 30))
    copy.add("lying", picture(8, exif=exif), size=(30, 40))
    assert only(copy.audit(), "size").ids == ("lying",)


@pytest.mark.parametrize(
    ("box", "beyond"),
    [
        ((0, 0, 40, 30), None),
        ((-0.5, 0, 40.5, 30.5), None),
        ((-0.6, 0, 40, 30), "0.6"),
        ((0, -3, 40, 30), "3"),
        ((0, 0, 41, 30), "1"),
        ((0, 0, 40, 42.25), "12.25"),
        ((-1, -2, 43, 31), "3"),
        ((50, 0, 60, 10), "20"),
    ],
)
def test_boxes_that_leave_the_image(copy, box, beyond):
    copy.add("far", regions=(WHOLE, Region(Box(*box), "cat"), WHOLE))
    found = copy.audit()
    if beyond is None:
        assert found.findings == ()
    else:
        assert only(found, "outside").detail == f"1 of 3 boxes, by {beyond} pixels"


def test_boxes_are_judged_by_the_file_and_else_by_the_annotation(copy):
    copy.add("file", size=(100, 100), regions=(Region(Box(0, 0, 50, 20), "cat"),))
    copy.add("annotation", b"torn", size=(10, 10), regions=(Region(Box(0, 0, 50, 5), "cat"),))
    found = copy.audit()
    assert [(f.ids[0], f.detail) for f in found.of("outside")] == [
        ("file", "1 of 1 boxes, by 10 pixels"),
        ("annotation", "1 of 1 boxes, by 40 pixels"),
    ]


def test_boxes_without_area_and_images_without_regions(copy):
    copy.add("flat", regions=(WHOLE, Region(Box(3, 3, 3, 9), "cat")))
    copy.add("bare", regions=())
    found = copy.audit()
    assert [(f.what, f.ids[0], f.detail) for f in found.findings] == [
        ("flat", "flat", "1 of 2 boxes"),
        ("bare", "bare", ""),
    ]
    assert [f.what for f in found.faults] == ["flat"]


def test_colours_and_disguises_are_no_faults(copy):
    copy.add("png", picture(9, kind="PNG"))
    copy.add("PNG", picture(8, kind="PNG"), suffix=".JPEG")
    copy.add("honest", picture(7, kind="PNG"), suffix=".png")
    copy.add("grey", picture(6, mode="L"))
    copy.add("print", picture(5, mode="CMYK"))
    found = copy.audit()
    assert [(f.what, f.ids[0], f.detail) for f in found.findings] == [
        ("disguised", "png", "PNG"),
        ("disguised", "PNG", "PNG"),
        ("mode", "grey", "L"),
        ("mode", "print", "CMYK"),
    ]
    assert found.clean


# --- equal files -----------------------------------------------------------------------------------------------------


def test_equal_files_in_one_split(copy):
    for name in ("a", "b", "c"):
        copy.add(name, picture(9))
    finding = only(copy.audit(), "duplicate")
    assert finding.ids == ("a", "b", "c")
    assert not copy.audit().clean


def test_equal_files_across_splits(copy):
    copy.add("a", picture(9), split="train")
    copy.add("a", picture(9), split="test")
    copy.add("b", picture(9), split="test")
    found = copy.audit("train", "test")
    assert [(f.what, f.ids, f.splits) for f in found.findings] == [
        ("leak", ("a", "a", "b"), ("train", "test", "test")),
        ("duplicate", ("a", "b"), ("test", "test")),
    ]


def test_equal_files_with_different_labels(copy):
    copy.add("a", picture(9), label=0)
    copy.add("b", picture(9), label=1)
    found = copy.audit()
    assert [(f.what, f.ids) for f in found.findings] == [
        ("conflict", ("a", "b")),
        ("duplicate", ("a", "b")),
    ]


def test_labels_are_compared_by_name(copy):
    """Two splits may count their classes differently."""
    copy.add("a", picture(9), label=0, split="train")
    copy.add("b", picture(9), label=1, split="test")
    splits = [copy.open("train", ("cat", "dog")), copy.open("test", ("dog", "cat"))]
    assert [f.what for f in audit(splits).findings] == ["leak"]


def test_only_files_of_equal_size_are_read(copy, monkeypatch):
    hashed = []
    own = looking.digest_of

    def digest(path):
        hashed.append(path.name)
        return own(path)

    monkeypatch.setattr("saliscope.data.check.digest_of", digest)
    data = picture(9)
    copy.add("a", data)
    copy.add("b", data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    found = copy.audit()
    assert sorted(hashed) == ["train-a.jpg", "train-b.jpg"]
    assert found.of("duplicate") == ()


def test_the_digest_is_sha256_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert looking.digest_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert looking.digest_of(tmp_path / "gone") == ""


def test_images_in_memory(copy):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    copy.add("array", pixels)
    copy.add("pil", Image.fromarray(pixels))
    copy.add("turned", pixels.reshape(40, 30, 3), size=(40, 30))
    copy.samples["train"].append(Sample("torn", b"torn", 0, "train"))
    found = copy.audit(deep=True)
    assert [(f.what, f.ids) for f in found.findings] == [
        ("image", ("torn",)),
        ("duplicate", ("array", "pil")),
        ("bare", ("torn",)),
    ]


def test_equal_bytes_in_memory(copy):
    data = picture(9)
    for name in ("a", "b"):
        copy.samples["train"].append(Sample(name, data, 0, "train", (WHOLE,)))
    assert only(copy.audit(), "duplicate").ids == ("a", "b")


# --- counts ----------------------------------------------------------------------------------------------------------


def kind(**more):
    return DataKind("beasts", "Beasts", lambda **_: None, ("train", "test"), **more)


def test_a_partial_copy_is_no_fault(copy):
    copy.add("three", label=1)
    copy.add("four", split="test", label=None)
    found = copy.audit("train", "test", kind=kind(counts={"train": 5, "test": 1}, num_classes=3))
    train, test = found.counts
    assert (train.samples, train.published, train.partial) == (3, 5, True)
    assert train.per_class == (1, 1.5, 2)
    assert (test.published, test.partial, test.per_class, test.empty) == (1, False, None, ())
    assert (found.classes, found.published_classes) == (2, 3)
    assert found.clean


def test_more_than_published_is_one(copy):
    finding = only(copy.audit(kind=kind(counts={"train": 1})), "surplus")
    assert (finding.ids, finding.splits) == ((), ("train",))
    assert finding.detail == "2 samples, published 1"


def test_classes_without_a_sample(copy):
    (count,) = audit([copy.open(classes=("cat", "dog", "owl"))]).counts
    assert count.empty == ("owl",)


def test_a_divided_list_is_counted_whole(copy):
    train = copy.open()
    val = replace(copy.open(), split="val")
    found = audit([train, val], kind(counts={"trainval": 12}))
    assert [(c.split, c.samples, c.published) for c in found.counts] == [
        ("train", 2, None),
        ("val", 2, None),
        ("train + val", 4, 12),
    ]
    whole = audit([replace(train, split="trainval")], kind(counts={"trainval": 2})).counts
    assert [(c.split, c.published, c.partial) for c in whole] == [("trainval", 2, False)]


def test_nothing_to_check():
    found = audit([])
    assert (found.name, found.counts, found.clean) == ("", (), True)


def test_every_finding_has_words():
    assert len(WHAT) == 13
    assert all(words and words[0].islower() for words in WHAT.values())
