"""run.json: the same settings continue a run, others are refused with the fields that differ."""

import json
import re

import pytest

from saliscope.errors import DataError, OptionError
from saliscope.runs import make_run_settings
from saliscope.runs.place import open_place
from saliscope.runs.record import Session, check_ours, hash_of, open_record, read_record

FACTS = {"weights": "0a", "data": {"test": "1b"}, "preprocessing": {"size": (32, 32)}}


def make(**more):
    return make_run_settings(**{"model": "net", "data": "critters", "methods": ["cam"], **more})


@pytest.fixture
def place(tmp_path):
    place = open_place(tmp_path / "run")
    open_record(place, make(root="/d"), FACTS).save(place)
    return place


def test_a_new_record_says_what_will_be_done(tmp_path):
    record = open_record(
        open_place(tmp_path), make(protocols=["cam2016"], margin=0.1, root="/d"), FACTS
    )
    assert record.explain["methods"] == ["cam"]
    assert record.resolved == {
        "weights": "0a",
        "data": {"test": "1b"},
        "preprocessing": {"size": [32, 32]},
    }
    assert record.declared == {"primary": "iou@cam2016", "reference": None, "margin": 0.1}
    assert (record.measure["protocols"], record.measured) == (["cam2016"], "")
    assert (record.root, record.ended, record.sessions) == ("/d", None, [])
    assert list(tmp_path.iterdir()) == []  # it is not saved by that


def test_saved_and_read_again_it_is_equal(place):
    record = read_record(place)
    record.begin(Session("explain", "2026-01-01", "a machine", done=3))
    record.selected = {"test": 4}
    record.save(place)
    assert read_record(place) == record
    assert json.loads(place.read("run.json"))["schema"] == 1


def test_the_hash_does_not_depend_on_order_or_lists():
    assert hash_of({"a": 1, "b": (1, 2)}) == hash_of({"b": [1, 2], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})
    assert re.fullmatch("[0-9a-f]{12}", hash_of({}))


def test_the_last_twenty_sessions_are_kept(place):
    record = read_record(place)
    for number in range(25):
        record.begin(Session("explain", f"{number:02}"))
    assert [int(s.started) for s in record.sessions] == list(range(5, 25))


def test_shards_keep_each_others_sessions(place):
    """Two that read run.json at the same time, and write it in turns."""
    one, two = read_record(place), read_record(place)
    first = one.begin(Session("explain", "t1", shard="1/2"))
    one.save(place)
    second = two.begin(Session("explain", "t2", shard="2/2"))
    two.save(place)
    first.done, first.ended = 5, "t3"
    one.save(place)
    second.done = 7
    two.begin(Session("measure", "t2", shard="2/2"))
    two.save(place)
    found = [(s.shard, s.stage, s.done, s.ended) for s in read_record(place).sessions]
    assert found == [
        ("1/2", "explain", 5, "t3"),
        ("2/2", "explain", 7, None),
        ("2/2", "measure", 0, None),
    ]
    assert len({s.key for s in read_record(place).sessions}) == 3
    assert "_own" not in json.loads(place.read("run.json"))


def test_twenty_sessions_are_kept_of_each_shard(place):
    records = [read_record(place) for _ in range(3)]
    for number in range(22):
        for shard, record in enumerate(records):
            record.begin(Session("explain", f"{number:02}", shard=f"{shard + 1}/3"))
            record.save(place)
    kept = read_record(place).sessions
    assert [(int(s.started), s.shard) for s in kept] == [
        (n, f"{k}/3") for n in range(2, 22) for k in (1, 2, 3)
    ]
    assert len({s.key for s in kept}) == 60


def test_two_stretches_of_the_same_second_are_two(place):
    for _ in range(2):
        record = read_record(place)
        record.begin(Session("measure", "t", "m"))
        record.save(place)
    assert len(read_record(place).sessions) == 2


def test_sessions_of_an_older_version_are_kept_once(place):
    content = json.loads(place.read("run.json"))
    content["sessions"] = [{"stage": "explain", "started": "t0", "done": 3}]
    place.write("run.json", json.dumps(content).encode())
    record = read_record(place)
    record.begin(Session("measure", "t1"))
    record.save(place)
    record.save(place)
    assert [(s.started, s.done) for s in read_record(place).sessions] == [("t0", 3), ("t1", 0)]


def test_what_another_shard_has_measured_is_not_forgotten(place):
    one, two = read_record(place), read_record(place)
    two.measured, two.measure = "0a", {"thresholds": 3}
    two.save(place)
    one.save(place)
    assert (read_record(place).measured, read_record(place).measure) == ("0a", {"thresholds": 3})


def test_another_run_that_was_there_leaves_nothing(place):
    old = read_record(place)
    old.begin(Session("explain", "t0"))
    old.save(place)
    new = open_record(open_place("unused"), make(size=64), FACTS)
    assert new.hash != old.hash
    new.begin(Session("explain", "t1"))
    new.save(place)
    assert [s.started for s in read_record(place).sessions] == ["t1"]


