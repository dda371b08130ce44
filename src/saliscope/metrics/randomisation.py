"""Sanity checks: does a map change when the network forgets, when it learned nonsense, and when another class is asked for?

Adebayo et al. 2018, *Sanity Checks for Saliency Maps*. A method whose maps stay as they were while the weights are replaced
by noise, from the top of the network down, shows the picture and not what was learned. The functions here return
raw similarities, one for each stage, seed and image; `lasting` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliscope.engine import Stage, call, own_generator, reinitialised, shadow, stages, unwrap
from saliscope.errors import DataError, OptionError, TargetError, nearest
from saliscope.frames import Frame
from saliscope.metrics.likeness import Likeness, similarity
from saliscope.metrics.stability import maps_by
from saliscope.models import logits_of

__all__ = [
    "ClassExplainer",
    "DataRandomisation",
    "RandomLogit",
    "Randomisation",
    "RandomisationCurve",
    "Stage",
    "chance_similarity",
    "data_randomisation",
    "random_logit",
    "randomisation_curve",
    "randomised",
    "reinitialised",
    "stages",
]

ClassExplainer = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""A network, pictures (n, C, H, W) and a class for each (n,), int64, in; signed maps (n, h, w) out."""

Randomisation = Literal["cascading", "independent"]
"""`cascading`: each stage forgets, and those above it have already; `independent`: it alone forgets."""

LIKENESSES: tuple[Likeness, ...] = ("spearman-abs", "spearman", "ssim", "hog")


def randomised(
    module: nn.Module,
    order: Sequence[Stage],
    *,
    seed: int,
    how: Randomisation = "cascading",
) -> Iterator[nn.Module]:
    """Yield private copies of a network: one in which nothing changed, then one for each stage of `order`.

    `order` is what `stages` returned, or one or some of them. See `reinitialised` for what forgetting means, and for what is left alone.
    Raises `OptionError` for another `how`.
    """
    if how not in get_args(Randomisation):
        raise OptionError(
            f'randomisation "{how}" is unknown; {nearest(str(how), get_args(Randomisation))}'
        )
    whole = reinitialised(module, (), seed=seed)
    yield shadow(whole, share=False)
    for stage in order:
        forgot = reinitialised(whole, stage.layers, seed=seed)
        if (
            how == "cascading"
        ):  # what a layer forgets to depends on its name: no need to draw it again
            whole = forgot
        yield shadow(forgot, share=False)


@dataclass(frozen=True, eq=False)
class RandomisationCurve:
    """How alike maps before and after forgetting are, for each stage, seed and image.

    `values` holds, by likeness, float64 (stages, seeds, n): NaN where a map was constant or not finite, in rows named by
    `stages`, of which the first, `original`, is the network as it was: exactly 1 for a method that always gives the same
    map. `chance` holds, by likeness, float64 (n,): the `chance_similarity` of the unchanged maps. `classes` (n,) were
    explained throughout.
    """

    stages: tuple[str, ...]
    seeds: tuple[int, ...]
    how: Randomisation
    classes: NDArray[np.int64]
    values: Mapping[Likeness, NDArray[np.float64]]
    chance: Mapping[Likeness, NDArray[np.float64]]


