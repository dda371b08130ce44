"""What a method is: a small frozen value that knows its facts and turns evidence into a map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from torch import Tensor

from saliscope.errors import MethodError

__all__ = ["Evidence", "Method"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one capture holds for one layer and one target of each image; maps are made from this and nothing else.

    `inputs` is the batch (B, C, H, W) in float32. `activation` and `gradient` are (B, C, h, w), in the network's
    precision, None where the method asked for neither; `class_weights` (B, C) are the head's weights for the target.
    """

    inputs: Tensor
    activation: Tensor | None = None
    gradient: Tensor | None = None
    class_weights: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to make maps. Class attributes state its facts; fields are the options a user may set.

    `reads` names what it needs of a capture: nothing but the `inputs`, the `head` of a pooling + linear network, or the
    `gradients` at a layer. `class_discriminative`: another target gives another map. `signed`: values below zero speak
    against the target. `passes`: what it costs. `paper` and `equation` say where it is defined.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    family: ClassVar[str]
    reads: ClassVar[Literal["inputs", "head", "gradients"]]
    class_discriminative: ClassVar[bool]
    signed: ClassVar[bool]
    passes: ClassVar[str]
    paper: ClassVar[str]
    equation: ClassVar[str]

    @property
    def on_layer(self) -> bool:
        """Whether a map is read from a layer of the network."""
        return self.reads != "inputs"

    @abstractmethod
    def signed_map(self, evidence: Evidence) -> Tensor:
        """Make the map (B, h, w), float32, before any ReLU."""

    def finish(self, signed: Tensor) -> Tensor:
        """Apply the ReLU of the method's definition, if it has one and it is not switched off."""
        return signed.relu() if getattr(self, "relu", False) else signed

    def options(self) -> dict[str, object]:
        """The options that differ from their defaults."""
        return {
            f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default
        }

    def __str__(self) -> str:
        return "".join([self.name, *(f":{k}={_text(v)}" for k, v in self.options().items())])


def needed(value: Tensor | None, what: str, method: Method) -> Tensor:
    """The piece of evidence a method cannot do without."""
    if value is None:
        raise MethodError(f"{method.title} needs {what}, and this capture holds none")
    return value


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
