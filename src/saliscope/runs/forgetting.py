"""Do the maps of a run change when the network forgets, and when another class is asked for? One method at a time.

Model parameter randomisation (Adebayo et al. 2018) and the random-logit test (Sixt, Granz, Landgraf 2020), as in
`saliscope.metrics.randomisation`, of the network, the methods and the images of a run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliscope.data import Failed
from saliscope.engine import Budget, Network, Stage, few_stages, make_budget, shadow
from saliscope.errors import OptionError, SaliscopeError, nearest
from saliscope.methods import MethodSpec, map_batch
from saliscope.metrics import Likeness, random_logit, randomisation_curve
from saliscope.metrics.likeness import HOG_SIDE
from saliscope.models import Model, logits_of
from saliscope.runs.measuring import sample_of
from saliscope.runs.selection import first_by_hash
from saliscope.runs.subject import Subject
from saliscope.runs.tables import SANITY, frame_of

log = logging.getLogger(__name__)

__all__ = [
    "ANOTHER_CLASS",
    "ANOTHER_PICTURE",
    "Forgetting",
    "SanitySample",
    "sanity_maps",
    "sanity_rows",
    "sanity_samples",
    "sanity_stages",
]

Forgetting = Literal["cascading", "independent", "random-logit"]
"""Stages forget one after the other, each alone, or none does and another class is asked for."""

LIKENESSES: tuple[Likeness, ...] = ("spearman-abs", "spearman", "ssim", "hog")
ANOTHER_CLASS, ANOTHER_PICTURE = "another class", "another picture"
"""Names of stages that are none: of stage 1 of "random-logit", and of stage -1, chance."""

_MOST_STAGES = 8
_BROKEN = (SaliscopeError, RuntimeError, ArithmeticError, MemoryError)


@dataclass(frozen=True)
class SanitySample:
    """An image of a run, and the class that its map explains."""

    id: str
    index: int
    split: str
    target: int


def sanity_samples(maps: pl.DataFrame, n: int) -> list[SanitySample]:
    """The first `n` images by the hash of their ids, by index, each with one class: those the network is asked about.

    `maps` are rows of the run's maps of one split, of any one method or several (id, index, split, status, target, rank,
    is_truth). The class is the image's own, of several the one with the largest logit, or where none was explained the predicted one.
    Images that failed are left out. A larger `n` takes the same images and more.
    """
    there = maps.filter((pl.col("status") != "failed") & pl.col("target").is_not_null())
    best = there.sort(["is_truth", "rank"], descending=[True, False], maintain_order=True)
    rows = best.unique("id", keep="first", maintain_order=True).sort("index")
    chosen = first_by_hash(rows["id"].to_list(), n)
    own = rows.select("id", "index", "split", "target").rows()
    return [SanitySample(*own[place]) for place in chosen]


def sanity_stages(model: Model, *, most: int = _MOST_STAGES) -> tuple[Stage, ...]:
    """The layers that forget together, from the top down: `few_stages`, the same for every method and image of a run."""
    base = _base(model)
    size = model.preprocessing.size
    picture = torch.zeros(2, 3, *size, device=model.device, dtype=_dtype(base))
    return few_stages(base, picture, read=logits_of, most=most)


def sanity_maps(
    images: int,
    stages: int,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    hows: Sequence[Forgetting] = get_args(Forgetting),
) -> int:
    """How many maps `sanity_rows` makes of a method: what it costs is that many times what one map costs."""
    each = {"random-logit": 2 * len(seeds)}
    return images * sum(each.get(how, 2 + len(seeds) * stages) for how in hows)


def sanity_rows(
    subject: Subject,
    name: str,
    spec: MethodSpec,
    samples: Sequence[SanitySample],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    hows: Sequence[Forgetting] = get_args(Forgetting),
    stages: Sequence[Stage] | None = None,
    batch_size: int | None = None,
    tell: Callable[[int], object] = lambda _: None,
) -> pl.DataFrame:
    """How alike the maps of a method are before and after the network forgot: the rows of the table SANITY.

    `name` is the method as the run writes it, `spec` the same with its layer, chosen while the network was whole. Maps are signed, before the
    method's own ReLU; the class is that of each sample, never what a network that forgot predicts. `stages` are those of
    `sanity_stages` where None. `tell` is told how many maps were made, batch by batch (see `sanity_maps`).

    What cannot be explained on a network that forgot, and a picture that can no longer be read, is NaN and is logged; a run
    never ends for it. The subject's network is not touched. Raises `OptionError` for an unknown `how` and seeds
    that occur twice, `DataError` where the data is another than the maps were made of.
    """
    for how in hows:
        if how not in get_args(Forgetting):
            raise OptionError(
                f'a network forgets in no way called "{how}"; {nearest(how, get_args(Forgetting))}'
            )
    if not seeds or len(set(seeds)) != len(seeds):
        raise OptionError(f"seeds are different numbers, at least one; got {list(seeds)}")
    order = tuple(stages) if stages is not None else sanity_stages(subject.model)
    asked = _Asked(subject, name, spec, tuple(seeds), order)
    read = list(_pictures(subject, samples))
    found: list[dict[str, Any]] = []
    for how in hows:
        explainer = _Explainer(asked, make_budget(subject.settings.memory), tell)
        answers = _answers(how, explainer, read, batch_size or subject.batch_size)
        found += _rows(asked, how, samples, read, answers)
        if explainer.failures:
            count, first = len(explainer.failures), explainer.failures[0]
            log.warning("%s, %s: %d maps could not be made; the first: %s", name, how, count, first)
    return frame_of(found, SANITY)


@dataclass(frozen=True, eq=False)
class _Asked:
    """One method of a subject, and what it is asked."""

    subject: Subject
    name: str
    spec: MethodSpec
    seeds: tuple[int, ...]
    order: tuple[Stage, ...]


@dataclass(eq=False)
class _Explainer:
    """A `ClassExplainer` of one method that never raises once it knows the grid of its maps: what fails is NaN.

    Copies come one after the other, so that only the last is remembered.
    """

    asked: _Asked
    budget: Budget
    tell: Callable[[int], object]
    failures: list[str] = field(default_factory=list)
    grid: tuple[int, ...] | None = None
    last: tuple[nn.Module, Network] | None = None

    def __call__(self, net: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
        found = self._all_or_each(self._network(net), pictures, classes)
        self.tell(len(pictures))
        return found

    def _all_or_each(self, network: Network, pictures: Tensor, classes: Tensor) -> Tensor:
        spec, space = self.asked.spec, self.asked.subject.settings.target_space
        try:
            made = map_batch(
                network, pictures, [spec], target=classes, space=space, budget=self.budget
            )
        except _BROKEN as err:
            if len(pictures) > 1:
                alone = zip(torch.split(pictures, 1), torch.split(classes, 1), strict=True)
                return torch.cat([self._all_or_each(network, x, c) for x, c in alone])
            if self.grid is None:
                raise
            self.fail(err)
            return torch.full((1, *self.grid), math.nan)
        maps = made.signed[0][:, 0].float().cpu()
        self.grid = tuple(maps.shape[1:])
        return maps

    def fail(self, err: BaseException) -> None:
        self.failures.append(str(err).partition("\n")[0] or type(err).__name__)

    def _network(self, net: nn.Module) -> Network:
        if self.last is None or self.last[0] is not net:
            self.last = (net, _network_of(self.asked.subject.model, net))
        return self.last[1]


def _network_of(model: Model, net: nn.Module) -> Network:
    """A copy that forgot, ready to be asked: with the structure of the model, and the weights of its own head."""
    facts = model.survey
    head = facts.head.of(net) if facts.head is not None else None
    network = Network(net, read=logits_of, survey=replace(facts, head=head), dtype=_dtype(net))
    network.colours = model.preprocessing.black_and_white
    return network


def _base(model: Model) -> nn.Module:
    """The network where its model runs."""
    parameter = next(model.module.parameters(), None)
    if parameter is None or parameter.device == model.device:
        return model.module
    return shadow(model.module, share=False).to(model.device)


def _dtype(net: nn.Module) -> torch.dtype | None:
    return next((p.dtype for p in net.parameters()), None)


_Read = tuple[SanitySample, Tensor]


def _pictures(subject: Subject, samples: Sequence[SanitySample]) -> Iterator[_Read]:
    """The samples that can be read, each with its network input (1, 3, h, w)."""
    for each in samples:
        part = subject.data[each.split]
        found = sample_of(part, {"id": each.id, "index": each.index, "split": each.split})
        try:
            if not isinstance(found, Failed):
                yield each, subject.model.inputs([found.photo()])[0]
                continue
            reason = found.message
        except (SaliscopeError, OSError, MemoryError) as err:
            reason = str(err)
        log.warning("%s can no longer be read: %s", each.id, reason)


@dataclass(frozen=True, eq=False)
class _Answers:
    """By likeness: values (stages, seeds, n) of the stages from number `first` on, and chance (n,), empty where nothing forgot."""

    first: int
    names: tuple[str, ...]
    values: Mapping[Likeness, NDArray[np.float64]]
    chance: Mapping[Likeness, NDArray[np.float64]]


def _answers(how: Forgetting, explainer: _Explainer, read: Sequence[_Read], batch: int) -> _Answers:
    """Ask the network; all NaN where no picture can be read, or not even the whole network can be explained."""
    asked = explainer.asked
    if read:
        pictures = torch.cat([picture for _, picture in read])
        classes = torch.tensor([s.target for s, _ in read], device=pictures.device)
        base = _base(asked.subject.model)
        given: dict[str, Any] = {
            "classes": classes, "likenesses": _fitting(pictures), "batch_size": batch, "read": logits_of,
        }  # fmt: skip
        try:
            if how != "random-logit":
                curve = randomisation_curve(
                    explainer, base, pictures.to(_dtype(base)), order=asked.order,
                    seeds=asked.seeds, how=how, **given,
                )  # fmt: skip
                return _Answers(0, curve.stages, _filled(curve.values), _filled(curve.chance))
            others = [
                random_logit(explainer, base, pictures.to(_dtype(base)), seed=seed, **given)
                for seed in asked.seeds
            ]
            stacked = {k: np.stack([o.values[k] for o in others])[None] for k in others[0].values}
            return _Answers(1, (ANOTHER_CLASS,), _filled(stacked), {})
        except _BROKEN as err:
            explainer.fail(err)
    stages = ("original", *(stage.name for stage in asked.order))
    count = len(read)
    if how == "random-logit":
        nothing = np.full((1, len(asked.seeds), count), math.nan)
        return _Answers(1, (ANOTHER_CLASS,), dict.fromkeys(LIKENESSES, nothing), {})
    nothing = np.full((len(stages), len(asked.seeds), count), math.nan)
    chance = dict.fromkeys(LIKENESSES, np.full(count, math.nan))
    return _Answers(0, stages, dict.fromkeys(LIKENESSES, nothing), chance)


def _fitting(pictures: Tensor) -> tuple[Likeness, ...]:
    """The likenesses that pictures of this size have: HOG compares blocks of cells."""
    small = min(pictures.shape[-2:]) < HOG_SIDE
    return tuple(kind for kind in LIKENESSES if not (small and kind == "hog"))


def _filled(values: Mapping[Likeness, NDArray[np.float64]]) -> dict[Likeness, NDArray[np.float64]]:
    """All likenesses, NaN those that are left out."""
    nothing = np.full_like(next(iter(values.values())), math.nan)
    return {kind: values.get(kind, nothing) for kind in LIKENESSES}


def _rows(
    asked: _Asked,
    how: Forgetting,
    samples: Sequence[SanitySample],
    read: Sequence[_Read],
    found: _Answers,
) -> Iterator[dict[str, Any]]:
    """Sample by sample, likeness by likeness, chance first and then stage by stage."""
    places = {sample: i for i, (sample, _) in enumerate(read)}
    for sample in samples:
        i = places.get(sample)
        base = {
            "id": sample.id, "index": sample.index, "split": sample.split, "spec": asked.name,
            "target": sample.target, "how": how,
        }  # fmt: skip
        for kind, values in found.values.items():
            for chance in [found.chance[kind]] if kind in found.chance else []:
                yield base | _cell(kind, -1, ANOTHER_PICTURE, asked.seeds[0], chance, i)
            for number, (name, stage) in enumerate(
                zip(found.names, values, strict=True), found.first
            ):
                for seed, row in zip(asked.seeds, stage, strict=True):
                    yield base | _cell(kind, number, name, seed, row, i)


def _cell(
    kind: Likeness, stage: int, name: str, seed: int, row: NDArray[np.float64], place: int | None
) -> dict[str, Any]:
    value = math.nan if place is None else float(row[place])
    return {"likeness": kind, "stage": stage, "stage_name": name, "seed": seed, "value": value}
