"""When something was made, and with which versions."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

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
    """One line that says where something was computed."""
    import torch

    where = platform.processor() or platform.machine()
    if torch.cuda.is_available():
        where += f", {torch.cuda.get_device_name()}"
    else:
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        where = f"{capabilities.get('cpu_name') or where} ({platform.machine()})"
    return f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}"
