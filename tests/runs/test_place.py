"""Folders and addresses that a run lies in: whole files, listings, locks."""

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from saliscope import files
from saliscope.errors import DataError, DependencyError, OptionError
from saliscope.runs.place import LocalPlace, RemotePlace, open_place


@pytest.fixture(params=["path", "file", "memory", "local"])
def place(request, tmp_path):
    """The same folder, by a path, by file://, and by two file systems of fsspec."""
    if request.param == "memory":
        system = fsspec.filesystem("memory")
        yield open_place(f"memory://{tmp_path.name}/run")
        if system.exists(f"/{tmp_path.name}"):
            system.rm(f"/{tmp_path.name}", recursive=True)
        return
    head = {"path": "", "file": "file://", "local": "local://"}[request.param]
    yield open_place(f"{head}{tmp_path}/a b/run")


def test_which_kind_an_address_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert isinstance(open_place(tmp_path), LocalPlace)
    assert open_place("~/runs").folder == tmp_path / "runs"
    assert open_place(f"file://{tmp_path}").folder == tmp_path
    assert isinstance(open_place("memory://x"), RemotePlace)
    assert open_place("C:\\runs\\dogs").address == "C:\\runs\\dogs"


def test_files_are_written_read_listed_and_removed(place):
    assert place.names() == []
    assert place.names("maps") == []
    assert not place.exists("run.json")
    place.write("maps/b.parquet", b"two")
    place.write("maps/a.parquet", b"one")
    place.write("run.json", b"{}")
    assert place.names() == ["run.json"]
    assert place.names("maps") == ["a.parquet", "b.parquet"]
    assert (place.read("maps/a.parquet"), place.read("maps/b.parquet")) == (b"one", b"two")
    assert place.exists("maps/a.parquet")
    assert not place.exists("maps")
    assert not place.exists("maps/c.parquet")
    place.write("maps/a.parquet", b"new")
    assert place.read("maps/a.parquet") == b"new"
    place.remove(["maps/a.parquet", "maps/never.parquet"])
    assert place.names("maps") == ["b.parquet"]


def test_what_is_hidden_is_not_listed(place):
    place.write("maps/a.parquet", b"1")
    place.write("maps/.part-x.new", b"half")
    assert place.names("maps") == ["a.parquet"]


def test_what_is_not_there_cannot_be_read(place):
    with pytest.raises(DataError, match=r"run/maps/a.parquet cannot be read"):
        place.read("maps/a.parquet")


def test_an_address_says_where(place, tmp_path):
    assert place.address.endswith("run")
    assert open_place(place.address).address == place.address


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("", OptionError, "the folder of a run has no name; give one, e.g. runs/dogs"),
        ("s4://bucket/x", OptionError, "s4://bucket/x is no address that fsspec knows .*s4.*; give a folder, or e.g. s3"),
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_used(address, error, message):
    with pytest.raises(error, match=message):
        open_place(address)


def test_a_package_that_is_missing_is_named(monkeypatch):
    def missing(address):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    with pytest.raises(DependencyError, match="s3://b/x needs another package: Install s3fs"):
        open_place("s3://b/x")


# --- whole or not at all ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["writing", "naming"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, moment):
    place = open_place(tmp_path / "run")
    place.write("maps/a.parquet", b"old")
    full = OSError(errno.ENOSPC, "No space left on device")

    def fail(*_):
        raise full

    monkeypatch.setattr(
        *((files.os, "fsync") if moment == "writing" else (files.Path, "replace")), fail
    )
    with pytest.raises(
        DataError,
        match=r"a.parquet cannot be written \(.*disk is full.*; nothing that was done is lost",
    ):
        place.write("maps/a.parquet", b"new")
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "run/maps").iterdir()] == ["a.parquet"]
    assert place.read("maps/a.parquet") == b"old"


