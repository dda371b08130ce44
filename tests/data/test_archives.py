"""Unpacking: what is right comes out byte for byte, and every attack is refused by name with nothing written."""

import errno
import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from saliscope.data import archives
from saliscope.data.archives import (
    finish_unpacking,
    is_archive,
    is_unfinished,
    size_bound,
    unpack,
)
from saliscope.errors import DataError

CONTENT = {"Images/a/1.jpg": b"first", "Images/b/2.jpg": b"second" * 1000, "list.txt": b"1\n2\n"}


def entry(name, data=b"x", kind=tarfile.REGTYPE, link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = len(data) if kind in (tarfile.REGTYPE, tarfile.CONTTYPE) else 0
    return info, data


def write_tar(path, entries, mode="w"):
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return path


def write_zip(path, content, **more):
    with zipfile.ZipFile(path, "w", **more) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


def make(path, content=CONTENT):
    if path.suffix == ".zip":
        return write_zip(path, content)
    mode = {".tar": "w", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[path.suffix]
    return write_tar(path, [entry(name, data) for name, data in content.items()], mode)


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def refused(archive, words, **more):
    """The archive is refused in these words, and neither its folder nor what is beside it has changed."""
    target = archive.parent / "inner" / "target"
    target.mkdir(parents=True)
    (target / "old.txt").write_bytes(b"old")
    before = tree(archive.parent)
    with pytest.raises(DataError, match=words):
        unpack(archive, target, **more)
    assert tree(archive.parent) == before
    assert [p.name for p in target.iterdir()] == ["old.txt"]


# --- what is right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.zip"])
def test_content_comes_out_as_it_went_in(tmp_path, name):
    seen = []
    count = unpack(make(tmp_path / name), tmp_path / "new" / "target", watch=seen.append)
    assert count == 3
    assert tree(tmp_path / "new" / "target") == CONTENT
    assert seen[-1] == sum(map(len, CONTENT.values()))
    assert seen == sorted(seen)


def test_names_are_made_plain(tmp_path):
    names = ["./a/1.txt", "a//2.txt", "./b/./3.txt"]
    archive = write_tar(tmp_path / "a.tar", [entry(name) for name in names])
    unpack(archive, tmp_path / "t")
    assert sorted(tree(tmp_path / "t")) == ["a/1.txt", "a/2.txt", "b/3.txt"]


def test_empty_folders_come_too(tmp_path):
    entries = [entry("./", kind=tarfile.DIRTYPE), entry("empty", kind=tarfile.DIRTYPE), entry("a")]
    assert unpack(write_tar(tmp_path / "a.tar", entries), tmp_path / "t") == 1
    assert (tmp_path / "t" / "empty").is_dir()


def test_names_longer_than_a_header_field(tmp_path):
    name = "/".join(["folder" * 6] * 8) + "/ñ.jpg"
    unpack(write_tar(tmp_path / "a.tar", [entry(name, b"deep")]), tmp_path / "t")
    assert tree(tmp_path / "t") == {name: b"deep"}


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
def test_modes_are_not_taken_over(tmp_path):
    archive = write_tar(tmp_path / "a.tar", [entry("run.sh", mode=0o6777), entry("no.txt", mode=0)])
    unpack(archive, tmp_path / "t")
    plain = tmp_path / "plain"
    plain.touch()
    for name in ("run.sh", "no.txt"):
        assert stat.S_IMODE((tmp_path / "t" / name).stat().st_mode) == stat.S_IMODE(
            plain.stat().st_mode
        )


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_leavings_of_macos_are_left_out(tmp_path, name):
    litter = {"._a": b"", "x/._1.jpg": b"", "x/.DS_Store": b"", "__MACOSX/x/1.jpg": b""}
    assert unpack(make(tmp_path / name, litter | {"x/1.jpg": b"1"}), tmp_path / "t") == 1
    assert tree(tmp_path / "t") == {"x/1.jpg": b"1"}


def test_folders_that_exist_are_added_to(tmp_path):
    unpack(make(tmp_path / "a.tar", {"x/1": b"old", "x/2": b"kept", "y/3": b"3"}), tmp_path / "t")
    unpack(make(tmp_path / "b.tar", {"x/1": b"new", "x/z/4": b"4"}), tmp_path / "t")
    assert tree(tmp_path / "t") == {"x/1": b"new", "x/2": b"kept", "y/3": b"3", "x/z/4": b"4"}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a.tar", True), ("a.TAR.GZ", True), ("a.tgz", True), ("a.zip", True), ("a.tar.xz", True),
     ("a.mat", False), ("a.gz", False), ("tar", False), ("a.csv", False), ("zip.txt", False)],
)  # fmt: skip
def test_archives_are_known_by_name(name, is_one):
    assert is_archive(name) is is_one


# --- attacks ---------------------------------------------------------------------------------------------------------