# --- the same run or another -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [{}, {"limit": 5}, {"workers": 3}, {"batch_size": 2}, {"shard": "1/2"}, {"device": "cpu"}, {"protocols": ["cam2016"]}, {"thresholds": 5}],
)  # fmt: skip
def test_what_does_not_decide_the_maps_may_change(place, more):
    assert open_record(place, make(**more), FACTS) == read_record(place)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"model": "other"}, 'model was "net", is "other"'),
        ({"methods": ["cam", "grad-cam"]}, 'methods was ["cam"], is ["cam", "grad-cam"]'),
        ({"size": 64}, 'size was null, is "64"'),
        ({"target": "both"}, 'target was "truth", is "both"'),
        ({"trivial": False}, "trivial was true, is false"),
        ({"tune": "val"}, 'tune was null, is "val"'),
        ({"mean": (0.5, 0.5, 0.5)}, "mean was null, is [0.5, 0.5, 0.5]"),
    ],
)
def test_other_maps_are_another_run(place, more, said):
    message = re.escape(
        f"run holds another run: {said}. Name another folder with -o, or replace the run with --overwrite"
    )
    with pytest.raises(OptionError, match=message):
        open_record(place, make(**more), FACTS)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"weights": "2c"}, 'weights was "0a", is "2c"'),
        ({"data": {"test": "9"}}, 'data.test was "1b", is "9"'),
        ({"preprocessing": {"size": (64, 32)}}, r"preprocessing.size was [32, 32], is [64, 32]"),
    ],
)
def test_other_facts_are_another_run(place, facts, said):
    with pytest.raises(OptionError, match=re.escape(f"holds another run: {said}.")):
        open_record(place, make(), FACTS | facts)


def test_all_differences_are_named(place):
    with pytest.raises(
        OptionError,
        match=r'another run: split was "test", is "val"; weights was .*; weights was "0a", is "2"',
    ):
        open_record(place, make(split="val", weights="w.pt"), FACTS | {"weights": "2"})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"margin": 0.1}, "margin was null, is 0.1"),
        ({"primary": "energy@boxes"}, 'primary was "iou@yang2025", is "energy@boxes"'),
        ({"reference": "cam"}, 'reference was null, is "cam"'),
    ],
)
def test_what_was_declared_stays(place, more, said):
    with pytest.raises(
        OptionError,
        match=f"what decides was declared when the run in .*run began: {said}. Leave it as it was",
    ):
        open_record(place, make(**more), FACTS)


def test_what_decides_stays_where_it_is_not_said_again(tmp_path):
    place = open_place(tmp_path)
    open_record(place, make(protocols=["cam2016"]), FACTS).save(place)
    assert open_record(place, make(), FACTS).declared["primary"] == "iou@cam2016"
    with pytest.raises(OptionError, match='primary was "iou@cam2016", is "iou@yang2025"'):
        open_record(place, make(primary="iou@yang2025"), FACTS)


def test_another_place_of_the_data_is_noted(place):
    assert open_record(place, make(), FACTS).root == "/d"
    assert open_record(place, make(root="/e"), FACTS).root == "/e"


def test_the_settings_come_back(place):
    record = read_record(place)
    assert record.settings() == make(root="/d")
    assert record.settings(thresholds=5, protocols=None, root="/e") == make(root="/e", thresholds=5)
    with pytest.raises(OptionError, match="thresholds is -1"):
        record.settings(thresholds=-1)


# --- what is no run --------------------------------------------------------------------------------------------------


def test_an_empty_folder_holds_no_run(tmp_path):
    with pytest.raises(
        DataError,
        match=r"x holds no run: there is no run.json in it; `saliscope evaluate ... -o .*x` makes one",
    ):
        read_record(open_place(tmp_path / "x"))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"{}", b'{"schema": 1}', b'{"schema": 1, "sessions": []}', b'{"schema": 1, "sessions": [{"x": 1}]}', b"\xff"],
)  # fmt: skip
def test_a_damaged_record_is_named(place, content):
    place.write("run.json", content)
    with pytest.raises(
        DataError,
        match=r"run/run.json is no record of an evaluation \(.*\); name another folder, or replace",
    ):
        open_record(place, make(), FACTS)


def test_a_field_too_many_is_no_record(place):
    content = json.loads(place.read("run.json"))
    place.write("run.json", json.dumps(content | {"more": 1}).encode())
    with pytest.raises(DataError, match=r"is no record of an evaluation .*more"):
        read_record(place)


def test_another_schema_is_said(place):
    content = json.loads(place.read("run.json"))
    place.write("run.json", json.dumps(content | {"schema": 2}).encode())
    with pytest.raises(
        DataError, match=r"run.json has schema 2, this version of saliscope reads 1"
    ):
        read_record(place)


def test_maps_without_a_record_are_nobodys(place):
    place.write("maps/part-test-00000000-ab.parquet", b"")
    place.remove(["run.json"])
    with pytest.raises(
        DataError,
        match=r"run holds maps, but no run.json that says what they are of; .* --overwrite",
    ):
        open_record(place, make(), FACTS)


def test_only_evaluations_and_damaged_records_may_be_overwritten(place):
    check_ours(place)
    for damaged in (b"", b"[]", b"{", b"\xff\xfe"):
        place.write("run.json", damaged)
        check_ours(place)
    place.write(
        "run.json", b'{"schema": 1, "settings": {}, "versions": {}}'
    )  # what `saliscope train` writes
    with pytest.raises(
        OptionError, match=r"the run.json in .*run is no evaluation's, so it is not overwritten"
    ):
        check_ours(place)
    place.remove(["run.json"])
    check_ours(place)
