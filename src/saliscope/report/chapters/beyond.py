"""What boxes cannot see: how dense the heat is, where it peaks, and how scores hold up on small objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saliscope.report.chapters.evidence import (
    METHOD,
    Evidence,
    counted,
    first_up,
    method_row,
    put,
    say,
)
from saliscope.report.charts.dots import Series, grouped_dots
from saliscope.report.charts.forest import Entry, forest
from saliscope.report.sections import Chart, Column, Section, Table
from saliscope.report.study.derived import best_centred_box
from saliscope.report.study.endpoint import heading_of, is_of_boxes, marked_better
from saliscope.report.study.scores import Floats
from saliscope.stats import Interval

__all__ = ["beyond_section", "size_bins"]

EDGES = (0.2, 0.4, 0.6, 0.8)
NAMES = ("under 20 %", "20–40 %", "40–60 %", "60–80 %", "80 % and more")

_MASKED = ("evidence", "body", "object", "class")


def beyond_section(evidence: Evidence) -> Section:
    """Enrichment, energy and pointing beside each other, and IoU by the size of the objects."""
    heat, sizes = _heat_table(evidence), _Sizes(evidence)
    tables = [heat, *([sizes.table] if sizes.known else [])]
    charts = [*_enrichment(evidence), *([sizes.chart] if sizes.known else [])]
    lead = " ".join(s for s in (_density(evidence), sizes.sentence) if s)
    return Section("beyond", "What boxes cannot see", lead, tuple(tables), tuple(charts))


def size_bins(share: Floats) -> Floats:
    """Which of the five bins of object size each image is in: its boxes cover under 20 %, ..., 80 % or more; NaN without annotation."""
    return np.where(np.isnan(share), np.nan, np.digitize(share, EDGES))


def _density(evidence: Evidence) -> str:
    cell = evidence.grid.get("enrichment", "boxes", evidence.lead.name)
    if cell is None or not cell.estimate.n:
        return ""
    return (
        f"The heat of {evidence.lead.name} is {say(cell.estimate, 2)} times as dense inside the boxes as even heat would be; "
        "even heat, which knows nothing, has 1 whatever the size of the objects."
    )


def _heat_table(evidence: Evidence) -> Table:
    grid = evidence.grid
    combos = [("enrichment", "boxes", "enrichment"), ("energy", "boxes", "heat inside the boxes")]
    combos += [("pointing", p, f"pointing game ({p})") for p in grid.protocols("pointing")]
    masks = [f"mask:{m}" for m in _MASKED if f"mask:{m}" in grid.protocols("relevance-mass")]
    masks += [p for p in grid.protocols("relevance-mass") if p not in masks]
    for mask in masks:
        named = mask.partition(":")[2]
        combos += [
            ("relevance-mass", mask, f"heat in {named}"),
            ("mask-enrichment", mask, f"enrichment in {named}"),
        ]
    rows = []
    for method in evidence.study.methods:
        cells = [(f"{m}@{p}", grid.get(m, p, method.name)) for m, p, _ in combos]
        if any(cell is not None for _, cell in cells):
            row = method_row(evidence, method)
            for key, cell in cells:
                row |= put(key, None if cell is None else cell.estimate)
            rows.append(row)
    columns = [METHOD] + [
        Column(
            f"{m}@{p}",
            heading,
            "interval",
            2 if "enrichment" in m else 3,
            better=marked_better(m, p),
        )
        for m, p, heading in combos
        if any(row.get(f"{m}@{p}") is not None for row in rows)
    ]
    note = (
        "Enrichment is the share of heat inside the boxes over the share of the picture they cover: 1 is even heat, so large "
        "objects do not flatter it, as they do the share of heat and every IoU. The row of the full-image box is even heat. The "
        "pointing game counts a hit where the hottest point lies in a box or within 15 pixels of it, by three published rules."
    )
    return Table("heat", "Heat inside the boxes, and where it peaks", tuple(columns), rows, note)


def _enrichment(evidence: Evidence) -> list[Chart]:
    cells = [evidence.grid.get("enrichment", "boxes", m.name) for m in evidence.study.methods]
    entries = [
        Entry(c.method.name, evidence.looks[c.method.name], c.estimate, c.difference)
        for c in cells
        if c is not None and c.estimate.n
    ]
    if not entries:
        return []
    said = "; ".join(f"{e.name} {say(e.estimate, 2)}" for e in entries)
    return [
        Chart(
            "enrichment", "Enrichment: heat inside the boxes over their share of the picture",
            lambda: forest(
                "How much denser heat is inside the boxes, with 95 % intervals", entries,
                score="enrichment", against=evidence.reference.name, line=(1.0, "even heat"),
            ),
            f"Forest plot of enrichment: {said}.",
        )
    ]  # fmt: skip


def _unbroken(heading: str) -> str:
    """A heading that is broken before its bracket only."""
    words, bracket, count = heading.rpartition(" (")
    return "".join((words.replace(" ", "\u00a0"), bracket, count.replace(" ", "\u00a0")))


class _Sizes:
    """One box score by the share of the picture that the objects cover."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        primary, study = evidence.primary, evidence.study
        if is_of_boxes(primary.metric) and primary.scored.values:
            values, self.score = dict(primary.scored.values), primary.endpoint.name
        else:
            protocol = next((p for m, p in study.combos if m == "iou"), "")
            values = {**study.values("iou", protocol), **best_centred_box(study).values}
            self.score = heading_of("iou", protocol)
        self.names = [m.name for m in study.methods if m.name in values]
        bins = size_bins(study.units["share"].cast(float).to_numpy())
        self.counts = [int((bins == b).sum()) for b in range(len(NAMES))]
        self.known = bool(self.names) and any(self.counts)
        columns = [
            np.where(bins == b, values[name], np.nan)
            for name in self.names
            for b in range(len(NAMES))
        ]
        found = study.draws.means(np.column_stack(columns)) if self.known else []
        wide = len(NAMES)
        self.rows: dict[str, Sequence[Interval]] = {
            name: found[i * wide : (i + 1) * wide] for i, name in enumerate(self.names)
        }

    @property
    def table(self) -> Table:
        rows = []
        for name in self.names:
            row = method_row(self.evidence, self.evidence.study.method(name))
            for b, interval in enumerate(self.rows[name]):
                row |= put(f"bin{b}", interval if self.counts[b] else None) | {f"n{b}": interval.n}
            rows.append(row)
        columns = [METHOD] + [
            Column(f"bin{b}", _unbroken(f"{NAMES[b]} (n = {self.counts[b]:,})"), "interval", better=self.evidence.primary.endpoint.better)
            for b in range(len(NAMES))
            if self.counts[b]
        ]  # fmt: skip
        note = (
            "Columns are images whose boxes together cover that share of the picture. The larger the object, the better "
            "a box does that looks at nothing."
        )
        if self.evidence.primary.scored.near:
            note += " Thresholds that are oracles stay as they are for all images."
        return Table(
            "iou-by-size", f"{self._titled} by the size of the objects", tuple(columns), rows, note
        )

    @property
    def _titled(self) -> str:
        return first_up(self.score)

    @property
    def chart(self) -> Chart:
        some = [b for b in range(len(NAMES)) if self.counts[b]]
        groups = [f"{NAMES[b]}\nn = {self.counts[b]:,}" for b in some]
        series = [
            Series(name, self.evidence.looks[name], [self.rows[name][b] for b in some])
            for name in self.names
        ]
        return Chart(
            "iou-by-size", f"{self._titled} by the size of the objects",
            lambda: grouped_dots(
                f"{self._titled} by the size of the objects, with 95 % intervals", groups, series,
                score=self.score, axis="share of the picture that the annotated boxes cover",
            ),
            f"{self._titled} in {len(some)} groups of object size. {self.sentence}",
        )  # fmt: skip

    @property
    def sentence(self) -> str:
        """What the smallest and the largest objects say, by the best method and the boxes that know no network."""
        some = [b for b in range(len(NAMES)) if self.counts[b] >= 5]
        own = [self.evidence.lead.name, *(m.name for m in self.evidence.study.trivial if m.spec.endswith("-box"))]  # fmt: skip
        said = []
        for b in dict.fromkeys(some[:1] + some[-1:]):
            values = [f"{n} {self.rows[n][b].estimate:.3f}" for n in own if n in self.rows]
            said.append(f"{NAMES[b]} ({counted(self.counts[b], 'image')}): {', '.join(values)}")
        return f"{self._titled} where objects cover {'; '.join(said)}." if said else ""
