"""Layer by layer: how a method's scores change from the first layers of the network to the last."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from saliscope.report.chapters.evidence import Evidence, first_up, method_row, put
from saliscope.report.charts.dots import Series, layer_lines
from saliscope.report.charts.style import Look, looks_of
from saliscope.report.sections import Chart, Column, Section, Table
from saliscope.report.study.flat import grids_of
from saliscope.report.study.together import Method
from saliscope.stats import Interval

__all__ = ["layers_section"]


@dataclass(frozen=True)
class _Step:
    """A method on one layer. `kind` is what stays the same along the layers, `layer` with its grid."""

    method: Method
    kind: str
    layer: str
    grid: tuple[int, int]


def layers_section(evidence: Evidence) -> Section | None:
    """The methods that were asked for on two layers or more, in the order of depth; None where there is none."""
    steps = _steps(evidence)
    if not steps:
        return None
    panels = _panels(evidence)
    rows = [
        method_row(evidence, s.method)
        | {"kind": s.kind, "layer": s.layer, "grid": f"{s.grid[0]} × {s.grid[1]}"}
        | {
            k: v
            for key, _, values in panels
            for k, v in put(key, values.get(s.method.name)).items()
        }
        for s in steps
    ]
    columns = [Column("kind", "method"), Column("layer", "layer"), Column("grid", "map")] + [
        Column(key, name, "interval", 2 if key == "enrichment" else 3, better="higher")
        for key, name, _ in panels
    ]
    table = Table("layers", "Layer by layer", tuple(columns), rows, "From the input to the output of the network.")  # fmt: skip
    return Section(
        "layers", "Layer by layer", _lead(steps, panels), (table,), (_chart(steps, panels),)
    )


_Panel = tuple[str, str, dict[str, Interval]]


def _panels(evidence: Evidence) -> list[_Panel]:
    primary = evidence.primary
    found: list[_Panel] = [
        ("primary", primary.endpoint.name, {r.method: r.estimate for r in evidence.comparison.rows})
    ]
    shown = [("enrichment", "boxes", "enrichment"), ("energy", "boxes", "heat inside the boxes")]
    shown += [
        ("pointing", p, f"pointing game ({p})") for p in evidence.grid.protocols("pointing")[:1]
    ]
    for metric, protocol, name in shown:
        cells = {m: c.estimate for (k, p, m), c in evidence.grid.cells.items() if (k, p) == (metric, protocol)}  # fmt: skip
        if cells and (metric, protocol) != (primary.metric, primary.protocol):
            found.append((metric, name, cells))
    return found


def _steps(evidence: Evidence) -> list[_Step]:
    found: list[_Step] = []
    for i, run in enumerate(evidence.study.runs):
        specs, grids = run.record.resolved["methods"], grids_of(run)
        for method in evidence.study.networks:
            if method.run != i:
                continue
            name, _, rest = str(specs.get(method.spec, method.spec)).partition("@")
            layer, colon, options = rest.partition(":")
            if layer:
                prefix = method.name.removesuffix(method.spec)
                kind = prefix + name + colon + options
                found.append(_Step(method, kind, layer, grids.get(method.spec, (0, 0))))
    many = {s.kind for s in found if sum(o.kind == s.kind for o in found) > 1}
    kinds = list(dict.fromkeys(s.kind for s in found if s.kind in many))
    return sorted((s for s in found if s.kind in many), key=lambda s: (kinds.index(s.kind), _depth(s)))  # fmt: skip


def _depth(step: _Step) -> tuple[int, list[tuple[int, str]]]:
    """Large grids come first; among equals the name decides, numbers in it by their value."""
    parts = re.findall(r"\d+|\D+", step.layer)
    return -step.grid[0] * step.grid[1], [(int(p), "") if p.isdigit() else (-1, p) for p in parts]


def _looks(steps: Sequence[_Step]) -> dict[str, Look]:
    return looks_of(
        [(k, k.rpartition(" · ")[2], False) for k in dict.fromkeys(s.kind for s in steps)]
    )


def _chart(steps: Sequence[_Step], panels: Sequence[_Panel]) -> Chart:
    looks = _looks(steps)
    order = sorted({s.layer: _depth(s) for s in steps}.items(), key=lambda pair: pair[1])
    layers = [layer for layer, _ in order]
    drawn: list[tuple[str, list[Series]]] = []
    for _, name, values in panels[:3]:
        series = []
        for kind, look in looks.items():
            at = {s.layer: values.get(s.method.name) for s in steps if s.kind == kind}
            series.append(Series(kind, look, [at.get(layer) for layer in layers]))
        drawn.append((name, series))
    return Chart(
        "layers", "Scores layer by layer",
        lambda: layer_lines("Layer by layer, with 95 % intervals", layers, drawn),
        f"Lines over the layers {', '.join(layers)}. {_lead(steps, panels)}",
    )  # fmt: skip


def _lead(steps: Sequence[_Step], panels: Sequence[_Panel]) -> str:
    said = []
    for _, name, values in panels[:2]:
        for kind in dict.fromkeys(s.kind for s in steps):
            known = [(values[s.method.name].estimate, s.layer) for s in steps if s.kind == kind and s.method.name in values]  # fmt: skip
            known = [(v, layer) for v, layer in known if not math.isnan(v)]
            if len(known) > 1:
                (low, worst), (high, best) = min(known), max(known)
                said.append(f"{name} of {kind} is highest on {best} ({high:.3f}) and lowest on {worst} ({low:.3f})")  # fmt: skip
    text = "; ".join(said)
    return first_up(text) + "." if text else ""
