"""Every error saliscope raises on purpose.

    SaliscopeError
    ├── ImageError(ValueError)         a picture cannot be read or used
    ├── DataError(ValueError)          an annotation, label file or checkpoint is not what it should be
    ├── ModelError(RuntimeError)       a network cannot be loaded, copied or run
    ├── LayerError(LookupError)        a layer is unknown, never runs, or has no grid to draw
    ├── TargetError(ValueError)        the thing to explain is not one of the network's outputs
    ├── MethodError(ValueError)        a method is unknown, or meaningless on this network
    ├── OptionError(ValueError)        a setting has a value it cannot have
    └── DependencyError(ImportError)   an optional package is not installed

Each is also the matching built-in, so `except ValueError` keeps working. A message says what was given, what is
allowed and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "DataError",
    "DependencyError",
    "ImageError",
    "LayerError",
    "MethodError",
    "ModelError",
    "OptionError",
    "SaliscopeError",
    "TargetError",
    "nearest",
]


class SaliscopeError(Exception):
    """The root: catch this to catch everything saliscope raises on purpose."""


class ImageError(SaliscopeError, ValueError):
    """A picture cannot be read or used."""


class DataError(SaliscopeError, ValueError):
    """An annotation, label file or checkpoint is not what it should be."""


class ModelError(SaliscopeError, RuntimeError):
    """A network cannot be loaded, copied or run."""


class LayerError(SaliscopeError, LookupError):
    """A layer is unknown, never runs, or has no grid to draw."""


class TargetError(SaliscopeError, ValueError):
    """The thing to explain is not one of the network's outputs."""


class MethodError(SaliscopeError, ValueError):
    """A method is unknown, or meaningless on this network."""


class OptionError(SaliscopeError, ValueError):
    """A setting has a value it cannot have."""


class DependencyError(SaliscopeError, ImportError):
    """An optional package is not installed."""


def nearest(given: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Phrase the names closest to `given`, e.g. `'nearest: "layer4", "layer3"'`; all of them if none is close."""
    names = list(dict.fromkeys(known))
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(name.lower(), name)
    close = [folded[n] for n in get_close_matches(given.lower(), folded, n=limit, cutoff=0.5)]
    close += [n for n in names if given.lower() in n.lower() and n not in close][
        : limit - len(close)
    ]
    if close:
        return "nearest: " + ", ".join(f'"{n}"' for n in close)
    shown = ", ".join(f'"{n}"' for n in names[:12])
    return f"known: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
