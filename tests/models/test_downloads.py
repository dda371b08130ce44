"""Fetching published weights, without a network: what is asked, where it is put, and what is said."""

import socket
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.constants
import pytest
import torch

from saliscope.errors import ModelError
from saliscope.models import downloads
from saliscope.models.downloads import fetch_repository_file, fetch_url, hub_file, unavailable

URL = "https://example.org/models/net-0a1b2c3d.pth?download=1"


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network in tests")

    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


def test_the_place_of_a_file(tmp_path):
    assert hub_file(URL) == tmp_path / "torch" / "hub" / "checkpoints" / "net-0a1b2c3d.pth"


def test_a_file_that_is_there_is_taken():
    file = hub_file(URL)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert fetch_url(URL, "net") == file


@pytest.mark.parametrize(
    ("url", "prefix"), [(URL, "0a1b2c3d"), ("https://example.org/plain.pth", None)]
)
def test_a_download_is_checked_and_has_a_time_limit(monkeypatch, url, prefix):
    asked = []

    def download(url, file, hash_prefix, progress):
        asked.append((url, file, hash_prefix, progress, socket.getdefaulttimeout()))
        with open(file, "wb") as stream:  # noqa: PTH123 -- what torch is given is text
            stream.write(b"x")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    before = socket.getdefaulttimeout()
    file = fetch_url(url, "net")
    assert asked == [(url, str(file), prefix, False, 15.0)]
    assert file.read_bytes() == b"x"
    assert socket.getdefaulttimeout() == before


def test_the_users_own_time_limit_stays(monkeypatch):
    found = []
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda *a, **k: found.append(socket.getdefaulttimeout())
    )
    socket.setdefaulttimeout(3.0)
    try:
        fetch_url(URL, "net")
        assert socket.getdefaulttimeout() == 3.0
    finally:
        socket.setdefaulttimeout(None)
    assert found == [3.0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError("timed out"), "TimeoutError: timed out"),
        (RuntimeError('invalid hash value (expected "a", got "b")'), "RuntimeError: invalid hash"),
        (PermissionError("read-only\nsecond line"), "PermissionError: read-only"),
    ],
)
def test_a_download_that_fails(monkeypatch, error, words):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ModelError) as caught:
        fetch_url(URL, "net")
    message = str(caught.value)
    assert message.startswith(f"the weights of net are not here and cannot be downloaded ({words}")
    assert f"put net-0a1b2c3d.pth from {URL} into the folder {hub_file(URL).parent}, or" in message
    assert "--weights FILE" in message
    assert "\n" not in message
    assert caught.value.__cause__ is error


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "torch").write_text("a file where the folder should be")
    with pytest.raises(ModelError, match=r"cannot be downloaded .*put net-0a1b2c3d.pth from"):
        fetch_url(URL, "net")


def answers(monkeypatch, codes):
    """Let the network answer each file with a status code, and a download give the file's own name."""
    asked, fetched = [], []

    def head(url, timeout):
        asked.append((url.rpartition("/")[2], timeout))
        return SimpleNamespace(status_code=codes[asked[-1][0]])

    def download(repository, file, revision):
        fetched.append((repository, file, revision))
        return f"/cache/{file}"

    monkeypatch.setattr(huggingface_hub, "get_session", lambda: SimpleNamespace(head=head))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked, fetched


def test_the_first_file_that_a_repository_has(monkeypatch):
    asked, fetched = answers(monkeypatch, {"a.safetensors": 404, "b.bin": 302, "c.bin": 200})
    found = fetch_repository_file("me/net", ("a.safetensors", "b.bin", "c.bin"), "net")
    assert str(found) == "/cache/b.bin"
    assert asked == [("a.safetensors", 15.0), ("b.bin", 15.0)]
    assert fetched == [("me/net", "b.bin", None)]


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ({"a.bin": 404}, "(the repository has no such file)"),
        ({"a.bin": 401}, "(PermissionError: access to me/net is refused)"),
        ({"a.bin": 403}, "(PermissionError: access to me/net is refused)"),
        ({}, "(KeyError: 'a.bin')"),
    ],
)
def test_files_that_a_repository_does_not_give(monkeypatch, hub, codes, words):
    answers(monkeypatch, codes)
    with pytest.raises(ModelError) as caught:
        fetch_repository_file("me/net", ("a.bin",), "net", revision="v1")
    assert str(caught.value) == (
        f"the weights of net are not here and cannot be downloaded {words}: copy the cache folder "
        f"models--me--net, which holds a.bin, from a machine that has it into {hub}, or give your own "
        'with --weights FILE (Python: weights="FILE"), or take random ones with --weights untrained'
    )


def test_without_a_network(hub):
    with pytest.raises(ModelError, match=r"\(ConnectError: no network in tests\): copy the cache"):
        fetch_repository_file("me/net", ("a.bin",), "net")
    with pytest.raises(ModelError, match=r"in tests\): ask me$"):
        fetch_repository_file("me/net", ("a.bin",), "net", put="ask me", own=False)


def test_progress_bars_are_as_they_were(monkeypatch):
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars

    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    enable_progress_bars()
    with downloads._silent():
        assert are_progress_bars_disabled()
    assert not are_progress_bars_disabled()


def test_the_words():
    error = unavailable("net", reason="none were published.", put="do this")
    assert str(error) == (
        "the weights of net are not here and cannot be downloaded (none were published): do this, or "
        'give your own with --weights FILE (Python: weights="FILE"), or take random ones with '
        "--weights untrained"
    )
