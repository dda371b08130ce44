"""What each inquiry asks of a panel, and the scores that it makes of the answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from saliscope.metrics.curves import CURVE_PROTOCOLS, CurveKind, removal_curves
from saliscope.metrics.drop import (
    absolute_drop,
    adcc,
    coherency,
    increase,
    mean_heat,
    relative_drop,
    relative_gain,
    win,
)
from saliscope.metrics.inquiries import QUALITY, RADIUS, Combo
from saliscope.metrics.kept import keep, kept_scores
from saliscope.metrics.known_evidence import twin_enrichment, twin_share
from saliscope.metrics.occlusion import occlusion_drops, occlusion_rank
from saliscope.metrics.panel import LOGIT, PROBABILITY, Panel, to_size
from saliscope.metrics.perturbation import infidelity_scores
from saliscope.metrics.road_curves import road
from saliscope.metrics.stability import (
    flip_consistency,
    jpeg_consistency,
    sensitivity,
    shift_consistency,
)

__all__ = ["ASKERS", "Answered"]

# Of 224 pixels, by which they are named; in proportion to the shorter side, or the width, of others.
_PATCH, _STRIDE, _RIGHT = 45 / 224, 15 / 224, 16 / 224


@dataclass(frozen=True, eq=False)
class Answered:
    """What came of an inquiry: float64 (M, B) by metric and protocol, NaN where undefined; and mean curves, where it has any.

    `curves` holds by kind the fractions (S,) and the scores (M, B, S).
    """

    values: Mapping[Combo, Tensor]
    curves: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


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
    if wanted & {"mean-heat", "adcc"}:
        heats = [[mean_heat(h) for h in row] for row in panel.maps.cpu().numpy()]
        values["mean-heat", "input"] = torch.tensor(heats, dtype=torch.float64)
    if wanted & {"coherency", "adcc"}:  # as dear as making the maps
        values["coherency", "weighted"] = _coherency(panel)
    if "adcc" in wanted:
        coherent, complexity = values["coherency", "weighted"], values["mean-heat", "input"]
        values["adcc", "weighted"] = _together(coherent, complexity, drops)
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


def _coherency(panel: Panel) -> Tensor:
    """Each method is asked for the map of what its own map kept."""
    coherent = torch.full(panel.maps.shape[:2], math.nan, dtype=torch.float64)
    if panel.explain is None:
        return coherent
    heats = panel.maps.cpu().numpy()
    for m in panel.explained:
        kept = keep(panel.images, panel.maps[m : m + 1], mean=panel.mean, std=panel.std)[0]
        whole = torch.isfinite(kept).flatten(1).all(1)
        (again,) = panel.explain(kept.nan_to_num(), [m])
        rows = to_size(again, panel.images).cpu().numpy()
        for b in whole.nonzero()[:, 0].tolist():
            coherent[m, b] = coherency(heats[m, b], rows[b])
    return coherent


def _together(coherent: Tensor, complexity: Tensor, drops: Tensor) -> Tensor:
    parts = zip(coherent.flatten().tolist(), complexity.flatten().tolist(), drops.flatten().tolist(), strict=True)  # fmt: skip
    found = torch.tensor([adcc(*three) for three in parts], dtype=torch.float64)
    return found.reshape(drops.shape)


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
        m: sensitivity(panel.explainer(m), panel.images, radius=RADIUS, seed=seed)
        for m in panel.explained
    }
    ways = {
        "max-sensitivity": {m: found.largest for m, found in rows.items()},
        "average-sensitivity": {m: found.mean for m, found in rows.items()},
    }
    protocol = f"radius{RADIUS:g}"
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
    how = {"quality": QUALITY, "mean": panel.mean, "std": panel.std}
    rows = {
        m: jpeg_consistency(panel.explainer(m), panel.images, **how)  # type: ignore[arg-type] # of mixed types
        for m in panel.explained
    }
    return Answered({("jpeg-consistency", f"quality{QUALITY}"): _of(panel, rows)})


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


ASKERS: Mapping[str, Callable[[Panel, frozenset[str], int], Answered]] = MappingProxyType({
    "curves": _curves, "kept": _kept, "road": _road, "infidelity": _infidelity,
    "occlusion": _occlusion, "sensitivity": _sensitivity, "flip": _flip, "shift": _shift,
    "jpeg": _jpeg, "twin": _twin,
})  # fmt: skip
"""How each of the `INQUIRIES` is asked: of a panel, for the metrics wanted of it, with a seed."""
