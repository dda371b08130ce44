"""What a network can be asked about maps: each inquiry, and the scores that its answers give."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from saliscope.errors import OptionError, nearest
from saliscope.metrics.curves import CURVE_PROTOCOLS, CurveKind, removal_curves
from saliscope.metrics.drop import (
    absolute_drop,
    adcc,
    coherency,
    increase,
    keep,
    kept_scores,
    mean_heat,
    relative_drop,
    relative_gain,
    win,
)
from saliscope.metrics.known_evidence import twin_enrichment, twin_share
from saliscope.metrics.occlusion import occlusion_drops, occlusion_rank
from saliscope.metrics.panel import LOGIT, PROBABILITY, Panel, to_size
from saliscope.metrics.perturbation import infidelity_scores
from saliscope.metrics.road_curves import road
from saliscope.metrics.robustness import (
    flip_consistency,
    jpeg_consistency,
    sensitivity,
    shift_consistency,
)

__all__ = ["INQUIRIES", "Answered", "Combo", "Inquiry", "InquiryFamily", "inquiries_for"]

Combo = tuple[str, str]
"""A metric and its protocol."""

InquiryFamily = Literal["faithfulness", "robustness", "evidence", "sanity"]
_RADIUS, _QUALITY = 0.02, 75
# Of 224 pixels, by which they are named; in proportion to the shorter side, or the width, of others.
_PATCH, _STRIDE, _RIGHT = 45 / 224, 15 / 224, 16 / 224


@dataclass(frozen=True, eq=False)
class Answered:
    """What came of an inquiry: float64 (M, B) by metric and protocol, NaN where undefined; and mean curves, where it has any.

    `curves` holds by kind the fractions (S,) and the scores (M, B, S).
    """

    values: Mapping[Combo, Tensor]
    curves: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Inquiry:
    """Questions that share their pictures. `combos` are the scores it gives; `seeded` says that seeds change them.

    `ask(panel, wanted, seed)` asks for some of the `metrics`.
    """

    name: str
    family: InquiryFamily
    combos: tuple[Combo, ...]
    ask: Callable[[Panel, frozenset[str], int], Answered]
    seeded: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its scores, without their protocols."""
        return tuple(metric for metric, _ in self.combos)


