"""Downloads from a server in a thread: continued, checked, and there whole or not at all."""

import errno
import hashlib
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from saliscope.data import Archive, DataKind
from saliscope.data import fetch as fetching
from saliscope.data.download import Step, download, plan_download
from saliscope.data.fetch import UnavailableError, difference, fetch
from saliscope.errors import DataError, OptionError

# A megabyte in which no two pieces are equal.
CONTENT = b"".join(number.to_bytes(4, "big") for number in range(256_000))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server.settings
        server.asked.append({k.lower(): v for k, v in self.headers.items()} | {"path": self.path})
        if server.answers and (status := server.answers.pop(0)) != 200:
            return self._say(status, b"no")
        data = server.files.get(self.path)
        if data is None:
            return self._say(404, b"no")
        return self._send(data)

    def _send(self, data):
        server = self.server.settings
        start, status = 0, 200
        wanted = self.headers.get("Range")
        same = self.headers.get("If-Range") in (None, server.headers.get("ETag"), server.headers.get("Last-Modified"))  # fmt: skip
        if wanted and server.ranges and same:
            start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(data):
                return self._say(416, b"")
        self.send_response(status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        if status == 206:
            place = f"{start + server.shift}-{len(data) - 1}/{len(data)}"
            self.send_header("Content-Range", server.content_range or f"bytes {place}")
        if server.length:
            self.send_header("Content-Length", str(len(data) - start))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        end = server.cuts.pop(0) if server.cuts else len(data)
        for place in range(start, min(end, len(data)), 50_000):
            self.wfile.write(data[place : min(place + 50_000, end)])
            time.sleep(server.slow)
        if end < len(data):
            self.close_connection = True
        return None

    def _say(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A server of `files`; `cuts` are the bytes after which answers break off, `answers` other statuses to give first."""
    settings = SimpleNamespace(
        files={"/data.bin": CONTENT},
        headers={"ETag": '"one"'},
        asked=[],
        answers=[],
        cuts=[],
        ranges=True,
        length=True,
        shift=0,
        content_range="",
        slow=0.0,
    )
    own = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    own.daemon_threads = True
    own.settings = settings
    own.handle_error = lambda *_: None  # a client that hangs up is no news
    settings.home = f"http://127.0.0.1:{own.server_address[1]}"
    settings.url = f"{settings.home}/data.bin"
    thread = threading.Thread(target=own.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield settings
    own.shutdown()
    own.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Nobody waits; how long they would have is kept. Nor does a proxy come between."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    taken = []
    monkeypatch.setattr(fetching, "time", SimpleNamespace(sleep=taken.append))
    return taken


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data.bin"


def ranges(server):
    return [asked.get("range") for asked in server.asked]


def left_behind(target):
    """What is kept of an unfinished file: its bytes, and the note beside it."""
    return (
        target.with_name("data.bin.part").read_bytes(),
        json.loads(target.with_name("data.bin.part.json").read_text()),
    )


def alone(target):
    return [path.name for path in target.parent.iterdir()] == [target.name]


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


# --- one file --------------------------------------------------------------------------------------------------------


def test_a_file_comes_whole(server, target):
    seen = []
    fetch(server.url, target, size=len(CONTENT), checksum=sha(CONTENT), watch=lambda *at: seen.append(at))  # fmt: skip
    assert target.read_bytes() == CONTENT
    assert alone(target)
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
    assert ranges(server) == [None]
    assert server.asked[0]["user-agent"].startswith("saliscope/")
    assert server.asked[0]["accept-encoding"] == "identity"


def test_md5_and_capitals(server, target):
    digest = hashlib.md5(CONTENT).hexdigest()
    fetch(server.url, target, checksum=f"md5:{digest.upper()}")
    assert target.read_bytes() == CONTENT


def test_a_broken_connection_is_continued(server, target, pauses):
    server.cuts = [300_000, 700_000]
    fetch(server.url, target, checksum=sha(CONTENT))
    assert target.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-", "bytes=700000-"]
    assert [asked.get("if-range") for asked in server.asked] == [None, '"one"', '"one"']
    assert pauses == [1.0, 1.0]  # something came each time
    assert alone(target)


def test_an_answer_of_unknown_length_that_breaks_off_is_told_by_its_checksum(server, target):
    server.length, server.cuts = False, [300_000]
    with pytest.raises(DataError, match=r"is not the published file .*sha256 .*it was deleted"):
        fetch(server.url, target, checksum=sha(CONTENT))
    assert not any(target.parent.iterdir())


def test_it_gives_up_and_keeps_what_came(server, target, pauses):
    server.cuts = [300_000] * 5
    with pytest.raises(UnavailableError, match="ended after 300,000 of 1,024,000 bytes"):
        fetch(server.url, target, attempts=3)
    assert ranges(server) == [None, "bytes=300000-", "bytes=300000-"]
    assert pauses == [1.0, 2.0]
    part, note = left_behind(target)
    assert part == CONTENT[:300_000]
    assert note == {"url": server.url, "validator": '"one"', "total": len(CONTENT)}
    assert not target.exists()


def interrupted(server, target, at=400_000):
    """Leave the first bytes of a file behind, as a broken connection does."""
    server.cuts = [at]
    with pytest.raises(UnavailableError):
        fetch(server.url, target, attempts=1)
    assert left_behind(target)[0] == CONTENT[:at]
    server.asked.clear()


def test_a_later_call_continues(server, target):
    interrupted(server, target)
    seen = []
    fetch(server.url, target, checksum=sha(CONTENT), watch=lambda *at: seen.append(at))
    assert ranges(server) == ["bytes=400000-"]
    assert seen[0] == (400_000, len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert alone(target)


def test_a_file_that_has_changed_is_not_patched_together(server, target):
    interrupted(server, target)
    other = CONTENT[::-1]
    server.files["/data.bin"], server.headers = other, {"ETag": '"two"'}
    fetch(server.url, target)
    assert ranges(server) == ["bytes=400000-"]
    assert target.read_bytes() == other


def test_the_date_serves_where_there_is_no_etag(server, target):
    server.headers = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    interrupted(server, target)
    server.files["/data.bin"] = other = CONTENT[::-1]
    server.headers = {"Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}
    fetch(server.url, target)
    assert server.asked[0]["if-range"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert target.read_bytes() == other


def test_a_weak_etag_is_not_trusted(server, target):
    server.headers = {"ETag": 'W/"one"'}
    interrupted(server, target)
    assert left_behind(target)[1]["validator"] is None


@pytest.mark.parametrize("length", [len(CONTENT) + 7, len(CONTENT) - 7])
def test_without_any_validator_the_size_tells_a_changed_file(server, target, length):
    server.headers = {}
    interrupted(server, target)
    server.files["/data.bin"] = other = bytes(reversed(CONTENT * 2))[:length]
    fetch(server.url, target)
    assert ranges(server) == ["bytes=400000-", None]
    assert "if-range" not in server.asked[0]
    assert target.read_bytes() == other


def test_a_file_that_became_shorter_than_what_is_here(server, target):
    server.headers = {}
    interrupted(server, target)
    server.files["/data.bin"] = b"short"
    fetch(server.url, target)
    assert ranges(server) == ["bytes=400000-", None]
    assert target.read_bytes() == b"short"


def test_pieces_that_do_not_fit_are_fetched_anew(server, target, caplog):
    """Same size, same ETag, other content: only the checksum can tell."""
    interrupted(server, target)
    other = CONTENT[::-1]
    server.files["/data.bin"] = other
    with caplog.at_level(logging.INFO):
        fetch(server.url, target, checksum=sha(other))
    assert ranges(server) == ["bytes=400000-", None]
    assert target.read_bytes() == other
    assert "the pieces do not fit together" in caplog.text


def test_a_server_without_ranges_begins_again(server, target):
    interrupted(server, target)
    server.ranges = False
    fetch(server.url, target, checksum=sha(CONTENT))
    assert len(server.asked) == 1
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("broken", [{"shift": 5}, {"content_range": "bytes x-y/z"}])
def test_a_server_that_gives_another_part(server, target, broken):
    interrupted(server, target)
    vars(server).update(broken)
    fetch(server.url, target, checksum=sha(CONTENT))
    assert ranges(server) == ["bytes=400000-", None]
    assert target.read_bytes() == CONTENT


def test_what_is_complete_but_not_renamed_is_not_fetched_again(server, target):
    interrupted(server, target)
    target.with_name("data.bin.part").write_bytes(CONTENT)
    fetch(server.url, target, checksum=sha(CONTENT))
    assert server.asked == []
    assert alone(target)


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": "http://other/file"}', '{"urls": 1}'])
def test_leavings_of_something_else_are_not_continued(server, target, note):
    interrupted(server, target)
    target.with_name("data.bin.part.json").write_text(note)
    fetch(server.url, target, checksum=sha(CONTENT))
    assert ranges(server) == [None]
    assert target.read_bytes() == CONTENT


def test_a_wrong_checksum(server, target):
    with pytest.raises(
        DataError, match=f"{server.url} is not the published file .sha256 .*published 0000"
    ):
        fetch(server.url, target, checksum="sha256:" + "0" * 64)
    assert not any(target.parent.iterdir())
    assert len(server.asked) == 1


def test_another_size_is_told_before_it_is_fetched(server, target):
    seen = []
    with pytest.raises(
        DataError, match="is 1,024,000 bytes long and the published file 5: the server has"
    ):
        fetch(server.url, target, size=5, watch=lambda *at: seen.append(at))
    assert seen == []
    assert not target.exists()


def test_another_size_where_the_server_tells_none(server, target):
    server.length = False
    with pytest.raises(DataError, match="1,024,000 bytes, published 5"):
        fetch(server.url, target, size=5)
    assert not any(target.parent.iterdir())


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_answers_that_pass(server, target, status, pauses):
    server.answers = [status, status, 200]
    fetch(server.url, target)
    assert target.read_bytes() == CONTENT
    assert pauses == [1.0, 2.0]


def test_a_server_that_stays_busy(server, target, pauses):
    server.answers = [503] * 9
    with pytest.raises(UnavailableError, match="503"):
        fetch(server.url, target, attempts=4, pause=0.5)
    assert len(server.asked) == 4
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(("status", "words"), [(403, "403 Forbidden"), (404, "404 Not Found")])
def test_answers_that_do_not_pass(server, target, status, words, pauses):
    server.answers = [status]
    with pytest.raises(UnavailableError, match=words):
        fetch(server.url, target)
    assert (len(server.asked), pauses) == (1, [])


def test_a_web_page_in_place_of_the_file(server, target):
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(UnavailableError, match="a web page comes in place of the file"):
        fetch(server.url, target)
    assert not any(target.parent.iterdir())


def test_nobody_listens(tmp_path, target, pauses):
    with pytest.raises(UnavailableError, match="Connection refused"):
        fetch("http://127.0.0.1:9/data.bin", target)
    assert pauses == [1.0, 2.0, 4.0]


def test_no_name_server(monkeypatch, target, pauses):
    import socket

    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UnavailableError, match="Name or service not known"):
        fetch("http://data.example/data.bin", target)
    assert pauses == [1.0]  # not worth the wait


def test_silence_has_an_end(server, target, pauses):
    server.slow = 0.6
    with pytest.raises(UnavailableError, match="timed out"):
        fetch(server.url, target, timeout=0.1, attempts=1)
    assert left_behind(target)[0] == CONTENT[: len(left_behind(target)[0])]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a", "data.bin"])
def test_other_addresses_are_refused(target, url):
    with pytest.raises(OptionError, match="only http and https addresses"):
        fetch(url, target)


@pytest.mark.parametrize("checksum", ["abc", "sha1:abc", ":abc"])
def test_other_checksums_are_refused(target, checksum):
    target.write_bytes(b"x")
    with pytest.raises(OptionError, match="a checksum is written md5:HEX or sha256:HEX"):
        difference(target, None, checksum)


def test_differences_in_words(target):
    target.write_bytes(b"abc")
    assert difference(target, None, None) == ""
    assert difference(target, 3, "md5:900150983cd24fb0d6963f7d28e17f72") == ""
    assert difference(target, 4, None) == "3 bytes, published 4"
    assert difference(target, 3, "md5:00") == "md5 900150983cd24fb0d6963f7d28e17f72, published 00"


def test_a_folder_that_is_not_there(server, tmp_path):
    with pytest.raises(DataError, match=r"cannot write .*data\.bin\.part\.json: No such file"):
        fetch(server.url, tmp_path / "no" / "data.bin")


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "Input/output error; ch")]
)
def test_a_disk_that_refuses_is_not_asked_again(server, target, monkeypatch, code, words):
    """An error of the disk is an `OSError` as one of the network is, and trying again would not help."""

    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(code, os.strerror(code))

    own = Path.open

    def opened(self, mode="r", **more):
        return Full() if self.suffix == ".part" and "w" in mode else own(self, mode, **more)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(DataError, match=f"cannot write .*data.bin.part: {words}"):
        fetch(server.url, target)
    assert len(server.asked) == 1


PROGRAM = """
import sys
from pathlib import Path
from saliscope.data.fetch import fetch
fetch(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is Unix's")
def test_killed_and_resumed(server, target):
    server.slow = 0.05
    part = target.with_name("data.bin.part")
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, server.url, str(target)])
    deadline = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size > 100_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    here = part.stat().st_size
    assert 100_000 < here < len(CONTENT)
    server.slow = 0.0
    server.asked.clear()
    fetch(server.url, target, checksum=sha(CONTENT))
    assert ranges(server) == [f"bytes={here}-"]
    assert target.read_bytes() == CONTENT
    assert alone(target)


# --- a data set ------------------------------------------------------------------------------------------------------


def tar(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


IMAGES = tar({"Images/a/1.jpg": b"one", "Images/b/2.jpg": b"two"})
LISTS = tar({"train.mat": b"1", "test.mat": b"2"})
NAMES = b"cat\ndog\n"


@pytest.fixture
def kind(server):
    """Three files: an archive with folders, one without that goes into a folder, and one that is no archive."""
    server.files |= {"/images.tar": IMAGES, "/lists.tar": LISTS, "/names.txt": NAMES}
    return DataKind(
        name="beasts",
        title="Beasts",
        opener=lambda **_: None,
        splits=("train", "test"),
        home=server.home,
        archives=(
            Archive(f"{server.home}/images.tar", len(IMAGES), sha(IMAGES), members=("Images/a",)),
            Archive(f"{server.home}/lists.tar", None, None, "lists", ("lists/train.mat",)),
            Archive(f"{server.home}/names.txt?download=1", len(NAMES), sha(NAMES), "lists"),
        ),
    )


def changed(kind, **more):
    from dataclasses import replace

    return replace(kind, **more)


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


WHOLE = {
    "Images/a/1.jpg": b"one",
    "Images/b/2.jpg": b"two",
    "lists/train.mat": b"1",
    "lists/test.mat": b"2",
    "lists/names.txt": NAMES,
}


@pytest.fixture
def there(server):
    server.files["/names.txt?download=1"] = NAMES


@pytest.fixture
def root(tmp_path, there):
    return tmp_path / "beasts"


def asked(server):
    return [one["path"].partition("?")[0] for one in server.asked]


def test_a_data_set_comes_whole(server, kind, root):
    steps = []
    assert download(kind, root, watch=steps.append) == root
    assert tree(root) == WHOLE
    size = len(IMAGES)
    assert steps[0] == Step("download", "images.tar", 0, size)
    assert Step("download", "images.tar", size, size) in steps
    assert Step("unpack", "images.tar", 6, None) in steps
    assert list(dict.fromkeys((s.doing, s.file) for s in steps)) == [
        ("download", "images.tar"),
        ("unpack", "images.tar"),
        ("download", "lists.tar"),
        ("unpack", "lists.tar"),
        ("download", "names.txt"),
    ]


def test_the_cache_is_the_default_place(kind, tmp_path, monkeypatch, there):
    monkeypatch.setenv("SALISCOPE_CACHE", str(tmp_path / "cache"))
    assert download(kind) == tmp_path / "cache" / "data" / "beasts"
    assert tree(tmp_path / "cache" / "data" / "beasts") == WHOLE


def test_archives_can_be_kept(kind, root):
    download(kind, root, keep=True)
    assert tree(root) == WHOLE | {"images.tar": IMAGES, "lists.tar": LISTS}


def test_what_is_here_is_not_fetched_again(server, kind, root):
    download(kind, root)
    server.asked.clear()
    assert download(kind, root) == root
    assert server.asked == []
    shutil.rmtree(root / "Images" / "a")
    download(kind, root)
    assert asked(server) == ["/images.tar"]
    assert tree(root) == WHOLE


def test_an_archive_whose_members_are_not_known_leaves_a_mark(server, kind, root):
    archive = Archive(f"{server.home}/images.tar")
    download(changed(kind, archives=(archive,)), root)
    assert sorted(tree(root)) == [".saliscope-done.images.tar", "Images/a/1.jpg", "Images/b/2.jpg"]
    download(changed(kind, archives=(archive,)), root)
    assert len(server.asked) == 1


def test_a_plan_tells_what_is_missing(kind, root):
    plan = plan_download(kind, root)
    assert (plan.present, plan.files, plan.missing) == ((), (), kind.archives)
    assert plan.bytes_missing is None  # the size of one is not published
    assert plan.bytes_needed == 2 * len(IMAGES) + len(NAMES)
    assert not root.exists()
    root.mkdir()
    (root / "lists.tar").write_bytes(LISTS)
    (root / "images.tar.part").write_bytes(b"x" * 100)
    plan = plan_download(kind, root)
    assert [len(plan.present), len(plan.files), len(plan.missing)] == [0, 1, 2]
    assert plan.bytes_missing == len(IMAGES) + len(NAMES) - 100
    download(kind, root)
    assert plan_download(kind, root).present == kind.archives


def test_files_put_there_by_hand_are_used_and_kept(server, kind, root):
    root.mkdir()
    (root / "images.tar").write_bytes(IMAGES)
    (root / "names.txt").write_bytes(NAMES)
    download(kind, root)
    assert asked(server) == ["/lists.tar"]
    assert tree(root) == WHOLE | {"images.tar": IMAGES}


@pytest.mark.parametrize("place", ["images.tar", "names.txt", "lists/names.txt"])
def test_files_put_there_by_hand_are_checked(server, kind, root, place):
    (root / place).parent.mkdir(parents=True)
    (root / place).write_bytes(b"other")
    with pytest.raises(DataError, match=rf"{place} is not the published file \(5 bytes.*delete it"):
        download(kind, root)
    assert (root / place).read_bytes() == b"other"
    assert server.asked == []


def test_without_a_network_one_sentence_says_what_to_put_where(kind, server, root, pauses):
    second = kind.archives[1]
    dead = "http://127.0.0.1:9"
    away = (Archive(f"{dead}/images.tar", members=("Images/a",)), second, Archive(f"{dead}/z.txt", folder="lists"))  # fmt: skip
    with pytest.raises(DataError) as caught:
        download(changed(kind, archives=(second, away[0], away[2])), root)
    message = re.sub(r"\[Errno \d+\] ", "", str(caught.value))
    assert message == (
        f"beasts cannot be downloaded from here (Connection refused): put images.tar ({dead}/images.tar) and "
        f"z.txt ({dead}/z.txt) into the folder {root} and run the same command again"
    )
    (root / "images.tar").write_bytes(IMAGES)
    (root / "z.txt").write_bytes(b"z")
    download(changed(kind, archives=(second, away[0], away[2])), root)
    assert sorted(tree(root)) == sorted({*WHOLE, "images.tar", "lists/z.txt"} - {"lists/names.txt"})


def test_by_hand_says_how_and_unpacks_what_was_put_there(server, kind, root):
    by_hand = changed(kind, by_hand="sign in at beasts.org and take the files")
    with pytest.raises(
        DataError,
        match=r"beasts has to be got by hand: sign in at .*; put images\.tar \(http.*, lists",
    ):
        download(by_hand, root)
    assert server.asked == []
    for name, data in (("images.tar", IMAGES), ("lists.tar", LISTS), ("names.txt", NAMES)):
        (root / name).write_bytes(data)
    download(by_hand, root)
    assert WHOLE.items() <= tree(root).items()


def test_without_archives_it_is_got_by_hand(kind, root):
    none = changed(kind, archives=(), by_hand="write to its authors")
    with pytest.raises(DataError, match=f"write to its authors; its folder is {root}"):
        download(none, root)
    with pytest.raises(DataError, match="it has no files that a program could fetch; see http://"):
        download(changed(none, by_hand=""), root)
    root.mkdir()
    (root / "1.jpg").write_bytes(b"1")
    assert download(none, root) == root


@pytest.mark.parametrize(
    ("needs", "words"),
    [("path", "beasts is a folder of your own"), ("name", "beasts is fetched when it is opened"),
     ("", "beasts is made by the program")],
)  # fmt: skip
def test_kinds_without_a_folder(kind, needs, words):
    with pytest.raises(DataError, match=f"there is nothing to download: {words}"):
        download(changed(kind, needs=needs))


def test_a_root_that_is_a_file(kind, tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(DataError, match="f is a file; give a folder with --root DIR"):
        plan_download(kind, tmp_path / "f")


def test_a_root_that_cannot_be_made(kind, tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(DataError, match=r"cannot write into .*: Not a directory; choose another"):
        download(kind, tmp_path / "f" / "below")


@pytest.mark.parametrize(("keep", "room"), [(False, 2), (True, 3)])
def test_too_little_room_is_told_before_anything_is_fetched(
    server, kind, root, monkeypatch, keep, room
):
    """The files and their content need twice the largest file and once the others; those kept once more."""
    needed = room * len(IMAGES) + (2 if keep else 1) * len(NAMES)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, needed - 1))
    with pytest.raises(
        DataError, match=r"beasts needs about 0\.00 GB in .*, and 0\.00 GB are free"
    ):
        download(kind, root, keep=keep)
    assert server.asked == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, needed))
    download(kind, root, keep=keep)


