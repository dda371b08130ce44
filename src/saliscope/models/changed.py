"""A loaded network with another preprocessing than its own, as flags and files write it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from saliscope.errors import OptionError
from saliscope.models.model import Model
from saliscope.models.preprocessing import Resize

__all__ = ["change_preprocessing", "read_size"]


def change_preprocessing(
    model: Model,
    *,
    size: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    resize: Resize | None = None,
) -> Model:
    """Replace what is given of a network's preprocessing, in place; `size` is written "224" or "224x160" (height first).

    Where size or resize change, the shorter side before a crop is again the default. Raises `OptionError`.
    """
    own = model.preprocessing
    given: dict[str, Any] = {
        "size": None if size is None else read_size(size),
        "mean": mean,
        "std": std,
        "resize": resize,
    }
    changed = replace(own, **{k: v for k, v in given.items() if v is not None})
    if changed.resize != own.resize or changed.size != own.size:
        changed = replace(changed, shorter=None)
    model.preprocessing = changed
    return model


def read_size(text: str) -> tuple[int, int]:
    """Height and width from "224" or "HEIGHTxWIDTH"; raises `OptionError`."""
    height, cross, width = text.lower().partition("x")
    try:
        return int(height), int(width if cross else height)
    except ValueError:
        raise OptionError(f'--size is pixels, 224 or HEIGHTxWIDTH; got "{text}"') from None
