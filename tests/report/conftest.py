"""Runs that were never run: folders as `saliscope evaluate` leaves them, written from arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from saliscope.metrics import COMPLEXITY_METRICS
from saliscope.runs import Run, make_run_settings, open_run
from saliscope.runs.measuring import SHUFFLED, TRIVIAL
from saliscope.runs.place import LocalPlace
from saliscope.runs.primary import swept_rules
from saliscope.runs.record import Record, Session, hash_of
from saliscope.runs.scoring import COMPLEXITY
from saliscope.runs.store import MEASURED as MEASURED_TABLES
from saliscope.runs.tables import TABLES, to_bytes
from saliscope.settings import plain

SIDES = np.arange(1, 101) / 100
MEASURED = "abcdef123456"
POINTING = ("torchray-15px", "caffe-15px", "square-15px")


def write_run(
    folder: Path,
    *,
    n: int | dict[str, int] = 24,
    classes: int = 4,
    methods: tuple[str, ...] = ("cam", "grad-cam@layer4"),
    quality: dict[str, float] | None = None,
    values: dict[tuple[str, str, str], Any] | None = None,
    curves: dict[tuple[str, str, str], Any] | None = None,
    images: dict[str, Any] | None = None,
    masks: tuple[str, ...] = (),
    shuffled: bool = False,
    thresholds: int = 50,
    several: int = 1,
    statuses: dict[str, list[str]] | None = None,
    failed: tuple[str, ...] = (),
    wrong: float = 0.25,
    resolved: dict[str, Any] | None = None,
    part: int | None = None,
    seed: int = 0,
    data_seed: int = 0,
    **settings: Any,
) -> Path:
    """Write a run of `n` images a split.

    `quality` of a method in [0, 1] makes its boxes better. `values` (spec, metric, protocol) and `curves` (spec, rule, "iou" or "best")
    replace arrays of the reported split, `images` columns of its table. `several` classes an image. `failed`: ids of more samples.
    `shuffled`: with the rows of the reference's shuffled maps.
    """
    chosen = make_run_settings(
        **{
            "model": "resnet50", "data": "made", "methods": list(methods), "thresholds": thresholds,
            **settings,
        }
    )  # fmt: skip
    counts = n if isinstance(n, dict) else {s: n for s in (chosen.split, chosen.tune) if s}
    trivial = TRIVIAL if chosen.trivial else ()
    tables: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    for place, (split, count) in enumerate(counts.items()):
        made = _Split(
            split, count, classes, several, masks, wrong, thresholds,
            np.random.default_rng([data_seed, place]), np.random.default_rng([seed, place, 1]),
        )  # fmt: skip
        own = split == chosen.split
        made.write(
            tables, chosen, (*methods, *trivial, *([SHUFFLED] if shuffled else [])), quality or {},
            values or {} if own else {}, curves or {} if own else {}, images or {} if own else {},
            statuses or {} if own else {}, failed if own else (),
        )  # fmt: skip
    place = LocalPlace(Path(folder))
    whole_tables = {
        name: pl.concat(frames) if frames else pl.DataFrame(schema=TABLES[name])
        for name, frames in tables.items()
    }
    for i, (split, low, high) in enumerate(_portions(whole_tables["images"], part)):
        own = (pl.col("split") == split) & pl.col("index").is_between(low, high, closed="left")
        for name in ("maps", *MEASURED_TABLES):
            suffix = "" if name == "maps" else f".{MEASURED}"
            rows = whole_tables[name].filter(own)
            place.write(f"{name}/part-{i:04d}{suffix}.parquet", to_bytes(rows))
    facts = {
        "model": "resnet50 (pretrained)", "weights": f"{seed:064x}",
        "preprocessing": {"size": [224, 224], "resize": "squash"},
        "methods": {m: "cam@layer4" if m == "cam" else m for m in (*methods, *trivial)},
        "classes": classes, "data": {s: f"{data_seed:032x}{s}" for s in counts},
        **(resolved or {}),
    }  # fmt: skip
    whole = {s: c + (len(failed) if s == chosen.split else 0) for s, c in counts.items()}
    explain = plain(chosen.explaining())
    record = Record(
        explain, facts, plain(chosen.declared()), plain(chosen.measuring()),
        hash=hash_of(explain | {"resolved": facts}), measured=MEASURED,
        versions={"python": "3.11.7", "saliscope": "0.1.0"},
        started="2026-01-01T00:00:00+00:00", ended="2026-01-01T01:00:00+00:00",
        selected=whole, available=dict(whole),
        sessions=[Session("explain", "2026-01-01T00:00:00+00:00", "a machine", done=sum(whole.values()))],
    )  # fmt: skip
    record.save(place)
    return Path(folder)


def _portions(images: pl.DataFrame, part: int | None) -> list[tuple[str, int, int]]:
    """Split and range of indices of each part: of `part` samples, or all of a split."""
    found = []
    for split, count in images.group_by("split", maintain_order=True).len().rows():
        size = part or count
        found += [(split, low, low + size) for low in range(0, count, size)]
    return found


class _Split:
    """The samples of one split, and the rows that methods get of them."""

    def __init__(
        self, split, count, classes, several, masks, wrong, thresholds, data, draw
    ) -> None:
        self.split, self.count, self.several, self.masks = split, count, several, masks
        self.thresholds = np.arange(thresholds or 50) / (thresholds or 50)
        self.draw = draw
        self.label = np.arange(count) % classes
        self.share = np.clip(data.beta(2, 2, count), 0.05, 0.97)
        self.offset = data.uniform(0, 0.3, count) * (1 - np.sqrt(self.share))
        self.hard = data.uniform(0, 1, count)
        self.rank = np.where(draw.uniform(size=count) < wrong, draw.integers(1, 8, count), 0)
        self.other = (self.label + 1) % classes
        self.classes = classes

    def write(
        self, tables, settings, specs, quality, values, curves, images, statuses, failed
    ) -> None:
        self.given, self.drawn = values, curves
        ids = [f"{self.split}-{i:05d}" for i in range(self.count)]
        both = settings.target != "truth"
        groups = []
        for k in range(self.several):
            key = pl.DataFrame(
                {
                    "id": ids,
                    "index": np.arange(self.count),
                    "split": self.split,
                    "target": (self.label + k) % self.classes,
                    "rank": self.rank if k == 0 else self.rank + k,
                    "is_truth": True,
                }
            )
            groups.append((key, np.ones(self.count, bool), 1.0, k == 0))
        if both:
            off = self.rank > 0
            key = groups[0][0].with_columns(
                target=pl.Series(self.other), rank=pl.lit(0), is_truth=pl.lit(False)
            )
            groups.append((key, off, 0.7, False))
        for key, where, factor, first in groups:
            if settings.target == "predicted" and first:
                where &= self.rank == 0
            self._rows(
                tables,
                settings,
                specs,
                quality,
                key.filter(pl.Series(where)),
                where,
                factor,
                first,
                statuses,
            )
        base = {
            "id": ids, "index": np.arange(self.count), "split": self.split,
            "class": None if self.several > 1 else [f"class {c}" for c in self.label],
            "truth": None if self.several > 1 else self.label,
            "predicted": np.where(self.rank > 0, self.other, self.label),
            "correct": None if self.several > 1 else self.rank == 0,
            "status": "ok", "height": 100, "width": 100, "instances": 1, "share": self.share,
        } | images  # fmt: skip
        tables["images"].append(_typed(pl.DataFrame(base), "images"))
        for i, name in enumerate(failed):
            row = {"id": name, "index": self.count + i, "split": self.split, "status": "failed",
                   "message": "cannot be read: it is cut short"}  # fmt: skip
            tables["images"].append(_typed(pl.DataFrame([row | {"class": "class 0"}]), "images"))
            tables["maps"].append(_typed(pl.DataFrame([row]), "maps"))

    def _rows(self, tables, settings, specs, quality, key, where, factor, first, statuses) -> None:
        for spec in specs:
            default = {"random": 0.1, "centre": 0.3, "edges": 0.2}.get(spec, 0.6)
            iou = self._curve(spec, quality.get(spec, default) * factor)[where]
            for rule in swept_rules(settings):
                one = np.asarray(self.drawn.get((spec, rule, "iou"), iou), np.float32)
                if rule == "wsol":
                    one = np.repeat(one, -(-1000 // max(one.shape[1], 1)), axis=1)[:, :1000]
                best = np.minimum(1, one * np.float32(1.1))
                two = np.asarray(self.drawn.get((spec, rule, "best"), best), np.float32)
                if one.size:
                    self._curves(tables, key, spec, rule, one, two)
            self._scores(tables, settings, spec, key, iou, where, first)
            shape = {"layer1": 56, "layer2": 28, "layer3": 14}.get(spec.partition("@")[2], 7)
            status = statuses.get(spec, ["ok"] * self.count) if first else ["ok"] * self.count
            maps = key.with_columns(
                spec=pl.lit(spec), method=pl.lit(spec.partition("@")[0]),
                layer=pl.lit(spec.partition("@")[2] or None), height=pl.lit(shape), width=pl.lit(shape),
                status=pl.Series([s for s, w in zip(status, where, strict=True) if w], dtype=pl.String),
                label=pl.format("class {}", "target"), probability=pl.lit(0.5),
            )  # fmt: skip
            if spec != SHUFFLED:  # it is measured without being stored
                tables["maps"].append(_typed(maps, "maps"))
            for mask in self.masks if spec not in ("full-box",) else ():
                self._pixels(tables, key, spec, mask, where)
        if settings.trivial:
            self._boxes_alone(tables, key, where, first)

    def _curve(self, spec, quality):
        top = np.clip(quality + 0.3 * (1 - self.hard) + self.draw.normal(0, 0.05, self.count), 0, 1)
        at = 0.2 + 0.1 * self.hard
        t = np.floor(self.thresholds[None] * 50) / 50  # as real boxes: they stay for a while
        return (top[:, None] * np.exp(-(((t - at[:, None]) / 0.3) ** 2))).astype(np.float32)

    def _curves(self, tables, key, spec, rule, iou, best) -> None:
        parts = np.ones(iou.shape, np.uint16) + np.arange(iou.shape[1], dtype=np.uint16) % 3
        rows = key.with_columns(
            spec=pl.lit(spec), rule=pl.lit(rule),
            iou=_lists(iou), best=_lists(best), parts=_lists(parts),
        )  # fmt: skip
        tables["curves"].append(_typed(rows, "curves"))

    def _scores(self, tables, settings, spec, key, iou, where, first) -> None:
        share = self.share[where]
        n = len(share)
        rows: dict[tuple[str, str], Any] = {}
        at = {"yang2025": 0.05, "cam2016": 0.2, "gradcam2017": 0.15}
        for protocol in settings.protocols:
            place = int(at.get(protocol, 0.1) * max(iou.shape[1], 1))
            own = iou[:, min(place, iou.shape[1] - 1)].astype(float) if iou.size else share
            rows |= {("iou", protocol): own, ("union-iou", protocol): own,
                     ("gt-known", protocol): (own >= 0.5).astype(float), ("no-box", protocol): np.zeros(n)}  # fmt: skip
        heat = np.clip(share + 0.4 * (iou.max(axis=1, initial=0) - 0.3) * (1 - share), 0.01, 1)
        rows |= {("energy", "boxes"): heat, ("enrichment", "boxes"): heat / share,
                 ("inside-outside", "boxes"): heat / share * (1 - share) / np.maximum(1 - heat, 1e-3)}  # fmt: skip
        rows |= {("box-coverage", f"delta={d:g}"): heat * (1 - d) for d in (0.0, 0.25, 0.5)}
        hit = (self.draw.uniform(size=self.count)[where] < heat).astype(float)
        rows |= {("pointing", protocol): hit for protocol in POINTING}
        for mask in self.masks:
            rows |= {("relevance-mass", f"mask:{mask}"): heat / 2, ("mask-enrichment", f"mask:{mask}"): heat / share,
                     ("relevance-rank", f"mask:{mask}"): heat / 2, ("pixel-ap", f"mask:{mask}"): heat / 2}  # fmt: skip
        rows |= {
            (metric, grid): 1 - heat / 2 for grid in COMPLEXITY for metric in COMPLEXITY_METRICS
        }
        self._add(tables, key, spec, rows, first)

    def _boxes_alone(self, tables, key, where, first) -> None:
        share, offset = self.share[where], self.offset[where]
        rows = {("iou", "box"): share, ("union-iou", "box"): share,
                ("gt-known", "box"): (share >= 0.5).astype(float), ("no-box", "box"): 0 * share,
                ("energy", "boxes"): share, ("enrichment", "boxes"): np.ones(len(share)),
                ("inside-outside", "boxes"): np.ones(len(share))}  # fmt: skip
        rows |= {("pointing", protocol): (offset < 0.2).astype(float) for protocol in POINTING}
        self._add(tables, key, "full-box", rows, first)
        side = np.sqrt(share)[:, None]
        low = np.maximum(-SIDES[None] / 2, -side / 2 + offset[:, None])
        high = np.minimum(SIDES[None] / 2, side / 2 + offset[:, None])
        level = np.minimum(SIDES[None], side)
        inside = np.maximum(high - low, 0) * level
        iou = (inside / (SIDES[None] ** 2 + side**2 - inside)).astype(np.float32)
        iou = np.asarray(self.drawn.get(("centre-box", "side", "iou"), iou), np.float32)
        self._curves(tables, key, "centre-box", "side", iou, iou)

    def _add(self, tables, key, spec, rows, first) -> None:
        if first:
            rows = {k: self.given.get((spec, *k), v) for k, v in rows.items()}
        for (metric, protocol), value in rows.items():
            if value is None:
                continue
            frame = key.with_columns(
                spec=pl.lit(spec), metric=pl.lit(metric), protocol=pl.lit(protocol),
                value=pl.Series(np.asarray(value, float)),
            )  # fmt: skip
            tables["scores"].append(_typed(frame, "scores"))

    def _pixels(self, tables, key, spec, mask, where) -> None:
        n = int(where.sum())
        inside = self.draw.poisson(1.0, (n, 1002)).astype(np.uint32)
        inside[:, 700:] += 2
        outside = self.draw.poisson(2.0, (n, 1002)).astype(np.uint32)
        rows = key.with_columns(
            spec=pl.lit(spec), mask=pl.lit(mask), inside=_lists(inside), outside=_lists(outside)
        )
        tables["pixels"].append(_typed(rows, "pixels"))


def _lists(rows: Any) -> pl.Series:
    inner = {"f": pl.Float32, "u": pl.UInt16 if rows.dtype == np.uint16 else pl.UInt32}[
        rows.dtype.kind
    ]
    return pl.Series(rows).cast(pl.List(inner))


def _typed(rows: pl.DataFrame, table: str) -> pl.DataFrame:
    schema = TABLES[table]
    missing = {c: pl.lit(None) for c in schema if c not in rows.columns}
    return rows.with_columns(**missing).select(pl.col(c).cast(t) for c, t in schema.items())


@pytest.fixture
def make_run(tmp_path):
    """`make_run(name, **options)` writes a run and opens it; options as in `write_run`."""

    def make(name: str = "run", **options: Any) -> Run:
        return open_run(write_run(tmp_path / name, **options))

    return make
