"""Runs that are stopped in one way or another, and continued to the same rows. See test_killed.py for kill -9."""

import errno
import json
import os
import shutil
import threading

import polars as pl
import pytest

from saliscope import runs
from saliscope.errors import DataError, OptionError
from saliscope.runs import execution
from saliscope.runs.place import LocalPlace
from saliscope.runs.store import MEASURED
from saliscope.runs.tables import TABLES


def rows_within_rounding(look, a, b):
    """The same rows; maps and what was made of them may differ in the last digits, for batches were others."""
    first, second = look.tables(a), look.tables(b)
    for name in TABLES:
        keys = [
            c
            for c in first[name].columns
            if first[name][c].dtype in (pl.String, pl.Int64, pl.Int32, pl.Boolean)
        ]
        assert first[name].select(keys).equals(second[name].select(keys), null_equal=True), name
    maps = [
        [v for row in t["maps"]["map"] if row is not None for v in row] for t in (first, second)
    ]
    assert maps[0] == pytest.approx(maps[1], rel=1e-4, abs=1e-6)


# --- stopped and continued -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["explain", "measure"])
def test_an_interrupt_is_continued(settings, look, watch, singles, tmp_path, stage):
    with pytest.raises(KeyboardInterrupt):
        runs.evaluate(settings(batch_size=1), tmp_path / "run", watch=watch(stage, 3))
    left = [t.name for t in threading.enumerate()]
    assert not [name for name in left if name.startswith(("read", "finish"))]
    record = look.record(tmp_path / "run")
    assert record["sessions"][-1]["stage"] == stage
    assert record["sessions"][-1]["ended"] is not None
    assert record["ended"] is None
    told = watch()
    outcome = runs.evaluate(settings(batch_size=1), tmp_path / "run", watch=told)
    done = told.begun[0][2]
    assert (3 <= done < 12) if stage == "explain" else done == 12
    assert (outcome.done, outcome.new_done) == (12, 12 - done)
    assert told.begun[1] == ("measure", 12 if stage == "explain" else 9, 0)
    look.same(tmp_path / "run", singles)
    look.once(tmp_path / "run")


@pytest.mark.parametrize("count", [1, 3, 6, 9, 14, 20])
def test_a_full_disk_is_said_and_continued(settings, look, plain, tmp_path, monkeypatch, count):
    """At the record, in the middle of the maps, in the middle of the scores."""
    real, calls = LocalPlace.write, []

    def write(self, name, data):
        calls.append(name)
        if len(calls) >= count:
            raise DataError(f"{name} cannot be written (No space left on device)")
        real(self, name, data)

    monkeypatch.setattr(LocalPlace, "write", write)
    with pytest.raises(DataError, match="No space left"):
        runs.evaluate(settings(), tmp_path / "run")
    monkeypatch.undo()
    assert runs.evaluate(settings(), tmp_path / "run").done == 12
    look.same(tmp_path / "run", plain)
    look.once(tmp_path / "run")


def test_the_disk_is_full_in_the_middle_of_a_file(settings, look, plain, tmp_path, monkeypatch):
    from saliscope import files as whole

    real, calls = os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if len(calls) > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(whole.os, "fsync", fsync)
    with pytest.raises(
        DataError,
        match=r"the disk is full; free some space .*nothing that was done is lost: the same command continues",
    ):
        runs.evaluate(settings(), tmp_path / "run")
    monkeypatch.undo()
    assert not list((tmp_path / "run").rglob("*.new"))
    runs.evaluate(settings(), tmp_path / "run")
    look.same(tmp_path / "run", plain)


def test_half_written_files_are_nobodys(settings, look, plain, tmp_path):
    shutil.copytree(plain, tmp_path / "run")
    part = sorted((tmp_path / "run/maps").iterdir())[0]
    part.rename(part.with_name(f".{part.name}.0123456789ab.new"))
    (tmp_path / "run/scores/.part-all-9.parquet.00.new").write_bytes(b"half")
    outcome = runs.evaluate(settings(data=look.data_of(plain)), tmp_path / "run")
    assert (outcome.done, outcome.new_done) == (12, 4)
    look.same(tmp_path / "run", plain)
    look.once(tmp_path / "run")


