"""`saliscope info`: what one would be asked to paste into a bug report."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata, util
from typing import Annotated, Any

from cyclopts import Parameter

from saliscope.cli.tables import print_table

__all__ = ["info"]

_PACKAGES = (
    "saliscope",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "matplotlib",
    "safetensors",
)
_EXTRAS = {"hf": "transformers"}


def info(
    *,
    models: Annotated[
        bool, Parameter(negative=(), help="list the networks that can be loaded by name")
    ] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="print as JSON")] = False,
) -> int:
    """Show versions, devices, caches, protocols and, with --models, the networks."""
    found = _models() if models else _facts()
    if as_json:
        print(json.dumps(found, indent=1))
    elif isinstance(found, list):
        print("\n".join(found))
    else:
        shown = [(k, v if isinstance(v, str) else ", ".join(v)) for k, v in found.items()]
        print_table(("what", "here"), shown)
    return 0


def _models() -> list[str]:
    from saliscope.models import model_names

    return list(model_names())


def _facts() -> dict[str, Any]:
    import torch

    from saliscope.localization import PROTOCOLS

    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    devices += [
        f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())
    ]
    hub = os.path.join(torch.hub.get_dir(), "checkpoints")  # noqa: PTH118 - torch's own text
    hugging = os.environ.get("HF_HOME") or os.path.join("~", ".cache", "huggingface")  # noqa: PTH118 - likewise
    return {
        **{name: _version(name) for name in _PACKAGES},
        "python": f"{platform.python_version()} on {platform.platform()}",
        "devices": devices,
        "extras": [f"{e}: {'yes' if util.find_spec(p) else 'no'}" for e, p in _EXTRAS.items()],
        "weights (torch)": hub,
        "weights (timm, hf)": hugging,
        "protocols": list(PROTOCOLS),
        "normalisations": ["min-max", "max", "percentile", "none"],
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
