"""Names of classes, compared as people write them."""

from __future__ import annotations

import re

__all__ = ["folded"]


def folded(name: str) -> str:
    """The name without case, spaces, hyphens and underscores: names that come to the same are the same class.

    >>> folded("Red_Fox") == folded("red fox")
    True
    """
    return re.sub(r"[\s_\-]+", "", name).casefold()