@pytest.mark.parametrize("table", sorted({"maps", *MEASURED}))
def test_a_truncated_part_is_named_and_made_anew(settings, look, plain, tmp_path, table):
    shutil.copytree(plain, tmp_path / "run")
    part = sorted((tmp_path / "run" / table).iterdir())[1]
    part.write_bytes(part.read_bytes()[:-30])
    command = "evaluate" if table == "maps" else "measure"
    message = rf"run/{table}/{part.name} is damaged .*; remove it and run `saliscope {command}` on the folder again: only what it"
    with pytest.raises(DataError, match=message):
        getattr(runs.open_run(tmp_path / "run"), table)
    again = settings(data=look.data_of(plain))
    if table == "maps":
        with pytest.raises(DataError, match=message):
            runs.evaluate(again, tmp_path / "run")
    part.unlink()
    assert runs.evaluate(again, tmp_path / "run").done == 12
    look.same(tmp_path / "run", plain)
    look.once(tmp_path / "run")


def test_a_limit_that_grows(settings, look, watch, tmp_path):
    own = settings(batch_size=1)
    runs.evaluate(own, tmp_path / "whole")
    for limit, new in [(5, 5), (9, 4), (9, 0), (None, 3)]:
        told = watch()
        outcome = runs.evaluate(
            own.model_copy(update={"limit": limit}), tmp_path / "run", watch=told
        )
        assert (outcome.done, outcome.new_done) == (limit or 12, new)
        assert told.begun[0] == ("explain", limit or 12, (limit or 12) - new)
        assert look.record(tmp_path / "run")["selected"] == {"all": limit or 12}
    look.same(tmp_path / "run", tmp_path / "whole")
    look.once(tmp_path / "run")
    smaller = runs.evaluate(own.model_copy(update={"limit": 3}), tmp_path / "run")
    assert (smaller.done, smaller.new_done) == (12, 0)


def test_a_limit_that_grows_in_the_middle_of_a_batch(settings, look, plain, tmp_path):
    runs.evaluate(settings(limit=6), tmp_path / "run")
    runs.evaluate(settings(batch_size=5), tmp_path / "run")
    rows_within_rounding(look, tmp_path / "run", plain)
    look.once(tmp_path / "run")


# --- samples that fail -----------------------------------------------------------------------------------------------