def randomisation_curve(
    explain: ClassExplainer,
    module: nn.Module,
    pictures: Tensor,
    *,
    classes: Tensor | None = None,
    order: Sequence[Stage] | None = None,
    depth: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    how: Randomisation = "cascading",
    likenesses: Sequence[Likeness] = LIKENESSES,
    batch_size: int = 16,
    read: Callable[[Any], Tensor] = logits_of,
) -> RandomisationCurve:
    """Compare the maps of pictures (n, C, H, W) with those of copies of the network that forget stage by stage.

    Adebayo et al. 2018, model parameter randomisation. The class is fixed: `classes` (n,), or what the untouched network predicts, never what a
    randomised one does. `order` are the stages (all, of `depth`, where it is None). Ranks and values are compared on
    the map's own grid, SSIM and HOG on min-max heatmaps of the size of the pictures. `read` takes logits out of an output.

    Cost: the explainer runs 2 + seeds x stages times over all pictures, in batches of `batch_size`; three copies of the
    network are held at a time. The module given is not touched. Raises `OptionError` for settings that make no sense, `DataError`
    for an explainer that returns no (n, h, w).
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise OptionError(
            f"seeds are different numbers, three or more to see a spread; got {list(seeds)}"
        )
    if classes is None:
        classes = _predicted(module, pictures, batch_size, read)
    if order is None:
        order = stages(module, pictures[:2], read=read, depth=depth)

    def heats(net: nn.Module) -> _Heats:
        return _heats(explain, net, pictures, classes, batch_size)

    before = heats(shadow(unwrap(module), share=False))
    rows: dict[Likeness, list[list[NDArray[np.float64]]]] = {kind: [] for kind in likenesses}
    first: dict[Likeness, NDArray[np.float64]] = {}
    for seed in seeds:
        copies = randomised(module, order, seed=seed, how=how)
        for place, net in enumerate(copies):
            # Nothing has forgotten yet: the same for every seed.
            alike = first if place == 0 and first else _alike(before, heats(net), likenesses)
            first = first or alike
            for kind in likenesses:
                if place == 0:
                    rows[kind].append([])
                rows[kind][-1].append(alike[kind])
    values = {kind: np.array(found).transpose(1, 0, 2) for kind, found in rows.items()}
    return RandomisationCurve(
        ("original", *(stage.name for stage in order)),
        tuple(seeds),
        how,
        classes.cpu().numpy(),
        MappingProxyType(values),
        MappingProxyType({kind: _chance(before, kind) for kind in likenesses}),
    )


@dataclass(frozen=True)
class _Heats:
    """Maps (n, h, w) on their own grid, and brought to the size of the pictures."""

    maps: NDArray[np.float64]
    size: tuple[int, int]

    def of(self, kind: Likeness, row: int) -> NDArray[np.floating]:
        grid = self.maps[row]
        return (
            Frame.squash(self.size, self.size).map_to_source(grid)
            if kind in ("ssim", "hog")
            else grid
        )


def _heats(
    explain: ClassExplainer, net: nn.Module, pictures: Tensor, classes: Tensor, batch_size: int
) -> _Heats:
    if pictures.ndim != 4 or classes.shape != pictures.shape[:1] or not len(pictures):
        raise DataError(
            f"pictures are (n, C, H, W) with one class each, (n,); got {tuple(pictures.shape)} and {tuple(classes.shape)}"
        )
    found = []
    for part, chosen in zip(
        _batches(pictures, batch_size), _batches(classes, batch_size), strict=True
    ):
        found.append(maps_by(lambda x, c=chosen: explain(net, x, c), part))  # type: ignore[misc] # bound at once
    return _Heats(np.concatenate(found), (pictures.shape[2], pictures.shape[3]))


def _batches(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    if size < 1:
        raise OptionError(f"batch_size is at least 1; got {size}")
    return torch.split(rows, size)


def _predicted(
    module: nn.Module, pictures: Tensor, batch_size: int, read: Callable[[Any], Tensor]
) -> Tensor:
    return _logits(module, pictures, batch_size, read).argmax(1)


def _logits(
    module: nn.Module, pictures: Tensor, batch_size: int, read: Callable[[Any], Tensor]
) -> Tensor:
    net = shadow(unwrap(module))
    with torch.inference_mode(mode=False), torch.no_grad():
        return torch.cat([read(call(net, part.clone())) for part in _batches(pictures, batch_size)])


def _alike(
    one: _Heats, other: _Heats, likenesses: Sequence[Likeness]
) -> dict[Likeness, NDArray[np.float64]]:
    return {
        kind: np.array(
            [similarity(one.of(kind, i), other.of(kind, i), kind) for i in range(len(one.maps))]
        )
        for kind in likenesses
    }


def _chance(heats: _Heats, kind: Likeness) -> NDArray[np.float64]:
    """The similarity of each map with that of the picture half way round the set."""
    count = len(heats.maps)
    if count < 2:
        return np.full(count, math.nan)
    return np.array(
        [
            similarity(heats.of(kind, i), heats.of(kind, (i + count // 2) % count), kind)
            for i in range(count)
        ]
    )


def chance_similarity(
    maps: NDArray[np.floating], likeness: Likeness, *, size: tuple[int, int] | None = None
) -> NDArray[np.float64]:
    """How alike the maps (n, h, w) of different pictures are, float64 (n,): what a method's maps share without a reason.

    Each with the one half way round the set (sets are often sorted by class). Maps that are hot in the middle whatever the picture are
    alike by chance: a similarity after randomisation means nothing below this. `size` (H, W) is that of the pictures, to
    which `ssim` and `hog` bring the maps. NaN for a single map.
    """
    return _chance(_Heats(np.asarray(maps, np.float64), size or maps.shape[1:]), likeness)


@dataclass(frozen=True, eq=False)
class DataRandomisation:
    """How alike the maps of two networks are: float64 (n,) by likeness; `classes` int64 (n,) were explained by both.

    `chance` holds, by likeness, float64 (n,): the `chance_similarity` of the maps of the network that learned the truth.
    """

    classes: NDArray[np.int64]
    values: Mapping[Likeness, NDArray[np.float64]]
    chance: Mapping[Likeness, NDArray[np.float64]]

    @property
    def n(self) -> int:
        """How many pictures were compared, undefined ones among them."""
        return len(self.classes)


def data_randomisation(
    explain: ClassExplainer,
    trained: nn.Module,
    shuffled_trained: nn.Module,
    pictures: Tensor,
    *,
    classes: Tensor | None = None,
    likenesses: Sequence[Likeness] = LIKENESSES,
    batch_size: int = 16,
    read: Callable[[Any], Tensor] = logits_of,
) -> DataRandomisation:
    """Compare the maps of a network with those of one that learned permuted labels, on the same pictures (n, C, H, W).

    Adebayo et al. 2018, the data randomisation test: `shuffled_trained` has the layers of `trained` and learned the same pictures by heart, each
    with the label of another. It knows nothing of what makes a class, so a map of what was learned should be another. `classes`
    (n,) are explained by both, or what `trained` predicts. Two networks of other seeds that both learned the truth are the
    scale to read it by: their maps are not the same either. NaN where either map is constant or not finite.

    Neither network is touched. Raises `DataError` where the maps of the two are of other sizes.
    """
    if classes is None:
        classes = _predicted(trained, pictures, batch_size, read)
    own, other = (
        _heats(explain, shadow(unwrap(net), share=False), pictures, classes, batch_size)
        for net in (trained, shuffled_trained)
    )
    return DataRandomisation(
        classes.cpu().numpy(),
        MappingProxyType(_alike(own, other, likenesses)),
        MappingProxyType({kind: _chance(own, kind) for kind in likenesses}),
    )


@dataclass(frozen=True, eq=False)
class RandomLogit:
    """How alike the maps of two classes of one picture are: float64 (n,) by likeness; `classes` and `others` are int64 (n,)."""

    classes: NDArray[np.int64]
    others: NDArray[np.int64]
    values: Mapping[Likeness, NDArray[np.float64]]


def random_logit(
    explain: ClassExplainer,
    module: nn.Module,
    pictures: Tensor,
    *,
    classes: Tensor | None = None,
    other: Literal["random", "lowest"] = "random",
    seed: int = 0,
    likenesses: Sequence[Likeness] = LIKENESSES,
    batch_size: int = 16,
    read: Callable[[Any], Tensor] = logits_of,
) -> RandomLogit:
    """Compare the map of a class with that of another: lower is more sensitive to the class.

    The random-logit test (Sixt, Granz, Landgraf 2020). `classes` (n,), or what the network predicts; `other` is
    drawn from the remaining classes by `seed` and the picture's content, or the one with the `lowest` logit. 1 for a
    method that does not look at the class. NaN where either map is constant. Raises `TargetError` for a network
    of one class, `OptionError` for another `other`.
    """
    if other not in ("random", "lowest"):
        raise OptionError(
            f'other class "{other}" is unknown; {nearest(other, ("random", "lowest"))}'
        )
    logits = _logits(module, pictures, batch_size, read)
    count = logits.shape[1]
    if count < 2:
        raise TargetError("the network has one class: there is no other to compare its map with")
    own = logits.argmax(1) if classes is None else classes.to(logits.device)
    if other == "lowest":
        others = logits.scatter(1, own[:, None], math.inf).argmin(1)
    else:
        steps = [
            int(torch.randint(1, count, (), generator=own_generator(picture, seed)))
            for picture in pictures
        ]
        others = (own + torch.tensor(steps, device=own.device)) % count
    net = shadow(unwrap(module), share=False)
    one, two = (_heats(explain, net, pictures, c, batch_size) for c in (own, others))
    return RandomLogit(
        own.cpu().numpy(), others.cpu().numpy(), MappingProxyType(_alike(one, two, likenesses))
    )
