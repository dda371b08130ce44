"""One file from a server: continued where it stopped, checked, and there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from socket import gaierror
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from saliscope import __version__
from saliscope.errors import DataError, OptionError

__all__ = ["UnavailableError", "difference", "fetch"]

_log = logging.getLogger(__name__)
_CHUNK = 1 << 18
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another a moment later

Watch = Callable[[int, "int | None"], None]


class UnavailableError(DataError):
    """A server cannot be reached, or does not give the file; the message is the bare reason."""


class _Restart(Exception):  # noqa: N818 - no error: the file is asked for once more, from its beginning
    pass


@dataclass(frozen=True)
class _Note:
    """What is remembered beside an unfinished file, so that only the same file is continued."""

    url: str
    validator: str | None = None
    total: int | None = None


@dataclass(eq=False)
class _Transfer:
    """One file on its way: what is wanted, and how much of it is here."""

    url: str
    target: Path
    size: int | None
    watch: Watch
    timeout: float
    part: Path = field(init=False)
    note: Path = field(init=False)
    continued: bool = False

    def __post_init__(self) -> None:
        self.part = self.target.with_name(f"{self.target.name}.part")
        self.note = self.target.with_name(f"{self.target.name}.part.json")

    @property
    def here(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def run(self) -> None:
        """Ask for what is missing and append it; a broken connection leaves what came."""
        known, start = self._known(), self.here
        if start and start == known.total:
            return
        if not start or not (known.validator or known.total):
            start = 0
        with urlopen(_request(self.url, start, known), timeout=self.timeout) as answer:
            start, total = self._begin(answer, start, known)
            with _disk(self.part):
                file = self.part.open("ab" if start else "wb")
            with file:
                done = self._copy(answer, file, start, total)
        if total is not None and done < total:
            raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")

    def _known(self) -> _Note:
        try:
            note = _Note(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return _Note(self.url)
        return note if note.url == self.url else _Note(self.url)

    def _begin(self, answer: HTTPResponse, start: int, known: _Note) -> tuple[int, int | None]:
        """Read from the answer's head where its content begins, and how long the whole file is."""
        if answer.headers.get_content_type() == "text/html":
            raise UnavailableError("a web page comes in place of the file")
        if answer.status == 206:
            begin, total = _content_range(answer.headers.get("Content-Range", ""))
            if begin != start or (known.total is not None and total != known.total):
                raise _Restart
            self.continued = True
        else:
            length = answer.headers.get("Content-Length", "")
            start, total = 0, int(length) if length.isdecimal() else None
            note = _Note(self.url, _validator(answer), total)
            with _disk(self.note):
                self.note.write_text(json.dumps(asdict(note)), encoding="utf-8")
        if self.size is not None and total is not None and total != self.size:
            raise DataError(
                f"{self.url} is {total:,} bytes long and the published file {self.size:,}: the server has another file now; "
                f"nothing of it was kept. If you trust it, unpack it into {self.target.parent} yourself"
            )
        return start, total

    def _copy(self, answer: HTTPResponse, file: IO[bytes], done: int, total: int | None) -> int:
        self.watch(done, total)
        while chunk := answer.read1(_CHUNK):
            with _disk(self.part):
                file.write(chunk)
                file.flush()
            done += len(chunk)
            self.watch(done, total)
        return done


