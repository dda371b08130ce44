"""Which images a page shows, and under which headings: the telling ones of each kind, and a sample of the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saliscope.report.material import Material

__all__ = ["Group", "Pick", "choose"]

Panes = Literal["one", "pair", "classes", "none"]

EACH = 12
"""Images in a group."""

_OTHERS = 6  # images for each further method that is compared with the reference
_MOST_OTHERS = 8
_MOST_FAILED = 24


@dataclass(frozen=True)
class Pick:
    """An image in a group: its id, the class (by name) and the method (its place) that are shown; None for any."""

    id: str
    target: str | None = None
    source: int | None = None


@dataclass(frozen=True)
class Group:
    """Images under one heading. `panes` says what is side by side: two methods, the predicted and the true class, or nothing.

    `other` is the place of the method that a "pair" shows beside the reference, `ahead` says so of the page's groups that
    share a heading, one for each method.
    """

    key: str
    title: str
    lead: str
    panes: Panes
    picks: tuple[Pick, ...]
    other: int | None = None


def choose(material: Material, *, each: int = EACH) -> list[Group]:
    """Choose the images of each group; a group without any is left out."""
    scores = material.values(material.primary)
    groups = [
        *_disagreements(material, scores, each),
        *_extremes(material, scores, each),
        _wrong(material, each),
        _without_heat(material, each),
        _failed(material),
        _sample(material, each),
    ]
    return [group for group in groups if group.picks]


def _disagreements(material: Material, scores: NDArray[np.float64], each: int) -> Iterator[Group]:
    """One group a method: where its score and the reference's lie farthest apart."""
    own, name = material.reference, material.sources[material.reference].label
    others = [
        place
        for place, source in enumerate(material.sources)
        if place != own and source.drawn and not source.trivial
    ]
    # The one that scores best comes first: it is what a reader would use instead.
    means = [_mean(scores[:, place]) for place in others]
    sign = 1 if material.lower else -1
    ranked = [others[i] for i in np.argsort([sign * mean for mean in means], kind="stable")]
    ranked.sort(key=lambda place: place in material.twins)  # two equal pictures show nothing
    for number, place in enumerate(ranked[:_MOST_OTHERS]):
        apart = np.abs(scores[:, place] - scores[:, own])
        apart[apart == 0] = np.nan
        other = material.sources[place].label
        yield Group(
            f"disagree-{place}",
            "Where two methods disagree most",
            f"The largest differences in {material.primary.label} between {name} (left) and {other} (right).",
            "pair",
            _picks(material, _first(-apart, each if number == 0 else min(each, _OTHERS))),
            place,
        )


def _extremes(material: Material, scores: NDArray[np.float64], each: int) -> Iterator[Group]:
    own = scores[:, material.reference]
    words = f"{material.primary.label} of {material.sources[material.reference].label}"
    for key, title, low in (
        ("best", "Best", material.lower),
        ("worst", "Worst", not material.lower),
    ):
        lead = f"The {'lowest' if low else 'highest'} {words}."
        yield Group(key, title, lead, "one", _picks(material, _first(own if low else -own, each)))


def _wrong(material: Material, each: int) -> Group:
    """Wrongly classified images, the surest mistakes first."""
    rows = material.rows.filter(pl.col("correct").not_().fill_null(value=False))
    rows = rows.unique("id", keep="first", maintain_order=True)
    top = material.maps.filter(pl.col("rank") == 0, pl.col("is_truth").not_())
    rows = rows.join(
        top.group_by("id").agg(pl.col("probability").max()),
        on="id",
        how="left",
        maintain_order="left",
    ).sort("probability", descending=True, nulls_last=True, maintain_order=True)
    both = bool(rows["probability"].is_not_null().any())
    lead = "Classified wrongly, the most confident mistakes first: " + (
        "the map of the predicted class (left) beside that of the true class (right)."
        if both
        else "the run explained one class of each image; evaluated with --target both, it shows the predicted and the true one."
    )
    picks = tuple(Pick(r["id"], r["target"]) for r in rows.head(each).iter_rows(named=True))
    return Group("wrong", "Wrong predictions", lead, "classes" if both else "one", picks)


def _without_heat(material: Material, each: int) -> Group:
    """Maps that are not "ok", spread over methods and statuses."""
    place = {(s.run, s.spec): number for number, s in enumerate(material.sources)}
    odd = material.maps.filter(pl.col("status") != "ok")
    turn = pl.int_range(pl.len()).over("run", "spec", "status")  # one of each kind before the next
    odd = odd.with_columns(turn=turn).sort("turn", maintain_order=True)
    odd = odd.unique("id", keep="first", maintain_order=True)
    picks = tuple(
        Pick(
            r["id"],
            material.label(r["run"], r["target"]),
            place.get((r["run"], r["spec"])),
        )
        for r in odd.head(each).iter_rows(named=True)
    )
    lead = "Maps with a status other than ok: their pictures say nothing, whatever they look like."
    return Group("status", "Maps without heat to read", lead, "one", picks)


def _failed(material: Material) -> Group:
    failed = material.images.filter(pl.col("status") == "failed")
    picks = tuple(Pick(name) for name in failed["id"].head(_MOST_FAILED))
    more = f" {len(picks)} of {len(failed):,} are listed." if len(failed) > len(picks) else ""
    lead = f"Images that could not be read or explained; no score counts them.{more}"
    return Group("failed", "Failed", lead, "none", picks)


def _sample(material: Material, each: int) -> Group:
    """Images drawn by the hash of their ids: the same ones whenever the page is made."""
    rows = material.rows.filter(pl.col("status") != "failed").unique(
        "id", keep="first", maintain_order=True
    )
    rank = [hashlib.sha256(f"page/{name}".encode()).digest() for name in rows["id"]]
    chosen = sorted(range(len(rows)), key=lambda i: rank[i])[:each]
    picks = tuple(Pick(rows["id"][i], rows["target"][i]) for i in chosen)
    return Group(
        "sample", "A random sample", "Drawn by the hash of the ids, not chosen.", "one", picks
    )


def _first(losses: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """The places of the smallest losses, ties in the order of the data; NaN is none."""
    order = np.argsort(losses, kind="stable")[:count]
    return order[~np.isnan(losses[order])]


def _picks(material: Material, places: NDArray[np.intp]) -> tuple[Pick, ...]:
    chosen = material.rows.select("id", "target")[places.tolist()]
    return tuple(Pick(name, target) for name, target in chosen.iter_rows())


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
