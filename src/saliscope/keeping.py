"""An explanation as files: their names, and what stands in them."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from hashlib import blake2s
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from saliscope.boxes import Box, best_iou
from saliscope.pictures import Pixels, encoded

if TYPE_CHECKING:
    from saliscope.explanation import Explanation
    from saliscope.views import View

__all__ = ["file_base", "files_of", "maps_npz"]

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")  # devices on Windows
_LONGEST = 200  # bytes; file systems allow 255 with the suffix


def file_base(stem: str, spec: str) -> str:
    """Join the name of an image and a method specification to a file name that every file system takes.

    Characters Windows or Unix refuse become `_`. A name too long is cut and ends in a hash of the whole, so that two
    long names stay different.

    >>> file_base("dog", "grad-cam@layer4:relu=false")
    'dog.grad-cam@layer4_relu=false'
    """
    name = _FORBIDDEN.sub("_", f"{stem.strip() or 'image'}.{spec}").rstrip(". ")
    if _RESERVED.match(name):
        name = "_" + name
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= _LONGEST:
        return name
    digest = blake2s(data, digest_size=4).hexdigest()
    return data[: _LONGEST - 9].decode("utf-8", "ignore") + "~" + digest


def files_of(
    view: View, stem: str | None, overlay: Pixels, panel: Pixels, truth: Sequence[Box]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the four files of an explanation: overlay, panel, raw map, facts."""
    explanation = view.explanation
    name = PurePath(explanation.photo.name).stem if stem is None else stem
    base = file_base(name, explanation.spec)
    yield f"{base}.overlay.jpg", encoded(overlay, "JPEG")
    yield f"{base}.panel.jpg", encoded(panel, "JPEG")
    yield f"{base}.npz", maps_npz([explanation])
    yield f"{base}.json", _facts_json(view, truth)


def maps_npz(explanations: Sequence[Explanation]) -> bytes:
    """The raw maps of one photograph with all that is needed to draw and measure them again.

    `facts` is JSON text, one record for each map; the i-th map is `map_i`, float32 (h, w), signed. `frame_source`,
    `frame_region` and `frame_size` are the frame they share. Opens with `np.load(file, allow_pickle=False)`.
    """
    frame = explanations[0].frame
    facts = [{k: _no_nan(v) for k, v in e.facts().items()} for e in explanations]
    maps = {f"map_{i}": np.asarray(e.map, np.float32) for i, e in enumerate(explanations)}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        facts=np.array(json.dumps(facts)),
        frame_source=np.array(frame.source),
        frame_region=np.array(tuple(frame.region)),
        frame_size=np.array(frame.size),
        **maps,
    )
    return buffer.getvalue()


def _facts_json(view: View, truth: Sequence[Box]) -> bytes:
    explanation, box = view.explanation, view.box
    low, high = explanation.range
    record: dict[str, object] = {
        **explanation.facts(),
        "map_shape": list(explanation.map.shape),
        "map_min": low,
        "map_max": high,
        "protocol": str(view.protocol),
        "box": None if box is None else list(box),
        "truth": [list(instance) for instance in truth],
        "iou": best_iou(box, truth),
    }
    strict = {key: _no_nan(value) for key, value in record.items()}
    return (json.dumps(strict, indent=2, allow_nan=False) + "\n").encode()


def _no_nan(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
