"""What a run is about: the network, the data and the methods, opened and checked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from saliscope.data import DataSet, fingerprint
from saliscope.errors import DataError, LayerError, MethodError, OptionError, nearest
from saliscope.explainer import resolve_specs
from saliscope.methods import MethodSpec, parse_method
from saliscope.models import Model, change_preprocessing, load_model, weights_hash
from saliscope.runs.classes import ClassMap, match_classes
from saliscope.runs.measuring import TRIVIAL
from saliscope.runs.record import hash_of
from saliscope.runs.settings import RunSettings
from saliscope.runs.splits import check_splits, open_splits

__all__ = ["Subject", "open_subject"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, the splits of a data set, and the methods to be evaluated: `names` as they were written, `specs` with layers."""

    settings: RunSettings
    model: Model
    data: Mapping[str, DataSet]
    names: tuple[str, ...]
    specs: tuple[MethodSpec, ...]
    classes: ClassMap

    @property
    def reference(self) -> str:
        """The method that others are compared with, as it is written."""
        return self.settings.reference or self.names[0]

    @property
    def batch_size(self) -> int:
        return self.settings.batch_size or (64 if self.model.device.type == "cuda" else 8)

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """What the settings came to: names and hashes that the rows depend on, for run.json."""
        own = self.model.preprocessing
        return {
            "model": self.model.title,
            "weights": weights_hash(self.model.module),
            "preprocessing": asdict(own),
            "methods": dict(zip(self.names, map(str, self.specs), strict=True)),
            "classes": len(self.classes.names),
            "outputs": hash_of({"of": self.classes.outputs, "names": self.model.labels}),
            "data": {split: fingerprint(part) for split, part in self.data.items()},
        }


def open_subject(
    settings: RunSettings, model: Model | None = None, data: Mapping[str, DataSet] | None = None
) -> Subject:
    """Load the network, open the data, resolve methods and layers; `model` and `data` take the place of what is named.

    Of methods that come to the same, the first is kept. Raises what `load_model` and `open_data` do, `MethodError` and
    `LayerError` for methods and layers the network does not have, `OptionError` where the classes of the two do not fit, and
    for a reference that is none of the methods. The settings of the subject write the reference as its method is written.
    """
    parts = dict(data) if data is not None else open_splits(settings)
    check_splits(settings, parts)
    for part in parts.values():
        _check_ids(part)
    network = _load(settings) if model is None else model
    names = _methods(settings, network)
    specs = resolve_specs(network, [parse_method(m) for m in names])
    for spec in specs:
        if settings.target_space != "logit" and spec.method.logits_only:
            raise MethodError(
                f"{spec.method.name} {spec.method.logits_only}, so it explains a logit, not a {settings.target_space}; use grad-cam"
            )
    firsts: dict[MethodSpec, str] = {}
    for name, spec in zip(names, specs, strict=True):
        firsts.setdefault(spec, name)
    if settings.reference is not None:
        reference = _reference(settings.reference, firsts, network)
        settings = settings.model_copy(update={"reference": reference})
    classes = _classes(settings, next(iter(parts.values())), network)
    return Subject(settings, network, parts, tuple(firsts.values()), tuple(firsts), classes)


def _reference(given: str, methods: Mapping[MethodSpec, str], model: Model) -> str:
    """The method that others are compared with, as it is written in the list of methods: with its layer or without."""
    try:
        (spec,) = resolve_specs(model, [parse_method(given)])
    except (LayerError, MethodError):
        spec = parse_method(given)  # so none of the methods, which the network has
    if spec not in methods:
        known = nearest(given, [*methods.values(), *map(str, methods)])
        raise OptionError(f'the reference "{given}" is none of the methods; {known}')
    return methods[spec]


def _classes(settings: RunSettings, data: DataSet, model: Model) -> ClassMap:
    if settings.target == "predicted" and not data.classes:
        return ClassMap((), ())
    return match_classes(data, model)


def _check_ids(data: DataSet) -> None:
    """Rows are told apart by the ids of their samples. Raises `DataError` for one that occurs twice."""
    seen: set[str] = set()
    for name in data.ids:
        if name in seen:
            raise DataError(
                f'{data.name} has several samples called "{name}"; ids have to be unique'
            )
        seen.add(name)


def _load(settings: RunSettings) -> Model:
    model = load_model(
        settings.model,
        settings.weights,
        labels=settings.labels,
        num_classes=settings.num_classes,
        precision=settings.precision,
        device=settings.device,
    )
    return change_preprocessing(
        model,
        size=settings.size,
        mean=settings.mean,
        std=settings.std,
        resize=settings.resize,
    )


def _methods(settings: RunSettings, model: Model) -> list[str]:
    own = list(settings.methods)
    if not own:
        head = model.survey.head is not None and settings.target_space == "logit"
        own = ["cam", "grad-cam"] if head else ["grad-cam"]
    trivial = [name for name in TRIVIAL if settings.trivial and name not in own]
    return [*own, *trivial]
