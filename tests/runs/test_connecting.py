"""A cluster that is not there is told at once; nothing here starts one."""

import socket
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from saliscope import runs
from saliscope.errors import DependencyError, OptionError
from saliscope.runs import connecting
from saliscope.runs.connecting import cluster

SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Whatever runs on this machine is not seen, and nobody is waited for."""
    for name in ("RAY_ADDRESS", "RAY_USE_TLS", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
    monkeypatch.setattr(connecting, "_PATIENCE", 0.3)
    return tmp_path


@pytest.fixture
def ray(monkeypatch):
    """A stand-in that notes what it is asked to connect to."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    asked = []
    fake = SimpleNamespace(
        init=lambda **given: asked.append(given["address"]),
        is_initialized=lambda: False,
        shutdown=lambda: asked.append("down"),
        exceptions=SimpleNamespace(RayError=KeyError),
        data=None,
        asked=asked,
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, "ray.data", fake)
    return fake


@contextmanager
def listening(answer):
    """A port where everybody gets the same answer; "" is silence, None hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve():
            while True:
                try:
                    found, _ = server.accept()
                except OSError:
                    return
                held.append(found)
                if answer is None:
                    found.close()
                elif answer:
                    found.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        for found in held:
            found.close()
        server.shutdown(socket.SHUT_RDWR)


def closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def note(folder, address):
    (folder / "ray").mkdir()
    (folder / "ray/ray_current_cluster").write_text(f"{address}\n")


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no cluster; `ray start --head` listens at 6379 and"),
        (b"short", "timed out"),
        (b"", "timed out"),
        (None, "is no cluster|reset"),
    ],
)  # fmt: skip
def test_what_listens_may_be_no_cluster(ray, scheme, answer, said):
    with listening(answer) as port:
        address = f"{scheme}127.0.0.1:{port}"
        message = f"no Ray cluster answers at {address}: .*({said})"
        with pytest.raises(OptionError, match=message), cluster(address):
            pass
    assert ray.asked == []


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_one_that_answers_is_asked(ray, scheme):
    with listening(SETTINGS + b"more") as port, cluster(f"{scheme}127.0.0.1:{port}") as found:
        assert found is ray
        assert ray.asked == [f"{scheme}127.0.0.1:{port}"]
    assert ray.asked[1:] == ["down"]


def test_an_encrypted_one_need_not_understand(ray, monkeypatch):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with listening(b"") as port, cluster(f"127.0.0.1:{port}"):
        assert ray.asked == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "[::1]:{port}", "localhost:{port}"]
)
def test_where_nothing_listens(ray, address):
    address = address.format(port=closed())
    message = r"no Ray cluster answers at .*: .*Start one with `ray start --head`, or leave out"
    with pytest.raises(OptionError, match=message), cluster(address):
        pass
    assert ray.asked == []


@pytest.mark.parametrize("address", ["head:", "127.0.0.1:port", ":"])
def test_what_is_no_address(ray, address):
    message = f'"{address}" is no address; write HOST:PORT, ray://HOST:PORT or auto'
    with pytest.raises(OptionError, match=message), cluster(address):
        pass


@pytest.mark.parametrize(("scheme", "port"), [("", 6379), ("ray://", 10001)])
def test_the_usual_port(ray, monkeypatch, scheme, port):
    seen = []
    monkeypatch.setattr(
        connecting.socket, "create_connection", lambda where, _: seen.append(where) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError), cluster(f"{scheme}head"):
        pass
    assert seen == [("head", port)]


@pytest.mark.parametrize("address", ["local", "anyscale://mine"])
def test_others_are_left_to_ray(ray, address):
    with cluster(address):
        assert ray.asked == [address]


def test_the_environment_may_name_it(ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed()}")
    for address in (None, "auto"):
        with (
            pytest.raises(OptionError, match=r"no Ray cluster answers at 127\.0\.0\.1:"),
            cluster(address),
        ):
            pass
    with listening(SETTINGS) as port, cluster(f"127.0.0.1:{port}"):  # what is said counts more
        assert ray.asked == [f"127.0.0.1:{port}"]


def test_without_an_address_it_is_the_one_that_is_here_or_a_new_one(ray, alone):
    with cluster(None):
        assert ray.asked == [None]
    with listening(SETTINGS) as port:
        note(alone, f"127.0.0.1:{port}")
        for address in (None, "auto"):
            with cluster(address):
                assert ray.asked[-1] == address


def test_one_that_was_here_and_is_gone(ray, alone):
    note(alone, f"127.0.0.1:{closed()}")
    with cluster(None):
        assert ray.asked == ["local"]
    message = (
        "no Ray cluster answers at auto: the one that was started here last, 127.0.0.1:.*, is gone"
    )
    with pytest.raises(OptionError, match=message), cluster("auto"):
        pass


@pytest.mark.parametrize(
    "error", [ConnectionError("nobody"), ValueError("what"), RuntimeError("no"), KeyError("token")]
)
def test_what_ray_says_is_passed_on(ray, monkeypatch, error):
    def init(**_):
        raise error

    ray.init = init
    with (
        pytest.raises(OptionError, match=f"no Ray cluster answers at this machine: {error}. Start"),
        cluster(None),
    ):
        pass
    monkeypatch.delenv("RAY_AUTH_MODE")
    with listening(SETTINGS) as port:
        message = f"{error}; one that asks for a token needs RAY_AUTH_MODE=token. Start"
        with pytest.raises(OptionError, match=message), cluster(f"127.0.0.1:{port}"):
            pass


def test_what_is_connected_already_stays_so(ray):
    ray.is_initialized = lambda: True
    with cluster("127.0.0.1:1"):
        pass
    assert ray.asked == []


def test_an_exception_disconnects(ray):
    with pytest.raises(KeyboardInterrupt), cluster("local"):
        raise KeyboardInterrupt
    assert ray.asked == ["local", "down"]


def test_without_ray(settings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    message = r'--engine ray needs Ray: pip install "saliscope\[cluster\]"; --engine local --workers N needs nothing'
    with pytest.raises(DependencyError, match=message):
        runs.evaluate(settings(engine="ray"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "auto"])
def test_with_ray_itself_it_is_told_at_once(settings, tmp_path, monkeypatch, address):
    """Before the network is loaded, and nothing is written."""
    pytest.importorskip("ray.data", reason="Ray is not installed")
    monkeypatch.setattr("saliscope.runs.execution.open_subject", lambda *a: 1 / 0)
    own = settings(engine="ray", address=address.format(port=closed()))
    begun = time.monotonic()
    with pytest.raises(OptionError, match=f"no Ray cluster answers at {own.address}: "):
        runs.evaluate(own, tmp_path / "run")
    assert time.monotonic() - begun < 20
    assert not (tmp_path / "run").exists()
