"""Matplotlib figures inside a page: SVG without ids that clash, styles that leak, or addresses."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from saliscope.report.page import figure_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["inline_figure"]

_MOST = 600_000
"""Characters of SVG; a figure of more is put into the page as pixels."""

_DPI = 160
_BEFORE = re.compile(r"^.*?<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", re.DOTALL)
_PARTS = re.compile(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", re.DOTALL)
_ID = re.compile(r"(\bid=\"|xlink:href=\"#|\bhref=\"#|url\(#)")


def inline_figure(figure: Figure, name: str, *, title: str, alt: str) -> Markup:
    """A figure as markup that needs nothing else: `<svg>`, or `<img>` with its pixels where the SVG would be large.

    `name`, unique in the page, goes before every id. `title` and `alt` are what a screen reader says.
    """
    vector = figure_bytes(figure, "svg").decode("utf-8")
    if len(vector) > _MOST:
        width = round(figure.get_figwidth() * 96)
        data = b64encode(figure_bytes(figure, "png", dpi=_DPI)).decode()
        return Markup(
            '<img class="chart" width="{}" alt="{}" src="data:image/png;base64,{}">'
        ).format(width, f"{title}. {alt}", data)
    found = _BEFORE.match(vector)
    if found is None:
        raise ValueError("matplotlib wrote no SVG")  # a change of matplotlib, not of a user
    body = _ID.sub(rf"\g<1>{name}-", _PARTS.sub("", vector[found.end() :]))
    width = round(figure.get_figwidth() * 96)
    head = (
        f'<svg class="chart" role="img" aria-labelledby="{name}-title {name}-desc" {found[1]} width="{width}" '
        'stroke-linejoin="round" stroke-linecap="butt">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(alt)}</desc>'
    )
    return Markup(head + re.sub(r"\n\s*", "\n", body).strip())