class NoRoom(MemoryFileSystem):
    """Holds half of what it is given, then has no room."""

    protocol = "noroom"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]
    full = False

    def pipe_file(self, path, value, **more):
        if NoRoom.full:
            super().pipe_file(path, value[: len(value) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().pipe_file(path, value, **more)


def test_a_remote_write_that_fails_leaves_what_was_there(monkeypatch):
    fsspec.register_implementation("noroom", NoRoom, clobber=True)
    place = open_place("noroom://run")
    place.write("maps/a.parquet", b"old")
    monkeypatch.setattr(NoRoom, "full", True)
    for name in ("a", "b"):
        with pytest.raises(
            DataError,
            match=rf"noroom://run/maps/{name}.parquet cannot be written .*the same command continues",
        ):
            place.write(f"maps/{name}.parquet", b"newer")
    assert place.names("maps") == ["a.parquet"]
    assert place.read("maps/a.parquet") == b"old"


def test_a_remote_file_gets_its_name_when_it_is_whole(monkeypatch):
    fsspec.register_implementation("noroom", NoRoom, clobber=True)
    real, written = NoRoom.pipe_file, []
    monkeypatch.setattr(
        NoRoom,
        "pipe_file",
        lambda self, path, *more: written.append(path) or real(self, path, *more),
    )
    place = open_place("noroom://named")
    place.write("maps/a.parquet", b"one")
    assert [path.rpartition("/")[2] for path in written] == [".a.parquet.new"]
    assert [path.rpartition("/")[2] for path in place.system.find(place.path)] == ["a.parquet"]


def test_a_folder_in_the_way_is_said(tmp_path):
    (tmp_path / "maps/a.parquet").mkdir(parents=True)
    with pytest.raises(DataError, match="there is a folder of that name"):
        open_place(tmp_path).write("maps/a.parquet", b"x")
    with pytest.raises(DataError, match=r"a.parquet cannot be removed"):
        open_place(tmp_path).remove(["maps/a.parquet"])
    with pytest.raises(DataError, match=r"a.parquet cannot be read"):
        open_place(tmp_path).read("maps/a.parquet")


# --- one process at a time -------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from saliscope.runs.place import open_place
with open_place(sys.argv[1]).alone(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds shard-1 of tmp_path/run."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run"), "shard-1"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()
        process.wait(20)


def test_another_process_is_kept_out_until_it_is_gone(tmp_path, holder):
    place = open_place(tmp_path / "run")
    with (
        pytest.raises(
            OptionError, match=r"another process works on .*run; wait for it, or stop it"
        ),
        place.alone("shard-1"),
    ):
        pass
    with place.alone("shard-2"):  # another shard is no hindrance
        pass
    holder.kill()  # a lock dies with its process
    holder.wait(20)
    with place.alone("shard-1"):
        pass


def test_the_same_process_is_kept_out_too(tmp_path):
    place = open_place(tmp_path / "run")
    with (
        place.alone("shard-1"),
        pytest.raises(OptionError, match="another process works on"),
        open_place(tmp_path / "run").alone("shard-1"),
    ):
        pass
    with place.alone("shard-1"):
        pass


def test_an_exception_gives_the_lock_back(tmp_path):
    place = open_place(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), place.alone("shard-1"):
        1 / 0  # noqa: B018
    with place.alone("shard-1"):
        pass


@pytest.mark.parametrize("where", ["file", "file/run"])
def test_a_file_is_no_folder(tmp_path, where):
    (tmp_path / "file").write_text("mine")
    message = r"cannot write into .*file.*; choose another folder with -o"
    with pytest.raises(DataError, match=message), open_place(tmp_path / where).alone("shard-1"):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_one_may_not_write_to(tmp_path, monkeypatch):
    """Tests may run as root, whom permissions do not bind."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(DataError, match=r"cannot write into .*run: Permission denied"),
        open_place(tmp_path / "run").alone("shard-1"),
    ):
        pass


def test_old_halves_are_removed_and_nothing_else(tmp_path):
    run = tmp_path / "run"
    (run / "maps").mkdir(parents=True)
    (run / "mine/deep").mkdir(parents=True)
    ours = [
        ".run.json.0a.new",
        ".errors.jsonl.0a.new",
        "maps/.part-test-00000000-ab.parquet.0a.new",
    ]
    theirs = [
        ".mine.new",
        "mine/.draft.new",
        "mine/deep/.part-a.new",
        "maps/part-test-1.parquet",
        "maps/.note",
    ]
    young = ["maps/.part-test-00000008-ab.parquet.0b.new"]
    for name in [*ours, *theirs, *young]:
        (run / name).write_text("")
        if name not in young:
            os.utime(run / name, (time.time() - 7200,) * 2)
    with open_place(run).alone("shard-1"):
        left = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert left == {*theirs, *young, ".shard-1.lock"}


def test_no_file_system_of_fsspec_has_locks():
    with (
        open_place("memory://locks").alone("shard-1"),
        open_place("memory://locks").alone("shard-1"),
    ):
        pass


# --- files that several change ---------------------------------------------------------------------------------------


def _add(folder, times):
    place = open_place(folder)
    for _ in range(times):
        with place.briefly("count"):
            place.write("count", str(int(place.read("count")) + 1).encode())


def test_a_file_is_changed_by_one_at_a_time(tmp_path):
    (tmp_path / "count").write_text("0")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_add, [tmp_path] * 4, [10] * 4))
    assert (tmp_path / "count").read_text() == "40"


@pytest.mark.parametrize("address", ["{tmp}/not/there", "memory://brief", "local://{tmp}/x"])
def test_where_nothing_can_be_locked_it_goes_on(address, tmp_path):
    place = open_place(address.format(tmp=tmp_path))
    with place.briefly("count"):
        place.write("count", b"1")
    assert place.read("count") == b"1"


def test_who_holds_a_file_for_ever_is_not_waited_for(tmp_path, monkeypatch):
    from saliscope.runs import place as module

    monkeypatch.setattr(module, "_WAIT", 0.05)
    place = open_place(tmp_path)
    with place.briefly("count"), place.briefly("count"):
        place.write("count", b"1")
    assert place.read("count") == b"1"
