"""Named definitions of how a heatmap becomes a box."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from saliscope.boxes import Box
from saliscope.errors import OptionError, nearest
from saliscope.localization.components import (
    Component,
    largest_component,
    largest_contour,
    smallest_rectangle,
)
from saliscope.localization.normalise import (
    NormaliseRule,
    finite_range,
    is_constant,
    normalise,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["PROTOCOLS", "Protocol", "Region", "find_box", "find_region", "parse_protocol"]


@dataclass(frozen=True)
class Protocol:
    """A definition of how a heatmap becomes one box; its name is written beside each number it leads to.

    A heatmap is normalised by `rule`; the foreground is what lies above `threshold` (`strict`), or at it too; its largest
    8-connected part is taken, by the `area` its outer contour encloses or by its number of `pixels`; the box is `tight`
    around that part, or the upright bounds of the smallest `rotated` rectangle around it. A definition never changes: a
    better one gets another name. `str()` gives the name and what differs from it, e.g. `yang2025:threshold=0.1`, which
    `parse_protocol` reads back.
    """

    name: str
    rule: NormaliseRule
    threshold: float
    strict: bool
    largest_by: Literal["area", "pixels"]
    shape: Literal["tight", "rotated"]
    source: str

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold < 1.0:
            raise OptionError(
                f"threshold {self.threshold} of protocol {self.name} is outside [0, 1); it is a share of the "
                "normalised range, e.g. 0.05"
            )

    def __str__(self) -> str:
        named = PROTOCOLS.get(self.name)
        if named is not None and named.threshold == self.threshold:
            return self.name
        return f"{self.name}:threshold={self.threshold!r}"


def _families() -> Mapping[str, Protocol]:
    yang = (
        "Yang 2025, section 3.6: at or above 5 % of the range, largest contour, rotated rectangle"
    )
    cam = "Zhou et al. 2016, section 3.2: above 20 % of the maximum, largest connected component"
    grad = "Selvaraju et al. 2017, section 4.1: above 15 % of the maximum, largest segment"
    rows: list[Protocol] = [
        Protocol("yang2025", "min-max", 0.05, False, "area", "rotated", yang),
        Protocol("yang2025-tight", "min-max", 0.05, False, "area", "tight", yang + "; tight box"),
        Protocol("cam2016", "max", 0.20, True, "pixels", "tight", cam),
        Protocol("cam2016-rotated", "max", 0.20, True, "pixels", "rotated", cam + "; rotated"),
        Protocol("gradcam2017", "max", 0.15, True, "pixels", "tight", grad),
        Protocol("gradcam2017-rotated", "max", 0.15, True, "pixels", "rotated", grad + "; rotated"),
    ]
    return MappingProxyType({row.name: row for row in rows})


PROTOCOLS: Mapping[str, Protocol] = _families()
"""The protocols by name. Papers leave open what a test needs; what was filled in is said in `find_box`."""


def parse_protocol(given: str | Protocol) -> Protocol:
    """Read `name` or `name:threshold=0.1`; a `Protocol` is returned as it is. Raises `OptionError`.

    >>> parse_protocol("yang2025:threshold=0.1").threshold
    0.1
    >>> str(parse_protocol("cam2016:threshold=0.2"))
    'cam2016'
    """
    if isinstance(given, Protocol):
        return given
    name, _, options = str(given).strip().partition(":")
    if name not in PROTOCOLS:
        raise OptionError(f'box protocol "{name}" is unknown; {nearest(name, PROTOCOLS)}')
    protocol = PROTOCOLS[name]
    for option in filter(None, options.split(",")):
        protocol = _with_option(protocol, option)
    return protocol


def _with_option(protocol: Protocol, option: str) -> Protocol:
    key, _, value = (part.strip() for part in option.partition("="))
    if key != "threshold":
        raise OptionError(
            f'box protocol {protocol.name} has no option "{key}"; {nearest(key, ["threshold"])}'
        )
    try:
        threshold = float(value)
    except ValueError:
        raise OptionError(
            f'threshold "{value}" is no number; write {protocol.name}:threshold=0.1'
        ) from None
    return replace(protocol, threshold=threshold)


@dataclass(frozen=True, eq=False)
class Region:
    """What a protocol found on a heatmap.

    `box` is half-open in image pixels, cut to the image. `mask` is bool (H, W): the pixels of the chosen part. `corners` is
    float64 (4, 2), x then y, in pixel-centre coordinates (the centre of the first pixel is 0, 0): the smallest rotated
    rectangle, not cut to the image, whether or not the protocol's box is derived from it.
    """

    box: Box
    mask: NDArray[np.bool_]
    corners: NDArray[np.float64]


def find_box(
    heat: NDArray[np.floating],
    protocol: str | Protocol = "yang2025",
    *,
    scaled: NDArray[np.float32] | None = None,
    flat: bool | None = None,
) -> Box | None:
    """Turn a heatmap into one box by a named protocol.

    `heat` (H, W) holds raw, signed values in the image frame, upsampled and not yet normalised; NaN marks pixels the network
    never saw, which are no foreground and do not count for minimum and maximum. The box is half-open in image pixels, cut
    to the part the network saw, and fractional where it bounds a rotated rectangle.

    What the papers do not say: parts are 8-connected; ties go to the part with the highest value, then to reading order;
    a rotated rectangle runs through pixel centres, so its bounds [min, max] become [min, max + 1]: a blob of 10 x 6 pixels
    gets its own 10 x 6 box. See `largest_contour` and `smallest_rectangle`.

    `scaled` is `normalise(heat, protocol.rule)`, and `flat` says whether the map is constant or holds an infinity, where the
    caller knows already.

    None where there is nothing to find: a constant map (`is_constant`), nothing above the threshold, an infinite value, no seen pixel.
    Raises `OptionError` for an unknown protocol and for a heatmap that is not two-dimensional.
    """
    protocol = parse_protocol(protocol)
    mask = _foreground(heat, protocol, scaled, flat)
    part = None if mask is None else _largest(mask, heat, protocol)
    return None if part is None else _box(part, heat, protocol)


def find_region(heat: NDArray[np.floating], protocol: str | Protocol = "yang2025") -> Region | None:
    """Find what `find_box` finds, with the pixels it rests on and the rotated rectangle around them."""
    import cv2

    protocol = parse_protocol(protocol)
    mask = _foreground(heat, protocol)
    part = None if mask is None else _largest(mask, heat, protocol)
    if mask is None or part is None:
        return None
    _, labels = cv2.connectedComponents(mask, connectivity=8)
    x, y = part.outline[0]
    chosen = labels == labels[y, x]
    return Region(_box(part, heat, protocol), chosen, smallest_rectangle(part.outline))


def _foreground(
    heat: NDArray[np.floating],
    protocol: Protocol,
    scaled: NDArray[np.float32] | None = None,
    flat: bool | None = None,
) -> NDArray[np.uint8] | None:
    """The uint8 mask (H, W) of what passes the threshold; None for a map that cannot have one."""
    if heat.ndim != 2:
        raise OptionError(f"a heatmap has shape (H, W); got {heat.shape}: give one map at a time")
    if flat is None:
        flat = bool(np.isinf(heat).any()) or is_constant(*finite_range(heat))
    if flat:
        return None
    scaled = normalise(heat, protocol.rule) if scaled is None else scaled
    limit = np.float32(protocol.threshold)
    passed = scaled > limit if protocol.strict else scaled >= limit  # NaN passes neither
    return passed.view(np.uint8)


def _largest(
    mask: NDArray[np.uint8], heat: NDArray[np.floating], protocol: Protocol
) -> Component | None:
    pick = largest_contour if protocol.largest_by == "area" else largest_component
    return pick(mask, heat)


def _box(part: Component, heat: NDArray[np.floating], protocol: Protocol) -> Box:
    if protocol.shape == "tight":
        return Box(*part.bounds)
    corners = smallest_rectangle(part.outline)
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    left, top, right, bottom = _seen(heat)
    return Box(
        min(max(x0, left), right),
        min(max(y0, top), bottom),
        min(max(x1 + 1, left), right),
        min(max(y1 + 1, top), bottom),
    )


def _seen(heat: NDArray[np.floating]) -> tuple[int, int, int, int]:
    """The half-open bounds of the pixels the network saw; a box never reaches beyond them."""
    seen = ~np.isnan(heat)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
