"""Options in names, `NAME:option=value`: how a value is read, the same for networks and data sets."""

from __future__ import annotations

import ast
from typing import Any

__all__ = ["option_value"]


def option_value(text: str) -> Any:
    """Read the value of an option: true, false, none, a Python literal ("2", "(1, 2)"), or else text as it stands.

    >>> option_value("0.5"), option_value("True"), option_value("a.b")
    (0.5, True, 'a.b')
    """
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