def _curves(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    every: tuple[CurveKind, ...] = ("deletion", "insertion", "deletion-lerf")
    kinds = [kind for kind in every if kind in wanted]
    found = removal_curves(
        panel.question, panel.images, panel.maps, kinds=kinds, mean=panel.mean, std=panel.std, seed=seed,
    )  # fmt: skip
    name = CURVE_PROTOCOLS["saliscope"].name
    values: dict[Combo, Tensor] = {
        (kind, name): found[kind].area[..., PROBABILITY] for kind in kinds
    }
    curves: dict[str, tuple[Tensor, Tensor]] = {
        k: (found[k].fractions, found[k].scores[:, :, PROBABILITY]) for k in kinds
    }
    return Answered(values, curves)


def _kept(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    del seed  # the heat weighs each pixel: nothing is drawn
    scores = kept_scores(panel.question, panel.images, panel.maps, mean=panel.mean, std=panel.std)
    before, after = scores.before[:, PROBABILITY], scores.after[..., PROBABILITY]
    drops = _each(relative_drop, before, after)
    values: dict[Combo, Tensor] = {
        ("average-drop", "weighted"): drops,
        ("increase", "weighted"): _each(increase, before, after),
        ("gain", "weighted"): _each(relative_gain, before, after),
        ("absolute-drop", "weighted"): _each(absolute_drop, before, after),
        ("win", "reference"): _wins(drops, panel.reference),
    }
    if wanted & {"coherency", "mean-heat", "adcc"}:
        values |= _adcc(panel, drops)
    return Answered({c: v for c, v in values.items() if c[0] in wanted})


def _each(score: Callable[[float, float], float], before: Tensor, after: Tensor) -> Tensor:
    rows = [
        [score(b, a) for b, a in zip(before.tolist(), row, strict=True)] for row in after.tolist()
    ]
    return torch.tensor(rows, dtype=torch.float64)


def _wins(drops: Tensor, reference: int) -> Tensor:
    other = drops[reference].tolist()
    rows = [[win(a, b) for a, b in zip(row, other, strict=True)] for row in drops.tolist()]
    rows[reference] = [math.nan] * len(other)  # nothing wins against itself
    return torch.tensor(rows, dtype=torch.float64)


def _adcc(panel: Panel, drops: Tensor) -> dict[Combo, Tensor]:
    """Coherency asks each method for the map of what its own map kept."""
    heats = panel.maps.cpu().numpy()
    complexity = torch.tensor([[mean_heat(h) for h in row] for row in heats], dtype=torch.float64)
    coherent = torch.full_like(complexity, math.nan)
    explain = panel.explain
    for m in panel.explained if explain is not None else ():
        kept = keep(panel.images, panel.maps[m : m + 1], mean=panel.mean, std=panel.std)[0]
        whole = torch.isfinite(kept).flatten(1).all(1)
        assert explain is not None
        (again,) = explain(kept.nan_to_num(), [m])
        rows = to_size(again, panel.images).cpu().numpy()
        for b in whole.nonzero()[:, 0].tolist():
            coherent[m, b] = coherency(heats[m, b], rows[b])
    parts = zip(coherent.flatten().tolist(), complexity.flatten().tolist(), drops.flatten().tolist(), strict=True)  # fmt: skip
    together = torch.tensor([adcc(*three) for three in parts], dtype=torch.float64)
    return {
        ("coherency", "weighted"): coherent,
        ("mean-heat", "input"): complexity,
        ("adcc", "weighted"): together.reshape(drops.shape),
    }


def _road(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    found = road(panel.question, panel.images, panel.maps, std=panel.std, seed=seed)
    ways = {"road-morf": found.morf[:, :, PROBABILITY], "road-lerf": found.lerf[:, :, PROBABILITY]}
    values = {(name, "road"): scores.mean(-1) for name, scores in ways.items()}
    values["road-combined", "road"] = found.combined[..., PROBABILITY]
    return Answered(
        {c: v for c, v in values.items() if c[0] in wanted},
        {name: (found.shares, scores) for name, scores in ways.items() if name in wanted},
    )


def _infidelity(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    del wanted
    found = infidelity_scores(
        panel.question, panel.images, panel.maps, mean=panel.mean, std=panel.std, seed=seed
    )
    return Answered({("infidelity", "squares"): found[..., LOGIT]})


def _occlusion(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    del wanted, seed
    side = min(panel.images.shape[-2:])
    patch, stride = (max(1, round(side * share)) for share in (_PATCH, _STRIDE))
    drops = occlusion_drops(
        panel.question, panel.images, patch=patch, stride=stride, mean=panel.mean, std=panel.std
    ).to(panel.maps.device)
    found = occlusion_rank(panel.maps, drops, patch=patch, stride=stride)
    return Answered({("occlusion-rank", "patch45-stride15"): found[..., LOGIT]})


def _sensitivity(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    rows = {
        m: sensitivity(panel.explainer(m), panel.images, radius=_RADIUS, seed=seed)
        for m in panel.explained
    }
    ways = {
        "max-sensitivity": {m: found.largest for m, found in rows.items()},
        "average-sensitivity": {m: found.mean for m, found in rows.items()},
    }
    protocol = f"radius{_RADIUS:g}"
    return Answered({(name, protocol): _of(panel, w) for name, w in ways.items() if name in wanted})


def _flip(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    del wanted, seed
    rows = {m: flip_consistency(panel.explainer(m), panel.images) for m in panel.explained}
    return Answered({("flip-consistency", "spearman"): _of(panel, rows)})


def _shift(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    """To the right by half a cell of a last layer of 7 x 7, which is where maps tend to jump."""
    del wanted, seed
    right = max(1, round(panel.images.shape[-1] * _RIGHT))
    rows = {
        m: shift_consistency(panel.explainer(m, at_size=True), panel.images, (0, right))
        for m in panel.explained
    }
    return Answered({("shift-consistency", "right16"): _of(panel, rows)})


def _jpeg(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    del wanted, seed
    how = {"quality": _QUALITY, "mean": panel.mean, "std": panel.std}
    rows = {
        m: jpeg_consistency(panel.explainer(m), panel.images, **how)  # type: ignore[arg-type] # of mixed types
        for m in panel.explained
    }
    return Answered({("jpeg-consistency", f"quality{_QUALITY}"): _of(panel, rows)})


def _twin(panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
    """Nothing where the data knows no twins."""
    del seed
    if panel.twin is None or panel.explain is None:
        return Answered({})
    scores: dict[str, Callable[..., float]] = {
        "twin-share": twin_share,
        "twin-enrichment": twin_enrichment,
    }
    values = {
        (name, "contrast"): torch.full(panel.maps.shape[:2], math.nan, dtype=torch.float64)
        for name in scores if name in wanted
    }  # fmt: skip
    own = panel.explain(panel.images, panel.explained)
    other = panel.explain(panel.images, panel.explained, panel.twin.classes)
    for m, one, two in zip(panel.explained, own, other, strict=True):
        for b, (frame, mask) in enumerate(
            zip(panel.twin.frames, panel.twin.differing, strict=True)
        ):
            pair = [frame.map_to_source(maps[b].float().cpu().numpy()) for maps in (one, two)]
            for (name, _), row in values.items():
                row[m, b] = scores[name](*pair, mask)
    return Answered(values)


def _of(panel: Panel, rows: Mapping[int, np.ndarray]) -> Tensor:
    """Scores of those maps that a method is behind, (M, B), NaN for the others."""
    found = torch.full(panel.maps.shape[:2], math.nan, dtype=torch.float64)
    for m, values in rows.items():
        found[m] = torch.from_numpy(np.asarray(values, np.float64))
    return found


def _rows() -> tuple[Inquiry, ...]:
    curves = ("deletion", "insertion", "deletion-lerf")
    weighted = ("average-drop", "increase", "gain", "absolute-drop", "coherency", "adcc")
    roads = ("road-morf", "road-lerf", "road-combined")
    moved = ("max-sensitivity", "average-sensitivity")
    twins = ("twin-share", "twin-enrichment")
    kept = (*_by("weighted", weighted), ("win", "reference"), ("mean-heat", "input"))
    faith: InquiryFamily = "faithfulness"
    robust: InquiryFamily = "robustness"
    return (
        Inquiry("curves", faith, _by("saliscope", curves), _curves, seeded=True),
        Inquiry("kept", faith, kept, _kept),
        Inquiry("road", faith, _by("road", roads), _road, seeded=True),
        Inquiry("infidelity", faith, _by("squares", ("infidelity",)), _infidelity, seeded=True),
        Inquiry("occlusion", faith, _by("patch45-stride15", ("occlusion-rank",)), _occlusion),
        Inquiry("sensitivity", robust, _by(f"radius{_RADIUS:g}", moved), _sensitivity, seeded=True),
        Inquiry("flip", robust, _by("spearman", ("flip-consistency",)), _flip),
        Inquiry("shift", robust, _by("right16", ("shift-consistency",)), _shift),
        Inquiry("jpeg", robust, _by(f"quality{_QUALITY}", ("jpeg-consistency",)), _jpeg),
        Inquiry("twin", "evidence", _by("contrast", twins), _twin),
    )


def _by(protocol: str, metrics: Sequence[str]) -> tuple[Combo, ...]:
    return tuple((metric, protocol) for metric in metrics)


INQUIRIES: Mapping[str, Inquiry] = MappingProxyType({row.name: row for row in _rows()})
"""What can be asked of a batch of pictures with maps, in the order of asking."""


def inquiries_for(words: Sequence[str]) -> list[tuple[Inquiry, frozenset[str]]]:
    """The inquiries that answer some words, families or metrics, with the metrics wanted of each, in the order of asking.

    Raises `OptionError` for a word that is neither, with the nearest.
    """
    families = {row.family for row in INQUIRIES.values()}
    known = {*families, *(m for row in INQUIRIES.values() for m in row.metrics)}
    for word in words:
        if word not in known:
            raise OptionError(
                f'"{word}" cannot be asked of a network; {nearest(word, sorted(known))}'
            )
    found = []
    for row in INQUIRIES.values():
        wanted = frozenset(row.metrics if row.family in words else set(row.metrics) & set(words))
        if wanted:
            found.append((row, wanted))
    return found
