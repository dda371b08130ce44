"""Which output of the network each class of the data is."""

from __future__ import annotations

from collections.abc import Sequence

from saliscope.data import DataSet, Sample
from saliscope.errors import OptionError, nearest
from saliscope.models import Model
from saliscope.runs.naming import folded

__all__ = ["ClassMap", "match_classes"]


class ClassMap:
    """The classes of a data set as outputs of a network.

    `outputs[i]` is the output for class i of the data, None where the network does not know it. `names` are the data's.
    """

    def __init__(self, names: Sequence[str], outputs: Sequence[int | None]) -> None:
        self.names = tuple(names)
        self.outputs = tuple(outputs)
        self._by_name = {folded(n): o for n, o in zip(names, outputs, strict=True)}

    def of_sample(self, sample: Sample) -> tuple[int, ...]:
        """The outputs for what an image holds: its class, or where it has no single one those of its regions."""
        if sample.label is not None:
            own = [self.outputs[sample.label]]
        else:
            own = [self._by_name.get(folded(r.label)) for r in sample.regions if not r.crowd]
        return tuple(dict.fromkeys(o for o in own if o is not None))

    def output_of(self, name: str) -> int | None:
        """The output for a class of the data by its name, None where there is none."""
        return self._by_name.get(folded(name))

    def name_of(self, output: int | None) -> str | None:
        """The data's name for an output, None where it has none."""
        if output is None or output not in self.outputs:
            return None
        return self.names[self.outputs.index(output)]


def match_classes(data: DataSet, model: Model) -> ClassMap:
    """Find the output for each class of the data: by name where the network has labels, else by position.

    Case, spaces, hyphens and underscores do not count. Raises `OptionError` where the network has no labels and another
    number of outputs than the data has classes, and where a class that occurs in the data is none of the labels.
    """
    if not data.classes:
        raise OptionError(f"{data.name} has no classes, so no class can be explained")
    if model.labels is None:
        return ClassMap(data.classes, _by_position(data, model))
    places: dict[str, int] = {}
    for place, label in enumerate(model.labels):
        for word in (label, *label.split(",")):  # ImageNet lists synonyms: "tench, Tinca tinca"
            places.setdefault(folded(word), place)
    outputs = [places.get(folded(name)) for name in data.classes]
    used = {label for label in data.labels if label is not None}
    missing = [data.classes[i] for i in sorted(used) if outputs[i] is None]
    if missing:
        first = missing[0]
        raise OptionError(
            f"{len(missing)} of the {len(used)} classes of {data.name} are no labels of {model.name}, e.g. "
            f'"{first}" ({nearest(first, model.labels)}); give the class names of the network in order with --labels FILE'
        )
    return ClassMap(data.classes, outputs)


def _by_position(data: DataSet, model: Model) -> Sequence[int | None]:
    if model.num_classes != len(data.classes):
        raise OptionError(
            f"{model.name} has {model.num_classes} outputs without names and {data.name} has {len(data.classes)} classes; name "
            "the outputs in order with --labels FILE, or open all classes of the data (stanford_dogs:classes=all)"
        )
    return range(model.num_classes)