def test_failed_samples_are_rows_and_can_be_done_again(settings, photos, look, watch, tmp_path):
    good = (photos / "owl/p1.png").read_bytes()
    own = settings(batch_size=1)
    runs.evaluate(own, tmp_path / "whole")
    (photos / "owl/p1.png").write_bytes(good[:99])
    (photos / "cat/p0.png").write_bytes(b"")
    told = watch()
    outcome = runs.evaluate(own, tmp_path / "run", watch=told)
    assert (outcome.done, outcome.failed, outcome.new_done, outcome.new_failed) == (10, 2, 10, 2)
    lines = [json.loads(line) for line in (tmp_path / "run/errors.jsonl").read_text().splitlines()]
    assert [(r["split"], r["index"], r["id"]) for r in lines] == [
        ("all", 0, "cat/p0.png"),
        ("all", 5, "owl/p1.png"),
    ]
    assert all(r["id"] in r["message"] for r in lines)
    assert runs.open_run(tmp_path / "run").images.filter(status="failed")["id"].to_list() == [
        "cat/p0.png",
        "owl/p1.png",
    ]

    again = runs.evaluate(own, tmp_path / "run")
    assert (again.new_done, again.new_failed) == (0, 0)
    (photos / "owl/p1.png").write_bytes(good)
    again = runs.evaluate(own, tmp_path / "run", retry_failed=True)
    assert (again.done, again.failed, again.new_done, again.new_failed) == (11, 1, 1, 1)
    (line,) = (tmp_path / "run/errors.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "cat/p0.png"

    shutil.copy(photos / "cat/p1.png", photos / "cat/p0.png")
    runs.evaluate(own, tmp_path / "run", retry_failed=True)
    assert (tmp_path / "run/errors.jsonl").read_text() == ""
    run = runs.open_run(tmp_path / "run")
    assert run.images["status"].to_list() == ["ok"] * 12
    first, second = look.tables(tmp_path / "run"), look.tables(tmp_path / "whole")
    for name in ("maps", *MEASURED):  # but for the picture that is another now
        rest = pl.col("id") != "cat/p0.png"
        assert first[name].filter(rest).equals(second[name].filter(rest), null_equal=True)
        assert len(first[name].filter(~rest)) == len(second[name].filter(~rest))
    look.once(tmp_path / "run")


@pytest.mark.parametrize("broken", [["owl/p1.png"], ["owl/p0.png", "owl/p3.png"], ["cat/p3.png"]])
def test_what_fails_again_has_the_new_reason(settings, photos, look, plain, tmp_path, broken):
    """Whichever of the parts that hold it comes first by its name: the old one, the new one, or one of them replaces the other."""
    good = {name: (photos / name).read_bytes() for name in broken}
    run = tmp_path / "run"

    def reasons():
        lines = [json.loads(line) for line in (run / "errors.jsonl").read_text().splitlines()]
        found = {line["id"]: line["message"] for line in lines}
        images = runs.open_run(run).images.filter(status="failed").select("id", "message")
        assert dict(images.rows()) == found
        maps = runs.open_run(run).maps.filter(status="failed").select("id", "message")
        assert dict(maps.rows()) == found
        return found

    seen = []
    for content, batch in ((b"", 4), (b"no picture", 4), (good[broken[0]][:99], 3), (b"", 4)):
        for name in broken:
            (photos / name).write_bytes(content)
        again = runs.evaluate(settings(batch_size=batch), run, retry_failed=True)
        assert (again.failed, again.new_failed, again.done) == (
            len(broken),
            len(broken),
            12 - len(broken),
        )
        assert set(reasons()) == set(broken)
        seen.append(reasons()[broken[-1]])
    assert len(set(seen[:3])) == 3
    assert seen[3] == seen[0]
    look.once(run)
    for name, content in good.items():
        (photos / name).write_bytes(content)
    assert runs.evaluate(settings(), run, retry_failed=True).done == 12
    rows_within_rounding(look, run, plain)
    look.once(run)


def test_a_retry_that_is_stopped_is_continued(settings, photos, watch, plain, look, tmp_path):
    for name in ("cat/p0.png", "red fox/p3.png"):
        (photos / name).rename(tmp_path / name.replace("/", " "))
        (photos / name).write_bytes(b"")
    runs.evaluate(settings(), tmp_path / "run")
    for name in ("cat/p0.png", "red fox/p3.png"):
        (tmp_path / name.replace("/", " ")).rename(photos / name)
    with pytest.raises(KeyboardInterrupt):
        runs.evaluate(settings(), tmp_path / "run", retry_failed=True, watch=watch("explain", 1))
    outcome = runs.evaluate(settings(), tmp_path / "run")
    assert (outcome.done, outcome.failed) == (12, 0)
    rows_within_rounding(look, tmp_path / "run", plain)
    look.once(tmp_path / "run")


def test_a_whole_batch_that_failed_is_measured_when_it_is_done_again(
    settings, photos, look, plain, tmp_path
):
    """Its part has the same name as before: what was measured of the failed one must go."""
    good = {file: file.read_bytes() for file in photos.glob("owl/*.png")}
    for file in good:
        file.write_bytes(b"")
    assert runs.evaluate(settings(), tmp_path / "run").failed == 4
    for file, content in good.items():
        file.write_bytes(content)
    outcome = runs.evaluate(settings(), tmp_path / "run", retry_failed=True)
    assert (outcome.done, outcome.failed) == (12, 0)
    look.same(tmp_path / "run", plain)
    look.once(tmp_path / "run")


def test_a_batch_of_which_one_failed_is_not_done_again(settings, photos, look, tmp_path):
    good = (photos / "owl/p1.png").read_bytes()
    (photos / "owl/p1.png").write_bytes(good[:99])
    runs.evaluate(settings(), tmp_path / "run")
    (photos / "owl/p1.png").write_bytes(good)
    outcome = runs.evaluate(settings(), tmp_path / "run", retry_failed=True)
    assert (outcome.done, outcome.failed, outcome.new_done) == (12, 0, 1)
    runs.evaluate(settings(), tmp_path / "whole")
    rows_within_rounding(look, tmp_path / "run", tmp_path / "whole")


def test_hopeless_data_ends_the_run_early(settings, write_photos, tmp_path):
    photos = write_photos(tmp_path / "more", 15)
    for file in photos.glob("*/*.png"):
        file.write_bytes(b"no picture")
    message = r"the first 32 samples all failed, the last because: .*png.*\. When that is mended, .* --retry-failed"
    with pytest.raises(DataError, match=message):
        runs.evaluate(settings(photos=photos), tmp_path / "run")
    assert len((tmp_path / "run/errors.jsonl").read_text().splitlines()) >= 32
    shutil.rmtree(photos)
    write_photos(photos, 15)
    outcome = runs.evaluate(settings(photos=photos), tmp_path / "run", retry_failed=True)
    assert (outcome.done, outcome.failed) == (45, 0)
    run = runs.open_run(tmp_path / "run")
    assert run.images["status"].to_list() == ["ok"] * 45
    assert run.by_method("iou", "cam2016").height == 45


def test_some_hope_is_enough(settings, write_photos, tmp_path):
    photos = write_photos(tmp_path / "more", 15)
    for file in photos.glob("*/*.png"):
        if file.parent.name != "cat" or file.name != "p0.png":
            file.write_bytes(b"no picture")
    outcome = runs.evaluate(settings(photos=photos), tmp_path / "run")
    assert (outcome.done, outcome.failed) == (1, 44)


# --- shards ----------------------------------------------------------------------------------------------------------


def test_shards_together_are_the_whole(settings, look, plain, tmp_path):
    first = runs.evaluate(settings(shard="1/2"), tmp_path / "run")
    assert (first.done, first.new_done) == (8, 8)
    half = runs.open_run(tmp_path / "run")
    assert (half.missing, half.unmeasured, len(half.images)) == (4, 0, 8)
    second = runs.evaluate(settings(shard="2/2"), tmp_path / "run")
    assert (second.done, second.new_done) == (12, 4)
    look.same(tmp_path / "run", plain)
    look.once(tmp_path / "run")
    assert runs.open_run(tmp_path / "run").missing == 0
    assert [s["shard"] for s in look.record(tmp_path / "run")["sessions"]] == [
        "1/2",
        "1/2",
        "2/2",
        "2/2",
    ]


def test_more_shards_than_batches(settings, look, plain, tmp_path):
    for number in range(1, 6):
        runs.evaluate(settings(shard=f"{number}/5"), tmp_path / "run")
    look.same(tmp_path / "run", plain)


def test_a_shard_measures_its_own_parts_only(settings, look, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "measure_parts", lambda *a, **k: None)
    runs.evaluate(settings(shard="1/2"), tmp_path / "run")
    monkeypatch.undo()
    runs.evaluate(settings(shard="2/2"), tmp_path / "run")
    assert len(list((tmp_path / "run/maps").iterdir())) == 3
    assert len(list((tmp_path / "run/scores").iterdir())) == 1
    assert look.record(tmp_path / "run")["ended"] is None


def test_a_shard_does_not_overwrite_the_others(settings, tmp_path, look):
    runs.evaluate(settings(shard="1/2"), tmp_path / "run")
    before = look.files(tmp_path / "run")
    with pytest.raises(
        OptionError,
        match=r"--overwrite would also remove what the other shards have done: empty .*run first",
    ):
        runs.evaluate(settings(shard="2/2"), tmp_path / "run", overwrite=True)
    assert look.files(tmp_path / "run") == before


# --- processes that die ----------------------------------------------------------------------------------------------


def test_a_process_that_is_killed_costs_nothing(settings, world, photos, look, plain, tmp_path):
    data = {"all": world.killing(photos, tmp_path / "died", always=False)}
    outcome = runs.evaluate(settings(workers=2), tmp_path / "run", data=data)
    assert (tmp_path / "died").exists()
    assert (outcome.done, outcome.failed) == (12, 0)
    assert [s["workers"] for s in look.record(tmp_path / "run")["sessions"]] == [2, 2]
    look.same(tmp_path / "run", plain)
    look.once(tmp_path / "run")


@pytest.mark.slow
def test_a_sample_that_kills_every_process_is_a_row_that_failed(
    settings, world, photos, look, plain, tmp_path
):
    data = {"all": world.killing(photos, tmp_path / "died", always=True)}
    outcome = runs.evaluate(settings(workers=2), tmp_path / "run", data=data)
    assert (outcome.done, outcome.failed) == (11, 1)
    (line,) = (tmp_path / "run/errors.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "owl/p1.png"
    assert "SIGKILL, often because memory ran out" in json.loads(line)["message"]
    look.once(tmp_path / "run")
    again = runs.evaluate(
        settings(), tmp_path / "run", data=data, retry_failed=True
    )  # here it does not kill
    assert (again.done, again.failed) == (12, 0)
    rows_within_rounding(look, tmp_path / "run", plain)
