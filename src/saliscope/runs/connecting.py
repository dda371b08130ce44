"""A Ray cluster, reached or started for as long as it is needed; one that is not there is told at once."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saliscope.errors import DependencyError, OptionError

__all__ = ["cluster"]

_HERE = (None, "auto")  # a cluster of this machine, whichever it is
_PATIENCE = 5.0  # seconds for an answer
_PORTS = {
    "": 6379,
    "ray": 10001,
}  # where a cluster listens unless it is told otherwise, by the scheme of its address

# How a conversation over HTTP/2, and so over gRPC, begins; the other side begins with a frame of kind 4.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_FRAME, _KIND, _SETTINGS = 9, 3, 4


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at an address, to the one that is here, or to a new one.

    What was started here is stopped again; where `ray` is connected already it stays as it is. Raises `DependencyError`
    without Ray and `OptionError`, within 20 seconds or so, for a cluster that does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what it means is said here
    try:
        import ray
        import ray.data
    except ImportError:
        raise DependencyError(
            '--engine ray needs Ray: pip install "saliscope[cluster]"; --engine local --workers N needs nothing'
        ) from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield ray
        return
    with _handler_kept():
        _connect(ray, address)
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _handler_kept() -> Iterator[None]:
    """Ray sets a handler of SIGTERM, which would outlive it."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _connect(ray: Any, address: str | None) -> None:
    found = _wanted(address)
    try:
        if found in _HERE and (noted := _noted()):
            found = _still(noted, found)
        elif found:
            _knock(found)
        ray.init(
            address=found,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="saliscope",
        )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as err:
        hint = ""
        if found not in (*_HERE, "local") and "RAY_AUTH_MODE" not in os.environ:
            hint = "; one that asks for a token needs RAY_AUTH_MODE=token"
        raise OptionError(
            f"no Ray cluster answers at {found or 'this machine'}: {err}{hint}. Start one with `ray start --head`, or leave out "
            "--address"
        ) from None


def _wanted(address: str | None) -> str | None:
    """The address, or that of the environment where none is named; None for the cluster that is here, or a new one."""
    return (os.environ.get("RAY_ADDRESS") or address) if address in _HERE else address


def _noted() -> str | None:
    """The address of the cluster that `ray start` began here last, which may be gone since."""
    folder = "/tmp" if sys.platform == "darwin" else tempfile.gettempdir()
    file = Path(os.environ.get("RAY_TMPDIR") or folder) / "ray/ray_current_cluster"
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _still(noted: str, wanted: str | None) -> str | None:
    """What to ask Ray for where a cluster is noted: where that is gone a new one, unless it has to be that one."""
    try:
        _knock(noted)
    except OSError as err:
        if wanted == "auto":
            raise OSError(f"the one that was started here last, {noted}, is gone ({err})") from None
        return "local"
    return wanted


def _knock(address: str) -> None:
    """Raise `OSError` where nothing listens at HOST:PORT or ray://HOST:PORT, or something that is no cluster.

    Other addresses ("local", those of a provider) are left to Ray, which would try for minutes at these.
    """
    scheme, _, rest = address.rpartition("://")
    if rest in ("auto", "local") or scheme not in _PORTS:
        return
    host, colon, port = rest.rpartition(":")
    if not colon:
        host, port = rest, str(_PORTS[scheme])
    if not port.isdigit():
        raise OSError(f'"{address}" is no address; write HOST:PORT, ray://HOST:PORT or auto')
    with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE) as found:
        if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):  # an encrypted one begins otherwise
            _greet(found, port)


def _greet(found: socket.socket, port: str) -> None:
    found.settimeout(_PATIENCE)
    found.sendall(_HELLO)
    answer = b""
    while len(answer) < _FRAME and (more := found.recv(_FRAME - len(answer))):
        answer += more
    if len(answer) < _FRAME or answer[_KIND] != _SETTINGS:
        raise OSError(
            f"what listens at port {port} is no cluster; `ray start --head` listens at 6379 and, for ray:// addresses, at 10001"
        )
