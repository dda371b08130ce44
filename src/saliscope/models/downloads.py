"""Fetch published weights into the libraries' own caches: quietly, without hanging, with one clear sentence if not."""

from __future__ import annotations

import logging
import os
import re
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import torch

from saliscope.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["fetch_repository_file", "fetch_url", "hub_file"]

_log = logging.getLogger(__name__)
_HASH = re.compile(r"-([a-f0-9]{8,})\.")
_SECONDS = 15.0


def hub_file(url: str) -> Path:
    """Say where torch's cache keeps the file of `url`, whether it is there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def fetch_url(url: str, name: str) -> Path:
    """Return the file of `url` in torch's cache, downloading it if needed, checked against the hash in its name.

    Raises ModelError, one sentence that names the file, its place and the flag, when it cannot be had.
    """
    file = hub_file(url)
    if file.is_file():
        return file
    _log.info("downloading %s to %s", url, file)
    found = _HASH.search(file.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _time_limit():
            torch.hub.download_url_to_file(
                url, str(file), found.group(1) if found else None, progress=False
            )
    except (OSError, RuntimeError, ValueError) as err:
        raise unavailable(
            name, reason=err, put=f"put {file.name} from {url} into the folder {file.parent}"
        ) from err
    return file


def fetch_repository_file(
    repository: str,
    names: Sequence[str],
    name: str,
    *,
    revision: str | None = None,
    put: str = "",
    own: bool = True,
) -> Path:
    """Return the first of the files `names` that a model repository has, from its cache or the network.

    One question a file, with a time limit, before any download: the client library would go on asking for a minute
    where there is no network. Raises ModelError, one sentence that names the file, its place and the flag: `put`
    replaces its words on the place, and without `own` it does not offer --weights.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    for file in names:
        cached = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    folder = "models--" + repository.replace("/", "--")
    put = put or (
        f"copy the cache folder {folder}, which holds {names[0]}, from a machine that has it into "
        f"{constants.HF_HUB_CACHE}"
    )
    try:
        file = next((file for file in names if _exists(repository, file, revision)), "")
        if file:
            _log.info("downloading %s of %s", file, repository)
            with _silent():
                return Path(hf_hub_download(repository, file, revision=revision))
        reason: object = "the repository has no such file"
    except Exception as err:  # the client's network library, whichever it is, has its own errors
        reason = err
    raise unavailable(name, reason=reason, put=put, own=own) from (
        reason if isinstance(reason, Exception) else None
    )


def unavailable(name: str, *, reason: object, put: str, own: bool = True) -> ModelError:
    """Word the error for weights that cannot be downloaded: one sentence with file, place and, if `own`, flag."""
    kind = f"{type(reason).__name__}: {reason}" if isinstance(reason, Exception) else str(reason)
    first = kind.splitlines()[0].rstrip(". ")
    flags = ', or give your own with --weights FILE (Python: weights="FILE"), or take random ones with --weights untrained'
    return ModelError(
        f"the weights of {name} are not here and cannot be downloaded ({first}): {put}{flags if own else ''}"
    )


def _exists(repository: str, file: str, revision: str | None) -> bool:
    from huggingface_hub import get_session, hf_hub_url

    with _time_limit():
        answer = get_session().head(
            hf_hub_url(repository, file, revision=revision), timeout=_SECONDS
        )
    if answer.status_code in (401, 403):
        raise PermissionError(f"access to {repository} is refused")
    return int(answer.status_code) < 400


@contextmanager
def _time_limit() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(before or _SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _silent() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown = not are_progress_bars_disabled() and "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()
