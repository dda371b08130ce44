"""Files appear whole or not at all, and what stopped one says what to do."""

import errno
from pathlib import Path

import pytest

from saliscope.files import fresh_name, settle, write_whole


def test_a_file_is_replaced_and_only_that(tmp_path):
    for durable in (False, True):
        write_whole(tmp_path / "a.bin", b"first")
        write_whole(tmp_path / "a.bin", b"new", durable=durable)
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a.bin": b"new"}


def test_what_a_library_wrote_gets_its_name(tmp_path):
    path = tmp_path / "a.ckpt"
    fresh = fresh_name(path)
    fresh.write_bytes(b"x")
    settle(fresh, path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EIO, "choose a")]
)
def test_failure_while_writing_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, code, words, durable
):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail(self, other):
        raise OSError(code, "failed")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match=words) as caught:
        write_whole(target, b"new", durable=durable)
    assert caught.value.errno == code
    assert caught.value.filename == str(target)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_interruption_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(self, other):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.bin", b"new")
    assert list(tmp_path.iterdir()) == []
