"""What everyone must know who sees a map of some methods, by the name of the method: reports say it without loading them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["CAVEATS"]

_FAILS = (
    "It fails the sanity check of randomised weights (Adebayo et al. 2018): it restores the edges of the image more than it "
    "shows what the network learned (Nie et al. 2018)"
)
_OF_NO_CLASS = f"{_FAILS}, and hardly depends on the class."

CAVEATS: Mapping[str, str] = MappingProxyType({
    "deconvnet": _OF_NO_CLASS,
    "guided-backprop": _OF_NO_CLASS,
    "guided-grad-cam": f"{_FAILS}; only its place, Grad-CAM's, depends on the class.",
    "attention-rollout": "shows where the network looks, whatever the target: the same for every class",
})  # fmt: skip
"""The `caveat` of each method that has one."""
