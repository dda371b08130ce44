"""One call from a name to a network that can be explained."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from saliscope.models.labels import read_labels
from saliscope.models.model import Model, Precision
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import build

__all__ = ["load_model"]


def load_model(
    name: str | os.PathLike[str],
    weights: str | os.PathLike[str] = "pretrained",
    *,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    preprocessing: Preprocessing | None = None,
    precision: Precision = "float32",
    prepare: bool = True,
    device: str | torch.device | None = None,
) -> Model:
    """Load a network by name, with its weights, labels and the preprocessing it was trained with.

    `name` is a torchvision or timm classifier ("resnet50", "timm:convnext_tiny"), "critternet", "hf:NAME",
    "FILE.py:function" for a function of yours that returns a module, or a folder that `saliscope train` wrote; options
    follow as `:option=value`. `weights` is "pretrained", "untrained", a file (.safetensors, or .pt/.pth holding tensors
    only), or such a folder. `labels` is a list or a file of names in class order;
    `preprocessing` replaces the network's own. `device` is "cuda" where there is one, else "cpu", unless named.

    Raises `ModelError` for an unknown name or weights that cannot be had (the message names the file and where to put
    it) and `DataError` for a file that does not fit and for a folder that holds no trained network, or a damaged one.
    """
    source = build(name, weights, num_classes=num_classes)
    if isinstance(labels, str | os.PathLike):
        labels = read_labels(labels)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Model(
        source.module,
        preprocessing=preprocessing or source.preprocessing,
        labels=labels if labels is not None else source.labels,
        precision=precision,
        prepare=prepare,
        name=source.name,
        weights=source.weights,
        device=where,
    )