def fetch(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    watch: Watch | None = None,
    timeout: float = 20.0,
    attempts: int = 4,
    pause: float = 1.0,
) -> None:
    """Download `url` to the file `target`, which appears when it is complete and its checksum right.

    What comes is kept in `target`.part, and the next call continues there, if the server can and its file is still the
    same. It gives up after `attempts` broken connections in a row, counted anew whenever something came, with pauses of
    `pause` seconds between them, doubled each time; `timeout` is in seconds of silence. `size` (bytes) and `checksum`
    ("md5:HEX" or "sha256:HEX") are what is published. `watch` is called with the bytes that are here and in all.

    Raises `UnavailableError` where the server does not give the file, `DataError` where it gives another one and where the
    disk is full.
    """
    if not re.match(r"(?i)https?://", url):
        raise OptionError(f'only http and https addresses can be downloaded; got "{url}"')
    transfer = _Transfer(url, target, size, watch or _ignore, timeout)
    with _disk(target):
        wrong = _complete(transfer, checksum, attempts, pause)
        if wrong and transfer.continued:
            _log.info("%s: the pieces do not fit together; downloading it anew", target.name)
            transfer.forget()
            wrong = _complete(transfer, checksum, attempts, pause)
        if wrong:
            transfer.forget()
            raise DataError(
                f"{url} is not the published file ({wrong}); it was deleted. Run the same command again, and if that does "
                f"not help, the server has another file now"
            )
        transfer.part.replace(target)
        transfer.note.unlink(missing_ok=True)


def _complete(transfer: _Transfer, checksum: str | None, attempts: int, pause: float) -> str:
    _persist(transfer, attempts, pause)
    return difference(transfer.part, transfer.size, checksum)


def _persist(transfer: _Transfer, attempts: int, pause: float) -> None:
    """Run a transfer to its end, through broken connections."""
    failures = 0
    while True:
        before = transfer.here
        try:
            transfer.run()
        except _Restart:
            transfer.forget()
            reason: object = "it gives another part of the file than the one asked for"
        except HTTPError as err:
            err.close()
            if err.code == 416:  # there is less than what is here: another file
                transfer.forget()
            elif err.code not in _PASSING:
                raise UnavailableError(f"{err.code} {err.reason}") from err
            reason = err
        except (HTTPException, OSError) as err:  # the disk's errors are of another kind by now
            reason = err
        else:
            return
        failures = 1 if transfer.here > before else failures + 1
        _log.info("%s: %s", transfer.url, reason)
        # No name server answers: as good as no network, and not worth the wait.
        if failures >= (2 if isinstance(_inner(reason), gaierror) else attempts):
            raise UnavailableError(_reason(reason))
        time.sleep(pause * 2 ** (failures - 1))


def difference(path: Path, size: int | None, checksum: str | None) -> str:
    """Say how a file differs from what is published about it; empty where it does not."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"{found:,} bytes, published {size:,}"
    if checksum is None:
        return ""
    kind, colon, wanted = checksum.partition(":")
    if not colon or kind not in ("md5", "sha256"):
        raise OptionError(f'a checksum is written md5:HEX or sha256:HEX; got "{checksum}"')
    with path.open("rb") as file:
        got = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False))
    if got.hexdigest() == wanted.lower():
        return ""
    return f"{kind} {got.hexdigest()}, published {wanted.lower()}"


def _ignore(_done: int, _total: int | None) -> None:
    pass


def _request(url: str, start: int, known: _Note) -> Request:
    # Any encoding would be of the bytes on the way, and positions would count those.
    headers = {"User-Agent": f"saliscope/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if known.validator:
            headers["If-Range"] = known.validator
    return Request(url, headers=headers)


def _validator(answer: HTTPResponse) -> str | None:
    """What tells one state of a file from another, byte for byte; a weak ETag does not."""
    etag = answer.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")


def _content_range(text: str) -> tuple[int, int | None]:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", text.strip())
    if found is None:
        raise _Restart
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _inner(reason: object) -> object:
    """What urllib has wrapped."""
    return reason.reason if type(reason) is URLError else reason


def _reason(reason: object) -> str:
    words = " ".join(f"{_inner(reason)}".split())
    return words or type(reason).__name__


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Tell an error of the disk from one of the network: both are `OSError`, and only the second may pass."""
    try:
        yield
    except OSError as err:
        advice = f"{err.strerror or err}; choose a folder you may write to"
        if err.errno == errno.ENOSPC:
            advice = "the disk is full; free some space, and the same command goes on"
        raise DataError(f"cannot write {path}: {advice}") from err
