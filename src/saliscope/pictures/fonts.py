"""Letters for captions: any script, never an empty box without a reason, no font file of our own."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFont

__all__ = ["drawable", "fallback_family", "font"]

_logger = logging.getLogger(__name__)
# Searched in this order for letters that DejaVu Sans lacks; whichever the machine has.
_SYSTEM_FAMILIES = (
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans KR",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "Source Han Sans",
    "Droid Sans Fallback",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Yu Gothic",
    "Meiryo",
    "SimHei",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Nirmala UI",
    "Noto Sans Thai",
    "Tahoma",
    "FreeSans",
    "Unifont",
)
_MISSING = "□"


def drawable(text: str) -> str:
    """Return `text` with every letter that no font of this machine holds replaced by a hollow square.

    Line breaks and control characters become spaces. A caption also carries the class index, so that a label in a
    script the machine cannot write is still told apart.
    """
    text = "".join(c if c.isprintable() else " " for c in text)
    if text.isascii():
        return text
    lost = _not_in_dejavu(text)
    if not lost:
        return text
    held = _charmap(_family_path(family)) if (family := fallback_family(text)) else frozenset()
    return "".join(c if c not in lost or ord(c) in held else _MISSING for c in text)


def fallback_family(text: str) -> str | None:
    """Name the first installed font family that holds the most letters of `text` missing from DejaVu Sans.

    None when DejaVu Sans holds them all, or no installed family holds any of them.
    """
    lost = _not_in_dejavu(text)
    return _best_family(frozenset(lost)) if lost else None


def font(size: int, text: str = "", *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Open a font of `size` pixels that can draw `text`: DejaVu Sans (it comes with matplotlib), or an installed one."""
    family = fallback_family(text) if text else None
    path = _family_path(family) if family else _dejavu("DejaVuSans-Bold" if bold else "DejaVuSans")
    return _open(path, size)


@lru_cache(maxsize=64)
def _open(path: str, size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.truetype(path, size)


@lru_cache(maxsize=2)
def _dejavu(name: str) -> str:
    import matplotlib as mpl

    return str(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf")


def _not_in_dejavu(text: str) -> set[str]:
    if text.isascii():
        return set()
    held = _charmap(_dejavu("DejaVuSans"))
    return {c for c in text if ord(c) not in held and not c.isspace()}


@lru_cache(maxsize=8)
def _charmap(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(path).get_charmap())


@lru_cache(maxsize=256)
def _best_family(lost: frozenset[str]) -> str | None:
    codes = {ord(c) for c in lost}
    best, most = None, 0
    for name in _SYSTEM_FAMILIES:
        if name not in _installed():
            continue
        held = len(codes & _charmap(_installed()[name]))
        if held > most:
            best, most = name, held
        if most == len(codes):
            return best
    _logger.info("no installed font holds all of %s", "".join(sorted(lost)))
    return best


def _family_path(family: str) -> str:
    return _installed()[family]


@lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    from matplotlib.font_manager import fontManager

    wanted = set(_SYSTEM_FAMILIES)
    return {f.name: f.fname for f in reversed(fontManager.ttflist) if f.name in wanted}
