"""When something was made, and with which versions."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine", "now", "versions"]

_PACKAGES = (
    "saliscope",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "polars",
)


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that numbers may depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """One line that says where something was computed; of torch only where it is loaded, for measuring does without."""
    where = f"{_processor()} ({platform.machine()})"
    torch = sys.modules.get("torch")
    if torch is None:
        return where
    if torch.cuda.is_available():
        where += f", {torch.cuda.get_device_name()}"
    return f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _processor() -> str:
    """What the kernel calls the processor, where it says so."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, name = line.partition(":")
            if key.strip() == "model name":
                return name.strip()
    return platform.processor() or platform.machine()
