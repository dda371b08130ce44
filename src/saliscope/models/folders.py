"""Folders that hold a trained network: model.safetensors, and model.json, which says how to build and feed it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.errors import DataError, ModelError
from saliscope.models.checkpoints import infer_num_classes, load_weights
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import Source, build, finished, parse_spec, seeded, weights_file

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "FACTS",
    "SCHEMA",
    "WEIGHTS",
    "Folder",
    "build_folder",
    "build_own",
    "file_sha256",
    "network_facts",
    "read_folder",
]

FACTS, WEIGHTS = "model.json", "model.safetensors"
SCHEMA = 1
_SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Folder:
    """What model.json says.

    `model` is the name that `build` makes the architecture from, `classes` the names in the order of the logits,
    `facts` all of model.json: recipe, seed, scores, data, history, versions.
    """

    path: Path
    model: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    facts: Mapping[str, Any]

    def weights_file(self) -> Path:
        """The weights, after a look at whether they are those that model.json speaks of; raises DataError."""
        file = self.path / WEIGHTS
        if not file.is_file():
            raise DataError(
                f"{self.path} has {FACTS} but no {WEIGHTS}: copy it from where the network was trained, or train again"
            )
        if file_sha256(file) != self.facts["weights"]["sha256"]:
            raise DataError(
                f"{file} is damaged or from another training: its sha256 is not the one in {FACTS} beside it; copy both "
                "again from where the network was trained"
            )
        return file

    def check_source(self) -> None:
        """Raise ModelError when the architecture comes from a file of the user's that is gone or has changed."""
        source = self.facts.get("source")
        if source is None:
            return
        file = Path(source["file"])
        if file.is_file() and file_sha256(file) == source["sha256"]:
            return
        state = "has changed since" if file.is_file() else "is not there"
        function = self.model.removeprefix(str(file))
        raise ModelError(
            f"the network in {self.path} was built by {file}, which {state}: put it back as it was, or name a file that "
            f"builds the same network and take only the weights from here: --model FILE.py{function} --weights {self.path} "
            f'(Python: load_model("FILE.py{function}", "{self.path}"))'
        )


def read_folder(path: str | os.PathLike[str]) -> Folder:
    """Read model.json of a folder that `saliscope train` or `save_model` wrote.

    Raises DataError, saying what is missing, for a folder that is none, and for a model.json that is damaged or newer
    than this version.
    """
    folder = Path(path)
    file = folder / FACTS
    if not file.is_file():
        raise DataError(f"{folder} is no folder of a trained network: {_what_is_there(folder)}")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        schema = facts["schema"]
        read = _folder(folder, facts) if schema == SCHEMA else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as err:
        raise DataError(
            f"{file} is damaged ({type(err).__name__}: {err}): copy it again from where the network was trained"
        ) from err
    if read is None:
        raise DataError(
            f"{file} has schema {schema!r}; this version reads {SCHEMA}: update saliscope, or train again"
        )
    return read


def _folder(path: Path, facts: Mapping[str, Any]) -> Folder:
    classes = tuple(map(str, facts["classes"]))
    str(facts["weights"]["sha256"])  # looked at later, but missed now
    return Folder(path, str(facts["model"]), classes, _preprocessing(facts["preprocessing"]), facts)


def _what_is_there(folder: Path) -> str:
    if not folder.is_dir():
        return "it is not there; give a folder that `saliscope train` wrote"
    if (folder / "run.json").is_file():
        return (
            f"its training has not finished, so {FACTS} is missing; the same command continues it"
        )
    if (folder / "config.json").is_file():
        return f"it has no {FACTS}, but a config.json; a network of transformers is opened with hf:{folder}"
    if (folder / WEIGHTS).is_file():
        return f"it has {WEIGHTS} but no {FACTS}, which says how to build the network; give its name, and --weights FILE"
    return f"it has no {FACTS}; give a folder that `saliscope train` wrote"


def _preprocessing(given: Mapping[str, Any]) -> Preprocessing:
    lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    return Preprocessing(**{**given, **lists})


def network_facts(model: str, classes: tuple[str, ...], given: Preprocessing) -> dict[str, Any]:
    """The part of model.json that `read_folder` builds a network from; of a user's file also its sha256."""
    source = None
    if parse_spec(model).library == "file":
        file = Path(parse_spec(model).name.rpartition(":")[0])
        source = {"file": str(file), "sha256": file_sha256(file)}
    return {
        "model": model,
        "num_classes": len(classes),
        "classes": list(classes),
        "preprocessing": asdict(given),
        "source": source,
    }


def build_folder(
    path: str | os.PathLike[str],
    weights: str | os.PathLike[str] = "pretrained",
    *,
    num_classes: int | None = None,
) -> Source:
    """Build the network of a folder, with its weights, classes and preprocessing.

    "pretrained" are the folder's own weights; "untrained" or a file give the same architecture others, then also with
    another number of classes. Raises DataError for a folder that is damaged or holds no trained network, ModelError
    where the architecture cannot be built: the user's file that made it is gone or has changed.
    """
    folder = read_folder(path)
    folder.check_source()
    count = num_classes or len(folder.classes)
    if weights == "pretrained":
        if count != len(folder.classes):
            raise ModelError(
                f"the network in {folder.path} has {len(folder.classes)} classes, not {count}: leave num_classes out"
            )
        source = build(folder.model, folder.weights_file(), num_classes=count)
        source = replace(source, weights=folder.path.resolve().name)
    else:
        source = build(folder.model, weights, num_classes=count)
        if source.labels is not None and Path(weights).is_dir():
            return source  # another folder's weights came with what belongs to them
    labels = folder.classes if count == len(folder.classes) else None
    return replace(source, preprocessing=folder.preprocessing, labels=labels)


def build_own(
    name: str = "critternet",
    weights: str | os.PathLike[str] = "pretrained",
    *,
    num_classes: int | None = None,
) -> Source:
    """Build critternet, the network of the generated pictures; its own weights come in the package, as such a folder.

    "critternet-cue" is the same network, trained on pictures where a tag in a corner betrays the breed.

    Raises ModelError for the published weights with another number of classes, DataError for a file that does not fit.
    """
    if weights == "pretrained":
        return replace(
            build_folder(_SHIPPED / name, num_classes=num_classes), name=name, weights="shipped"
        )
    file = weights_file(weights)
    count = num_classes or (infer_num_classes(file) if file is not None else None)
    module = _critternet(count)
    if file is not None:
        load_weights(module, file)
    described = "untrained" if file is None else file.name
    half = (0.5, 0.5, 0.5)
    return finished(
        Source(module, Preprocessing((160, 160), half, half), None, "critternet", described)
    )


def _critternet(num_classes: int | None) -> nn.Module:
    from saliscope.models.critternet import critternet

    with seeded():
        return critternet() if num_classes is None else critternet(num_classes)


def file_sha256(file: Path) -> str:
    """Hash a file, sha256 in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