OUTSIDE = ["/etc/evil", "../evil", "x/../../evil", "..", "x/..", "C:/evil", "C:evil", "x/a:b",
           "..\\evil", "x\\..\\evil", "\\\\server\\evil", "//server/evil"]  # fmt: skip


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_no_path_leaves_the_folder(tmp_path, kind, name):
    archive = make(tmp_path / f"a.{kind}", {"fine.txt": b"1", name: b"evil"})
    refused(archive, "a.* is refused: its member .* would be written outside the folder")


def test_a_zip_name_that_python_cuts_at_a_null(tmp_path):
    archive = make(tmp_path / "a.zip", {"fine.txtQ../evil": b"1"})
    data = archive.read_bytes().replace(b"fine.txtQ../evil", b"fine.txt\0../evil")
    archive.write_bytes(data)
    refused(archive, "would be written outside")


@pytest.mark.parametrize(
    ("kind", "link", "words"),
    [
        (tarfile.SYMTYPE, "../../evil", '"x" is a link'),
        (tarfile.SYMTYPE, "fine.txt", '"x" is a link'),
        (tarfile.LNKTYPE, "fine.txt", '"x" is a link'),
        (tarfile.LNKTYPE, "/etc/passwd", '"x" is a link'),
        (tarfile.CHRTYPE, "", '"x" is a device or a pipe'),
        (tarfile.BLKTYPE, "", '"x" is a device or a pipe'),
        (tarfile.FIFOTYPE, "", '"x" is a device or a pipe'),
    ],
)
def test_only_files_and_folders_come_out_of_a_tar(tmp_path, kind, link, words):
    entries = [entry("fine.txt"), entry("x", kind=kind, link=link), entry("x/evil")]
    refused(write_tar(tmp_path / "a.tar", entries), words)


@pytest.mark.parametrize(
    ("mode", "words"),
    [(stat.S_IFLNK, "a link"), (stat.S_IFCHR, "a device"), (stat.S_IFIFO, "a device")],
)
def test_only_files_and_folders_come_out_of_a_zip(tmp_path, mode, words):
    info = zipfile.ZipInfo("x")
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("fine.txt", b"1")
        file.writestr(info, "../evil")
    refused(tmp_path / "a.zip", f'"x" is {words}, and only files and folders are unpacked')


@pytest.mark.parametrize("name", ["a.tgz", "a.zip", "a.tar"])
def test_too_many_bytes(tmp_path, name):
    archive = make(tmp_path / name, {"1": b"0" * 600, "2": b"0" * 401})
    refused(archive, "it unpacks to more than 1e-06 GB", max_bytes=1000)
    assert unpack(archive, tmp_path / "t", max_bytes=1001) == 2


def test_a_member_too_large_is_refused_before_it_is_written(tmp_path, monkeypatch):
    """A few bytes of header may promise a file of petabytes, all of it holes."""
    monkeypatch.setattr(archives, "_CHUNK", 10)
    written = []
    archive = make(tmp_path / "a.tgz", {"1": b"0" * 40, "2": b"0" * 100})
    refused(archive, "unpacks to more than", max_bytes=100, watch=written.append)
    assert written == [10, 20, 30, 40]


def test_a_zip_that_says_less_than_it_holds(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"1": b"0" * 5000}, compression=zipfile.ZIP_DEFLATED)
    data = archive.read_bytes().replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    archive.write_bytes(data)
    refused(archive, "is damaged", max_bytes=1000)


def test_too_many_members(tmp_path):
    archive = make(tmp_path / "a.tar", {str(n): b"" for n in range(11)})
    refused(archive, "holds more than 10 files", max_members=10)
    assert unpack(archive, tmp_path / "t", max_members=11) == 11


@pytest.mark.parametrize(
    ("size", "bound"),
    [(0, 10**9), (10**6, 10**9), (5 * 10**7, 5 * 10**9), (8 * 10**8, 20 * 10**9),
     (150 * 10**9, 3000 * 10**9)],
)  # fmt: skip
def test_the_bound_grows_with_the_archive(size, bound):
    assert size_bound(size) == bound


def test_the_bound_is_kept_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_GB", 1000)
    data = {"bomb": b"\0" * 200_000}
    archive = write_zip(tmp_path / "a.zip", data, compression=zipfile.ZIP_DEFLATED)
    assert archive.stat().st_size < 500
    refused(archive, "is refused: it unpacks to more than")


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")], ids=["file first", "folder first"])
def test_a_file_that_is_a_folder_too(tmp_path, names):
    archive = write_tar(tmp_path / "a.tar", [entry(name) for name in names])
    refused(archive, "is both a file and a folder")


def test_a_folder_where_the_archive_has_a_file(tmp_path):
    (tmp_path / "t" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="a is a folder, and the archive has a file of that name"):
        unpack(make(tmp_path / "a.tar", {"a": b"1"}), tmp_path / "t")


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.zip"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_truncated_archive(tmp_path, name, share):
    random = bytes(os.urandom(30_000))
    archive = make(tmp_path / name, {"1": random, "2": random[::-1]})
    data = archive.read_bytes()
    archive.write_bytes(data[: int(share * len(data))])
    refused(archive, "is damaged")


