"""Recipes: every number of a training, in one value that a file, a flag and a saved network share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from saliscope.errors import nearest
from saliscope.settings import (
    Settings,
    make_settings,
    read_settings,
    settings_text,
    settings_toml,
    wrong,
)

__all__ = ["Recipe", "make_recipe", "read_recipe", "recipe_names", "recipe_toml"]

Triple = tuple[float, float, float]
Share = Annotated[float, Field(ge=0, lt=1)]


class Recipe(Settings):
    """All settings of one training; frozen, compared by value, written to every folder that a training makes.

    Make one with `read_recipe` or `make_recipe`, which raise `OptionError` with one line for each wrong field.
    """

    noun: ClassVar = "recipe"
    wholes: ClassVar = {"mean": "three numbers", "std": "three numbers", "fresh": "a list of names"}

    name: str = Field(min_length=1, description="What the recipe is called.")
    weights: str = Field(
        "pretrained",
        min_length=1,
        description='Where the values come from: "pretrained", "untrained", a weights file, or a folder of a trained network.',
    )
    size: int = Field(224, ge=8, description="Height and width of the network's input in pixels.")
    resize: Literal["squash", "crop", "letterbox"] = Field(
        "squash", description="How a photograph becomes a square."
    )
    mean: Triple = Field((0.0, 0.0, 0.0), description="Subtracted from pixels in [0, 1], RGB.")
    std: Triple = Field((1.0, 1.0, 1.0), description="Divides after that, RGB.")
    augment: Literal["none", "flip", "light", "standard"] = Field(
        "none",
        description=(
            '"flip": left and right; "light": also shift and scale within 15 %, brightness and contrast; '
            '"standard": random part of 35 to 100 % of the area, flip, colours.'
        ),
    )
    optimizer: Literal["sgd", "adamw"] = Field(description="Which optimizer takes the steps.")
    learning_rate: float = Field(gt=0, description="Size of the steps, at its highest.")
    head_learning_rate: float | None = Field(
        None, gt=0, description="Size of the steps of the newly made layers, where it differs."
    )
    momentum: Share = Field(0.0, description="Momentum of sgd.")
    weight_decay: float = Field(0.0, ge=0, description="Pull of the weights towards zero.")
    batch_size: int = Field(ge=1, description="Images a step, over all devices together.")
    epochs: int = Field(ge=1, description="How often every image is seen.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description='"cosine" lowers the learning rate to zero, step by step.'
    )
    warmup_epochs: float = Field(
        0.0, ge=0, description="Epochs over which the learning rate rises from zero."
    )
    label_smoothing: Share = Field(
        0.0, description="Share of each label spread over all classes alike."
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of a running average of the weights, which is then what is validated and kept.",
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32", description='Numbers of the passes; "auto": bfloat16 where the hardware has it.'
    )
    keep: Literal["best-validation-loss", "best-validation-accuracy", "last"] = Field(
        "best-validation-loss", description="Which epoch's weights are kept."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Decides everything that is random.")
    validation: Share = Field(
        0.1, description="Share of train held out where the data has no validation split."
    )
    freeze: str | None = Field(
        None,
        description='Layer: all that runs up to and including it keeps its values; "none" for nothing.',
    )
    fresh: tuple[str, ...] = Field(
        (), description="Modules that start anew; the head does wherever its size differs."
    )
    batch_norms: Literal["auto", "learn", "keep"] = Field(
        "auto",
        description=(
            'Statistics of batch norms: "learn" from the batches; "keep" those of the weights; "auto" keeps only those that '
            "were folded into convolutions, whose function batch statistics would change."
        ),
    )
    workers: int | None = Field(
        None, ge=0, description="Processes that read images; by default as many as there are cores."
    )
    cache: Literal["memory", "none"] = Field(
        "memory",
        description="Keep the decoded images in memory where they fit, or read them again.",
    )

    @field_validator("mean", "std", "fresh", mode="before")
    @classmethod
    def _listed(cls, given: Any) -> Any:
        return tuple(given) if isinstance(given, list) else given  # what TOML and JSON have

    @field_validator("mean", mode="after")
    @classmethod
    def _mean(cls, given: Triple) -> Triple:
        if not all(0 <= value <= 1 for value in given):
            raise wrong("must be three numbers in [0, 1]: pixels are divided by 255 first")
        return given

    @field_validator("std", mode="after")
    @classmethod
    def _std(cls, given: Triple) -> Triple:
        if not all(value > 0 for value in given):
            raise wrong("must be three numbers above 0")
        return given

    @field_validator("freeze", mode="before")
    @classmethod
    def _freeze(cls, given: Any) -> Any:
        return None if given in ("none", "") else given  # a flag can take back what a recipe says

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.optimizer == "adamw" and self.momentum:
            raise wrong(f"momentum {self.momentum} belongs to sgd; leave it out with adamw")
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise wrong(
                f"warmup_epochs {self.warmup_epochs:g} must be less than epochs {self.epochs}"
            )
        return self


def recipe_names() -> tuple[str, ...]:
    """List the recipes that come with saliscope."""
    found = (file.name for file in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def read_recipe(recipe: str | os.PathLike[str], /, **overrides: Any) -> Recipe:
    """Read a recipe by its name (`recipe_names`) or from a TOML file; `overrides` replace its fields.

    A file may leave out `name`, which is then its own. Raises `OptionError` for an unknown recipe, field or value: one
    line for each, with the file and line that it stands in; `DataError` for a file that is no TOML.
    """
    file, text = _read(recipe)
    return read_settings(Recipe, file, text, overrides, name=Path(file).stem)


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """Make a recipe from its fields by name.

    Raises `OptionError`, one line for each wrong field: the value given, what is allowed, the nearest name.
    """
    return make_settings(Recipe, values)


def recipe_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML, one field a line; reading it gives an equal recipe. Fields that are off are left out."""
    return settings_toml(recipe)


def _folder() -> Any:
    return files("saliscope.training") / "recipes"


def _read(recipe: str | os.PathLike[str]) -> tuple[str, str]:
    given = os.fspath(recipe)
    if given in recipe_names():
        return f"{given}.toml", (_folder() / f"{given}.toml").read_text(encoding="utf-8")
    missing = (
        f'no recipe is called "{given}" and there is no such file; {nearest(given, recipe_names())}; give a name or '
        "a TOML file"
    )
    return given, settings_text(given, noun="recipe", missing=missing)