def test_two_downloads_into_one_folder(server, kind, root):
    from filelock import FileLock

    root.mkdir()
    with (
        FileLock(root / ".saliscope-lock"),
        pytest.raises(DataError, match=r"another process is downloading into .*wait for it"),
    ):
        download(kind, root)
    download(kind, root)
    assert tree(root) == WHOLE


def test_an_archive_of_something_else(server, kind, root):
    server.files["/lists.tar"] = tar({"other.mat": b""})
    with pytest.raises(
        DataError, match=r"lists\.tar was unpacked, but brought no lists/train\.mat"
    ):
        download(kind, root)


def test_an_unpack_that_was_killed_is_finished_first(server, kind, root):
    """All was unpacked and part of it in place: the members alone would say that nothing is left to do."""
    download(kind, root)
    ready = root / ".saliscope-unpacked-images.tar"
    (ready / "Images").mkdir(parents=True)
    (root / "Images" / "b").rename(ready / "Images" / "b")
    server.asked.clear()
    download(kind, root)
    assert tree(root) == WHOLE
    assert server.asked == []


def test_a_folder_that_only_others_may_write_to(kind, root, monkeypatch):
    download(kind, root)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: pytest.fail("a folder was made"))
    assert download(kind, root) == root
    assert tree(root) == WHOLE
