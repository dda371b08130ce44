"""How methods look in every chart: colours that colour-blind readers tell apart, with a marker and a dash of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

__all__ = ["GRID", "Look", "looks_of", "own_settings"]

GRID = "#e3e3e6"
_CAM, _GRAD_CAM = "#0072b2", "#009e73"  # as in pictures: CAM blue, Grad-CAM green
_OTHERS = ("#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#7a4d9f", "#8c5a2b")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (2, 1.2)))
_TRIVIAL: Mapping[str, tuple[str, str, Any]] = {
    "random": ("#a0a0a6", "x", (0, (1, 1.4))),
    "centre": ("#8a8a90", "+", (0, (3, 1.5))),
    "edges": ("#77777d", "v", (0, (5, 1.5, 1, 1.5))),
    "shuffled": ("#68686e", "*", (0, (2, 1, 0.8, 1))),
    "full-box": ("#5c5c62", "s", (0, (7, 2.5))),
    "centre-box": ("#2e2e33", "D", (0, (4, 2))),
}


@dataclass(frozen=True)
class Look:
    """The colour, marker and dash of a method; methods without a network are grey, dashed, and their markers hollow."""

    colour: str
    marker: str
    dash: Any
    trivial: bool

    @property
    def face(self) -> str:
        return "white" if self.trivial else self.colour


def looks_of(methods: Sequence[tuple[str, str, bool]]) -> dict[str, Look]:
    """Looks by name of methods given as (name, spec, trivial): no two that know a network have colour and marker in common."""
    found: dict[str, Look] = {}
    reserved = {"cam": _CAM, "grad-cam": _GRAD_CAM}
    spare = count()
    networks = 0
    for name, spec, trivial in methods:
        if trivial:
            found[name] = Look(*_TRIVIAL[spec.partition("@")[0].partition(":")[0]], trivial=True)
            continue
        own = reserved.pop(spec.partition("@")[0].partition(":")[0], None)
        place = networks
        colour = own or _OTHERS[next(spare) % len(_OTHERS)]
        marker = _MARKERS[place % len(_MARKERS)]
        found[name] = Look(colour, marker, _DASHES[(place // 8) % len(_DASHES)], trivial=False)
        networks += 1
    return found


@contextmanager
def own_settings() -> Iterator[None]:
    """Draw by matplotlib's own defaults, whatever the user's settings prefer; they are as before afterwards."""
    import matplotlib as mpl

    kept = ("backend", "backend_fallback", "interactive", "toolbar", "webagg", "tk.", "savefig.dir")
    plain = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith(kept)}
    with mpl.rc_context(plain):
        yield
