"""The one way a method is written: `name`, `name@layer`, `name@layer+layer`, `name@layer:option=value`."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from saliscope.engine import PIXELS
from saliscope.errors import MethodError, nearest
from saliscope.methods.ablation_cam import AblationCAM
from saliscope.methods.attention import AttentionLRP, AttentionRollout
from saliscope.methods.base import Method
from saliscope.methods.cam import CAM
from saliscope.methods.elementwise import HiResCAM, LayerCAM
from saliscope.methods.excitation import MWP, ContrastiveMWP
from saliscope.methods.extremal import ExtremalPerturbation
from saliscope.methods.fem import FEM
from saliscope.methods.finer_cam import FinerCAM
from saliscope.methods.full_grad import FullGrad
from saliscope.methods.grad_cam import GradCAM
from saliscope.methods.gradient_shap import GradientSHAP
from saliscope.methods.guided import DeconvNet, GuidedBackprop, GuidedGradCAM
from saliscope.methods.integrated import IntegratedGradients
from saliscope.methods.kernel_shap import KernelSHAP
from saliscope.methods.le_grad import LeGrad
from saliscope.methods.lime import LIME
from saliscope.methods.lrp import LRP
from saliscope.methods.occlusion import Occlusion
from saliscope.methods.pixels import Gradient, InputXGradient, SmoothGrad, VarGrad
from saliscope.methods.refine_cam import RefineCAM
from saliscope.methods.rise import RISE
from saliscope.methods.score_cam import ISCAM, SSCAM, ScoreCAM
from saliscope.methods.shapley_cam import ShapleyCAM
from saliscope.methods.smooth_grad_cam import SmoothGradCAMPlusPlus
from saliscope.methods.spectral import KPCACAM, EigenCAM, EigenGradCAM
from saliscope.methods.trivial import Centre, Edges, Random, Shuffled
from saliscope.methods.weighted import GradCAMPlusPlus, XGradCAM

__all__ = ["METHODS", "MethodSpec", "layers_of", "make_method", "parse_method"]

_ALL: tuple[type[Method], ...] = (
    *(CAM, GradCAM, GradCAMPlusPlus, XGradCAM, LayerCAM, HiResCAM, EigenCAM, EigenGradCAM),
    *(KPCACAM, FEM, FinerCAM, ShapleyCAM, RefineCAM),
    *(FullGrad, SmoothGradCAMPlusPlus),
    *(Gradient, InputXGradient, SmoothGrad, VarGrad, IntegratedGradients),
    *(DeconvNet, GuidedBackprop, GuidedGradCAM),
    *(MWP, ContrastiveMWP, LRP),
    *(ScoreCAM, SSCAM, ISCAM, AblationCAM),
    *(Occlusion, RISE, LIME, KernelSHAP, GradientSHAP, ExtremalPerturbation),
    *(AttentionRollout, AttentionLRP, LeGrad),
    *(Random, Centre, Edges, Shuffled),
)
METHODS: dict[str, type[Method]] = {m.name: m for m in _ALL}
"""Every method by the name users type."""


@dataclass(frozen=True)
class MethodSpec:
    """A method with its options, and the layer it is read from (None: the one recommended for the network).

    Several layers are written `layer3+layer4`; their maps become one (see `Method.fuse`).

    >>> spec = parse_method("grad-cam@layer4:relu=false")
    >>> spec.method.relu, spec.layer, str(spec)
    (False, 'layer4', 'grad-cam@layer4:relu=false')
    """

    method: Method
    layer: str | None = None
    written: str | None = field(default=None, compare=False)
    """The layer as the user wrote it, where that is an alias; results show it."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers read; none where the method has no layer, or it is yet to be recommended."""
        if self.method.reads == "pixels":
            return (PIXELS,)
        return tuple(self.layer.split("+")) if self.layer else ()

    def __str__(self) -> str:
        name, *options = str(self.method).split(":")
        return ":".join([f"{name}@{self.layer}" if self.layer else name, *options])


def layers_of(specs: Iterable[MethodSpec]) -> list[str]:
    """The layers that all of `specs` read, each once, in order."""
    return list(dict.fromkeys(name for spec in specs for name in spec.layers))


def parse_method(text: str | Method | MethodSpec, *, layer: str | None = None) -> MethodSpec:
    """Read a method as users write it; `layer` is used where the text names none.

    Raises `MethodError` for an unknown method or option, an option of the wrong type, and a layer given to a method that
    has none.
    """
    if isinstance(text, MethodSpec):
        return text if text.layer or not layer else _at(text.method, layer)
    if isinstance(text, Method):
        return _at(text, layer)
    if not isinstance(text, str):
        raise MethodError(
            f"a method is written name, name@layer or name@layer:option=value; got {text!r}. Several: sc.compare"
        )
    head, *assignments = text.strip().split(":")
    name, at, written_layer = head.partition("@")
    if at and not written_layer:
        raise MethodError(f'"{text}" names no layer after "@"; write "{name}@LAYER" or "{name}"')
    if "" in written_layer.split("+") and written_layer:
        raise MethodError(f'"{text}" names no layer beside a "+"; write "{name}@LAYER+LAYER"')
    if not at and assignments and "@" in assignments[-1]:  # no option holds one
        options, _, last = text.strip().removeprefix(name).rpartition("@")
        raise MethodError(f'"{text}" names its layer last; write "{name}@{last}{options}"')
    method = make_method(name, dict(_assignment(a, text) for a in assignments))
    if written_layer and not method.on_layer:
        raise MethodError(
            f'{method.name} is not read from a layer; write "{method}" without "@{written_layer}"'
        )
    return _at(method, written_layer or layer)


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Make a method from its name and options; texts are read as the option's type."""
    if name not in METHODS:
        raise MethodError(
            f'method "{name}" is unknown; {nearest(name, METHODS)}. `saliscope methods` lists them all'
        )
    kind = METHODS[name]
    hints = typing.get_type_hints(kind)
    allowed = [f.name for f in fields(kind)]
    values: dict[str, Any] = {}
    for option, value in (options or {}).items():
        if option not in allowed:
            known = nearest(option, allowed) if allowed else "it has none"
            raise MethodError(f'{name} has no option "{option}"; {known}')
        values[option] = _read(value, hints[option], f"{name}:{option}")
    return kind(**values)


def _at(method: Method, layer: str | None) -> MethodSpec:
    return MethodSpec(method, layer if method.on_layer else None)


def _assignment(text: str, whole: str) -> tuple[str, str]:
    option, equals, value = text.partition("=")
    if not equals or not option or not value:
        raise MethodError(f'"{text}" in "{whole}" is no option; write name@layer:option=value')
    return option.strip(), value.strip()


def _read(value: Any, hint: Any, where: str) -> Any:
    """Check an option's value against its type; a text is converted first."""
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise MethodError(f"{where} is one of {', '.join(map(repr, choices))}; got {value!r}")
        return value
    if hint is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        flag = words.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(flag, bool):
            raise MethodError(f"{where} is true or false; got {value!r}")
        return flag
    try:
        number = hint(value)
    except (TypeError, ValueError):
        number = None
    if (
        number is None
        or isinstance(value, bool)
        or (hint is int and not isinstance(value, int) and number != float(value))
    ):
        raise MethodError(
            f"{where} is {'a whole number' if hint is int else 'a number'}; got {value!r}"
        )
    return number
