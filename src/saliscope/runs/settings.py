"""Everything that decides what a run holds, in one value that a file, a flag and a program share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from saliscope.errors import SaliscopeError
from saliscope.settings import (
    Settings,
    make_settings,
    read_settings,
    settings_text,
    wrong,
)

__all__ = [
    "ASKING",
    "DECLARED",
    "FREE",
    "MEASURING",
    "RunSettings",
    "make_run_settings",
    "read_run_settings",
]

Triple = tuple[float, float, float]
Words = tuple[str, ...]
Variant = Literal["torchray", "caffe", "square"]


def _first_score(others: Mapping[str, Any]) -> str:
    """What decides unless another score is declared, by the fields before it."""
    protocols, thresholds = others.get("protocols", ()), others.get("thresholds", 0)
    if protocols:
        return f"iou@{protocols[0]}"
    return "iou@chosen" if thresholds and others.get("rules") else "energy@boxes"


class RunSettings(Settings):
    """All settings of one evaluation. Make them with `make_run_settings` or `read_run_settings`.

    Fields in `ASKING` say what the network is asked about stored maps. Fields in `FREE` say where and how it runs: they may change when a run is continued, for rows do not depend on them.
    Fields in `MEASURING` belong to the measure stage, which can be run again on stored maps. All others name the maps.
    """

    noun: ClassVar = "run"
    wholes: ClassVar = {
        "mean": "three numbers",
        "std": "three numbers",
        "methods": 'a list of methods, e.g. ["cam", "grad-cam@layer4"]',
        "protocols": 'a list of box protocols, e.g. ["yang2025"]',
        "pointing": 'a list of "torchray", "caffe", "square"',
        "rules": 'a list of "min-max", "max"',
        "ask": 'a list of words, e.g. ["faithfulness", "sanity"]',
    }

    model: str = Field(
        min_length=1,
        description="resnet50, timm:NAME, hf:NAME, FILE.py:function, or the folder of a trained network.",
    )
    data: str = Field(
        min_length=1,
        description="The data set with its options; `saliscope data list` has them, folder:PATH is your own.",
    )
    split: str = Field("test", min_length=1, description="Which part of the data is evaluated.")
    tune: str | None = Field(
        None,
        description="Part of the data on which thresholds are chosen, e.g. val; it is explained too.",
    )
    methods: Words = Field(
        (),
        description="What is evaluated: name, name@layer, name@layer:option=value; default: CAM where the network allows it, and Grad-CAM.",
    )
    trivial: bool = Field(
        True, description="Add the rows that know no network: random, centre, edges, boxes alone."
    )
    target: Literal["truth", "predicted", "both"] = Field(
        "truth",
        description="Which class is explained: the image's own, the predicted one, or both.",
    )
    target_space: Literal["logit", "probability", "log-probability"] = Field(
        "logit", description="Explain the logit, the softmax probability, or its logarithm."
    )
    weights: str = Field(
        "pretrained", description='"pretrained", "untrained", or a file of tensors.'
    )
    labels: str | None = Field(
        None, description="Class names of the network in order: a file, one a line or JSON."
    )
    num_classes: int | None = Field(
        None, ge=1, description="Number of classes, for untrained weights."
    )
    size: str | None = Field(
        None, description="Input pixels, 224 or HxW; default: the network's own."
    )
    mean: Triple | None = Field(None, description="RGB mean of pixels in [0, 1].")
    std: Triple | None = Field(None, description="RGB standard deviation.")
    resize: Literal["squash", "crop", "letterbox"] | None = Field(
        None, description="How a photograph becomes an input."
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32", description="Arithmetic of the network's copy."
    )
    protocols: Words = Field(
        ("yang2025", "cam2016", "gradcam2017"), description="How heatmaps become boxes."
    )
    rules: tuple[Literal["min-max", "max"], ...] = Field(
        ("min-max",), description="Normalisations under which all thresholds are swept."
    )
    thresholds: int = Field(
        1000, ge=0, le=10_000, description="Thresholds of the sweep, 0 to leave it out."
    )
    pointing: tuple[Variant, ...] = Field(
        ("torchray", "caffe", "square"), description="Variants of the pointing game."
    )
    wsol: bool = Field(
        False, description="Also score exactly as the wsolevaluation program does (slow)."
    )
    ask: Words = Field(
        (),
        description="What the network is asked about the maps: faithfulness, robustness, evidence, sanity, all, or single metrics "
        "(`saliscope metrics`); default: nothing.",
    )
    ask_seeds: int = Field(
        1, ge=1, le=100, description="Seeds of what is drawn while asking; three show a spread."
    )
    ask_precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Arithmetic of the network that is asked."
    )
    sanity_images: int = Field(
        24, ge=2, description="Images whose maps are followed while the network forgets."
    )
    primary: str = Field(
        default_factory=_first_score,
        description="The score that decides, declared before the run: METRIC@PROTOCOL, `iou@chosen` for thresholds chosen on --tune; "
        "default: IoU by the first protocol.",
    )
    reference: str | None = Field(
        None, description="The method that all others are compared with; default: the first."
    )
    margin: float | None = Field(
        None, gt=0, description="The largest difference of the primary score that does not matter."
    )
    root: str | None = Field(
        None, description="Folder of the unpacked data; default: the cache folder."
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="Only so many images, drawn by the hash of their ids; more may follow later.",
    )
    shard: str | None = Field(
        None, description="Only the i-th of n parts, written i/n, counted from 1."
    )
    batch_size: int | None = Field(
        None, ge=1, description="Images a batch and a file; default: 8 on a CPU, 64 on a GPU."
    )
    memory: str | None = Field(
        None,
        description="What methods that ask the network again may have in flight, e.g. 2GB; default: 1GiB.",
    )
    device: str | None = Field(None, description="cpu or cuda; the GPU is used where there is one.")
    workers: int | None = Field(
        None, ge=1, description="Processes; default: one for the network, one a core to measure."
    )
    engine: Literal["local", "ray"] = Field("local", description="This machine, or a Ray cluster.")
    address: str | None = Field(
        None, description="Address of the Ray cluster; default: the one that is here, or a new one."
    )

    @field_validator(
        "methods", "protocols", "pointing", "rules", "ask", "mean", "std", mode="before"
    )
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return tuple(given) if isinstance(given, list) else given  # what TOML and JSON have

    @field_validator("size", mode="before")
    @classmethod
    def _text(cls, given: Any) -> Any:
        if isinstance(given, int) and not isinstance(given, bool):
            return str(given)
        text = "x".join(map(str, given)) if isinstance(given, list | tuple) else given
        height, _, width = text.partition("x") if isinstance(text, str) else ("", "", "")
        return height if height and height == width else text  # one way to write a square

    @field_validator("memory", mode="before")
    @classmethod
    def _memory(cls, given: Any) -> Any:
        if given is None:
            return None
        from saliscope.engine import memory_in_bytes  # it brings torch

        try:
            memory_in_bytes(given)
        except SaliscopeError as err:
            raise wrong(str(err)) from None
        return str(given)

    @field_validator("methods", mode="after")
    @classmethod
    def _methods(cls, given: Words) -> Words:
        from saliscope.methods import (
            parse_method,  # not at import: it brings torch, and --help is quick
        )

        return _each(given, parse_method)

    @field_validator("protocols", mode="after")
    @classmethod
    def _protocols(cls, given: Words) -> Words:
        from saliscope.localization import parse_protocol

        return _each(given, parse_protocol)

    @field_validator("ask", mode="after")
    @classmethod
    def _ask(cls, given: Words) -> Words:
        from saliscope.runs.questions import check_words

        try:
            return check_words(given)
        except SaliscopeError as err:
            raise wrong(f"not all of it can be asked: {err}") from None

    @field_validator("shard", mode="after")
    @classmethod
    def _shard(cls, given: str | None) -> str | None:
        part, slash, parts = (given or "1/1").partition("/")
        if not (slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
            raise wrong("must be i/n with 1 <= i <= n, e.g. 1/4")
        return given

    @field_validator("reference", mode="after")
    @classmethod
    def _reference(cls, given: str | None) -> str | None:
        from saliscope.methods import parse_method

        return None if given is None else _each((given,), parse_method)[0]

    @model_validator(mode="after")
    def _apart(self) -> RunSettings:
        if self.tune == self.split:
            raise wrong(
                f'tune is "{self.tune}", but that is the split that is evaluated; choose thresholds on another, e.g. val'
            )
        return self

    @property
    def slot(self) -> tuple[int, int]:
        """The shard as (position from 0, number of shards)."""
        part, _, parts = (self.shard or "1/1").partition("/")
        return int(part) - 1, int(parts)

    def explaining(self) -> dict[str, Any]:
        """The fields that decide the maps."""
        return self.model_dump(mode="json", exclude=set(FREE | MEASURING | ASKING | DECLARED))

    def measuring(self) -> dict[str, Any]:
        """The fields that decide the scores of given maps."""
        return self.model_dump(mode="json", include=set(MEASURING))

    def asking(self) -> dict[str, Any]:
        """The fields that decide what the network is asked about given maps."""
        return self.model_dump(mode="json", include=set(ASKING))

    def declared(self) -> dict[str, Any]:
        """The fields that say beforehand what will count."""
        return self.model_dump(mode="json", include=set(DECLARED))


FREE = frozenset(
    {"root", "limit", "shard", "batch_size", "memory", "device", "workers", "engine", "address"}
)
MEASURING = frozenset({"protocols", "rules", "thresholds", "pointing", "wsol"})
ASKING = frozenset({"ask", "ask_seeds", "ask_precision", "sanity_images"})
DECLARED = frozenset({"primary", "reference", "margin"})


def _each(given: Words, parse: Any) -> Words:
    """Each word as it is written everywhere, the same one once; a wrong one says what is wrong with it."""
    found = []
    for word in given:
        try:
            found.append(str(parse(word)))
        except SaliscopeError as err:
            raise wrong(f"not all of it can be used: {err}") from None
    return tuple(dict.fromkeys(found))


def make_run_settings(**values: Any) -> RunSettings:
    """Settings from fields by name; raises `OptionError`, a line for each wrong field."""
    return make_settings(RunSettings, values)


def read_run_settings(file: str | os.PathLike[str], /, **overrides: Any) -> RunSettings:
    """Settings from a TOML file, with `overrides` in place of its fields.

    Raises `OptionError` for an unknown field or value, with the file and line; `DataError` for a file that is no TOML.
    """
    name = os.fspath(file)
    missing = f"there is no file {name}; `saliscope evaluate --print-config` writes one"
    text = settings_text(name, noun="run", missing=missing)
    return read_settings(RunSettings, name, text, overrides)