def test_a_tar_cut_between_two_members(tmp_path):
    """Python's own loop ends here without a word."""
    archive = make(tmp_path / "a.tar", {"1": b"x" * 512, "2": b"y" * 512})
    archive.write_bytes(archive.read_bytes()[:1024])
    refused(archive, r"a\.tar is damaged \(it is cut short\); delete it and get it again")


def test_a_tar_with_garbage_between_two_members(tmp_path):
    archive = make(tmp_path / "a.tar", {"1": b"x" * 512, "2": b"y" * 512})
    data = bytearray(archive.read_bytes())
    data[1024 : 1024 + 512] = b"\xaa" * 512
    archive.write_bytes(data)
    refused(archive, "is cut short")


def test_a_negative_size_does_not_go_round_for_ever(tmp_path):
    archive = write_tar(tmp_path / "a.tar", [entry("1"), entry("2")])
    data = bytearray(archive.read_bytes())
    second = data[1024:1536]
    second[124:136] = b"\xff" * 10 + b"\xfc\x00"  # -1024, in base 256
    second[148:156] = b"%06o\0 " % (sum(second[:148]) + sum(second[156:]) + 8 * 32)
    data[1024:1536] = second
    archive.write_bytes(data)
    refused(archive, "a member has a negative size")


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.zip"])
@pytest.mark.parametrize("data", [b"", b"<html>not here</html>" * 100])
def test_what_is_no_archive(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name, "is damaged")


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_an_archive_without_files(tmp_path, name):
    refused(make(tmp_path / name, {"._a": b""}), "holds no files")


def test_a_wrong_byte_inside_a_zip(tmp_path):
    archive = make(tmp_path / "a.zip", {"1": b"abcdefgh" * 100})
    archive.write_bytes(archive.read_bytes().replace(b"abcdefgh", b"abcdefgX", 1))
    refused(archive, "is damaged .*Bad CRC-32")


def test_an_encrypted_zip(tmp_path):
    archive = make(tmp_path / "a.zip", {"1": b"secret"})
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    refused(archive, "is damaged .*encrypted")


def test_no_archive_at_all(tmp_path):
    with pytest.raises(DataError, match=r"there is no archive .*a\.tar \(No such file"):
        unpack(tmp_path / "a.tar", tmp_path / "t")


# --- the disk, and being stopped -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "the disk is full; free some space"), (errno.EACCES, "Permission denied; choose")],
)  # fmt: skip
def test_a_disk_that_refuses(tmp_path, monkeypatch, code, words):
    def full(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(archives, "_write", full)
    refused(make(tmp_path / "a.tar"), f"a.tar cannot be unpacked into .*: {words}")


def test_a_target_that_is_a_file(tmp_path):
    (tmp_path / "t").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be unpacked into .*File exists"):
        unpack(make(tmp_path / "a.tar"), tmp_path / "t")


def stop_at(monkeypatch, name, at):
    """Let a function of the module die when it is called for the `at`-th time, as a killed process would."""
    calls, own = [], getattr(archives, name)

    def dying(*given):
        calls.append(given)
        if len(calls) == at:
            raise SystemExit
        return own(*given)

    monkeypatch.setattr(archives, name, dying)


def test_killed_while_unpacking(tmp_path, monkeypatch):
    """What was half unpacked is hidden, and gone after the next call."""
    target = tmp_path / "t"
    with monkeypatch.context() as patch:
        stop_at(patch, "_write", 3)
        patch.setattr(shutil, "rmtree", lambda *a, **k: None)  # a killed process tidies nothing
        with pytest.raises(SystemExit):
            unpack(make(tmp_path / "a.tar"), target)
    assert [p.name for p in target.iterdir()] == [".saliscope-unpacking-a.tar"]
    assert is_unfinished(target)
    unpack(tmp_path / "a.tar", target)
    assert tree(target) == CONTENT
    assert not is_unfinished(target)


def test_killed_while_moving_into_place(tmp_path, monkeypatch):
    target = tmp_path / "t"
    unpack(make(tmp_path / "old.tar", {"Images/a/0.jpg": b"0"}), target)
    with monkeypatch.context() as patch:
        stop_at(patch, "_move", 2)
        with pytest.raises(SystemExit):
            unpack(make(tmp_path / "a.tar"), target)
    assert is_unfinished(target)
    assert len(tree(target)) == 4
    finish_unpacking(target)
    assert tree(target) == CONTENT | {"Images/a/0.jpg": b"0"}


def test_nothing_to_finish(tmp_path):
    finish_unpacking(tmp_path / "nowhere")
    assert not is_unfinished(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_linked_to_another_disk(tmp_path, monkeypatch):
    own = Path.replace

    def other_disk(self, target):
        if "Images" in str(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return own(self, target)

    monkeypatch.setattr(Path, "replace", other_disk)
    (tmp_path / "t" / "Images").mkdir(parents=True)
    unpack(make(tmp_path / "a.tar"), tmp_path / "t")
    assert tree(tmp_path / "t") == CONTENT
