"""What runs are called side by side, and which of them are trainings of one recipe with different seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from saliscope.errors import SaliscopeError
from saliscope.runs import Run
from saliscope.settings import plain

__all__ = ["Trainings", "run_names", "trainings_of"]


def run_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Name each run by what tells it apart, network before data before settings; the folder where nothing else does.

    One run needs no name: "".
    """
    if len(runs) == 1:
        return ("",)
    facets = [_facets(run) for run in runs]
    chosen: list[str] = []
    for facet in facets[0]:
        values = {f[facet] for f in facets}
        if len(values) > 1 and len({tuple(f[c] for c in chosen) for f in facets}) < len(runs):
            chosen.append(facet)
    names = [", ".join(f[c] for c in chosen if f[c]) or f["folder"] for f in facets]
    return tuple(
        name if names.count(name) == 1 else f"{name} #{i + 1}" for i, name in enumerate(names)
    )


def _facets(run: Run) -> dict[str, str]:
    network, weights = _network(run)
    settings = run.settings
    return {
        "network": network,
        "weights": weights,
        "data": settings.data,
        "split": settings.split,
        "target": f"{settings.target} {settings.target_space}",
        "preprocessing": str(run.record.resolved.get("preprocessing", "")),
        "precision": settings.precision,
        "folder": PurePosixPath(run.place.address.rstrip("/")).name,
    }


def _network(run: Run) -> tuple[str, str]:
    """The name of a network, and what its weights are called."""
    name, _, weights = str(run.record.resolved["model"]).partition(" (")
    return name, weights.removesuffix(")")


@dataclass(frozen=True)
class Trainings:
    """Runs, by their places, of one recipe trained several times. `known`: their model.json says so; else it was taken from the rest."""

    runs: tuple[int, ...]
    known: bool


def trainings_of(runs: Sequence[Run]) -> tuple[Trainings, ...]:
    """Groups of two runs or more that differ in nothing but the weights, and, where it can be read, the seed of the training.

    The recipe stands in the model.json of a trained network's folder; where that is gone, equal settings have to do, and
    `known` is False.
    """
    if len(runs) < 2:  # the folder of the network need not be read, which loads torch
        return ()
    groups: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        groups.setdefault(str(_recipe(run)), []).append(i)
    found = []
    for places in groups.values():
        weights = {runs[i].record.resolved["weights"] for i in places}
        if len(places) > 1 and len(weights) == len(places):
            known = all(_training(runs[i]) is not None for i in places)
            found.append(Trainings(tuple(places), known))
    return tuple(found)


def _recipe(run: Run) -> dict[str, Any]:
    """All that must be the same in two trainings of one recipe."""
    explain, resolved = dict(run.record.explain), dict(run.record.resolved)
    for named in ("model", "weights"):
        explain.pop(named, None)
        resolved.pop(named, None)
    training = _training(run)
    return plain(
        {"explain": explain, "resolved": resolved, "network": _network(run)[0], "training": training}
    )  # fmt: skip


def _training(run: Run) -> Mapping[str, Any] | None:
    """What model.json says of the training, without its seed and results; None where there is none."""
    from saliscope.models.folders import read_folder

    for named in (run.settings.model, run.settings.weights):
        try:
            facts = read_folder(named).facts
        except SaliscopeError:
            continue
        recipe = {k: v for k, v in facts.get("recipe", {}).items() if k != "seed"}
        return {"recipe": recipe, "data": facts.get("data"), "start": facts.get("start")}
    return None
