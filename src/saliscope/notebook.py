"""An explanation in a notebook: one small picture and a table, plain HTML that needs nothing from anywhere."""

from __future__ import annotations

import html
from base64 import b64encode
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saliscope.pictures import blend, colourise, encoded
from saliscope.pictures.panels import cell_size, shrink_heat, shrink_photo, stamp

if TYPE_CHECKING:
    from saliscope.explanation import Explanation

__all__ = ["as_html"]

_CELL = 210  # pixels; three cells and two gaps stay narrower than a notebook's column
_MOST = 200_000 * 3 // 4 - 4_000  # bytes before base64, so that the text stays under 200 kB


def as_html(explanation: Explanation) -> str:
    """Write an explanation as HTML: photograph, heatmap and blend as one picture of at most 200 kB, and a table.

    Colours of text and lines follow the page, light or dark. Labels are escaped. Nothing is loaded from outside.
    """
    source = b64encode(_picture(explanation)).decode()
    lines = "".join(_line(name, text) for name, text in _table(explanation))
    alt = html.escape(f"photograph, heatmap and blend: {explanation.spec}", quote=True)
    return (
        '<div class="saliscope" style="max-width:100%;color:inherit;font-size:13px;line-height:1.45">'
        f'<img alt="{alt}" src="data:image/webp;base64,{source}" '
        'style="display:block;max-width:100%;height:auto;margin:2px 0 6px">'
        '<table style="border-collapse:collapse;background:transparent;color:inherit;margin:0;'
        f'max-width:100%"><tbody>{lines}</tbody></table></div>'
    )


def _line(name: str, text: str) -> str:
    style = "text-align:left;padding:1px 12px 1px 0;border:0;background:transparent;color:inherit"
    return (
        f'<tr style="background:transparent"><th scope="row" style="{style};font-weight:normal;opacity:.7;'
        f'vertical-align:top;white-space:nowrap">{_escaped(name)}</th>'
        f'<td style="{style};overflow-wrap:anywhere">{_escaped(text)}</td></tr>'
    )


def _table(explanation: Explanation) -> list[tuple[str, str]]:
    low, high = explanation.range
    grid = " × ".join(map(str, explanation.map.shape))
    height, width = explanation.photo.pixels.shape[:2]
    target = explanation.target
    predicted = explanation.predicted
    space = "" if target.space == "logit" else f" · explained: {target.space}"
    return [
        ("method", explanation.spec + (f" · {explanation.model}" if explanation.model else "")),
        ("target", _joined(str(target)) + space),
        ("predicted", "the target" if predicted.index == target.index else _joined(str(predicted))),
        ("map", f"{grid}, {low:.4g} to {high:.4g} · status: {explanation.status}"),
        ("image", f"{explanation.photo.name} · {width} × {height} · {explanation.seconds:.3g} s"),
    ]


def _joined(text: str) -> str:
    return text.replace("   ", " · ")


def _picture(explanation: Explanation) -> bytes:
    photo = explanation.photo.pixels
    cell = cell_size(photo.shape[:2], _CELL)
    small, heat = shrink_photo(photo, cell), shrink_heat(explanation.heatmap(), cell)
    strip = _side_by_side(
        small,
        stamp(colourise(heat), explanation.status),
        stamp(blend(small, heat), explanation.status),
    )
    for quality in (85, 60, 35, 10):
        data = encoded(strip, "WEBP", quality=quality)
        if len(data) <= _MOST:
            break
    return data


def _side_by_side(*pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pictures[0].shape[:2]
    gap = 4
    sheet = np.full((height, len(pictures) * (width + gap) - gap, 3), 128, np.uint8)
    for place, picture in enumerate(pictures):
        sheet[:, place * (width + gap) : place * (width + gap) + width] = picture
    return sheet


def _escaped(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode(), quote=True)
