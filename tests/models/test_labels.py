import json

import pytest
import timm

from saliscope.errors import DataError, TargetError
from saliscope.models.labels import find_label, imagenet_labels, read_labels, timm_labels

NAMES = ("golden retriever", "Labrador_retriever", "German short-haired pointer", "tabby", "Tiger")


@pytest.mark.parametrize(
    ("given", "index"),
    [
        ("tabby", 3),
        ("TABBY", 3),
        ("tiger", 4),
        ("Golden Retriever", 0),
        ("golden-retriever", 0),
        ("goldenRetriever", 0),
        ("labrador retriever", 1),
        (" Labrador - Retriever ", 1),
        ("german_short_haired_pointer", 2),
        ("pointer", 2),
        ("labra", 1),
    ],
)
def test_a_class_by_its_name(given, index):
    assert find_label(given, NAMES) == index


def test_the_whole_name_wins_over_a_part():
    assert find_label("cat", ["wildcat", "cat", "cats"]) == 1


def test_several_classes_fit():
    message = (
        r"'retriever' fits 2 classes: 0 \"golden retriever\", 1 \"Labrador_retriever\"; give the"
    )
    with pytest.raises(TargetError, match=message):
        find_label("retriever", NAMES)
    with pytest.raises(TargetError, match=r"'a' fits 11 classes: 0 \"a0\", .*7 \"a7\" and 3 more;"):
        find_label("a", [f"a{i}" for i in range(11)])


@pytest.mark.parametrize("given", ["goldn retreiver", "", "- _"])
def test_no_class_fits(given):
    with pytest.raises(TargetError, match=f"no class is called '{given}'; (nearest|known): "):
        find_label(given, NAMES)


def test_the_nearest_names_are_offered():
    with pytest.raises(TargetError, match='nearest: "golden retriever"'):
        find_label("goldn retreiver", NAMES)


def test_imagenet_has_its_thousand_names():
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert [labels[i] for i in (0, 207, 281, 999)] == [
        "tench", "golden retriever", "tabby", "toilet tissue",
    ]  # fmt: skip
    assert find_label("Golden_Retriever", labels) == 207
    assert len(set(labels)) == 1000
    assert find_label("crane", labels) == 517  # the machine; 134 is "crane bird"


class Described:
    def __init__(self, count, **config):
        self.num_classes, self.pretrained_cfg = count, config


def test_labels_of_timm_networks():
    assert timm_labels(Described(1000)) == imagenet_labels()
    assert timm_labels(Described(7)) is None
    assert timm_labels(object()) is None
    assert timm_labels(Described(2, label_names=["a", "b"])) == ("a", "b")
    assert timm_labels(Described(2, label_names=["a", "b", "c"])) is None
    both = Described(2, label_names=["n1", "n2"], label_descriptions={"n1": "cat", "n2": "dog"})
    assert timm_labels(both) == ("cat", "dog")
    assert timm_labels(both, 1000) == imagenet_labels()
    large = timm_labels(Described(11821))
    assert len(large) == 11821
    assert large[0] == timm.data.ImageNetInfo("imagenet-12k").index_to_description(0)


def test_text_files(tmp_path):
    file = tmp_path / "names.txt"
    file.write_bytes("\ufeffcat\r\n große Katze \r\ndog\r\n\r\n\r\n".encode())
    assert read_labels(file) == ("cat", "große Katze", "dog")
    assert read_labels(str(file)) == ("cat", "große Katze", "dog")


def test_json_files(tmp_path):
    file = tmp_path / "names.json"
    file.write_text(json.dumps(["cat", "dog"]))
    assert read_labels(file) == ("cat", "dog")
    file.write_text(
        json.dumps({"1": "dog", "10": "k", "0": "cat"} | {str(i): "x" for i in range(2, 10)})
    )
    assert read_labels(file) == ("cat", "dog", *"xxxxxxxx", "k")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"a.txt has no names in it: write one name a line"),
        ("a.txt", b"cat\n\ndog\n", "a.txt has an empty line 2"),
        ("a.txt", b"\xff\xfe\x00c", "a.txt cannot be read .* give UTF-8 text"),
        ("a.json", b"[\"cat\",", "a.json is no JSON"),
        ("a.json", b"{\"0\": \"cat\", \"2\": \"dog\"}", "has 2 entries, but not the keys 0 to 1"),
        ("a.json", b"[]", "holds no list of names"),
        ("a.json", b"[\"cat\", 3]", "holds no list of names"),
        ("a.json", b"[\"cat\", \" \"]", "holds no list of names"),
        ("a.json", b"{}", "holds no list of names"),
        ("a.json", b"7", "holds no list of names"),
    ],
)  # fmt: skip
def test_broken_files(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_labels(file)


def test_missing_files(tmp_path):
    for missing in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_labels(missing)
