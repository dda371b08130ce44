"""A network with all that is needed to explain it."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from saliscope.engine import (
    Network,
    Prepared,
    Survey,
    out_of_memory,
    prepare,
    shadow,
    survey,
    unwrap,
)
from saliscope.errors import ModelError, OptionError, SaliscopeError, TargetError, nearest
from saliscope.frames import Frame
from saliscope.images import Photo
from saliscope.models.labels import find_label
from saliscope.models.layers import Layer, describe_layers, layer_name
from saliscope.models.outputs import logits_of
from saliscope.models.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Interpolation,
    Preprocessing,
    Resize,
)

log = logging.getLogger(__name__)

__all__ = ["Model", "Precision", "usable_device"]

Precision = Literal["float32", "bfloat16", "auto"]


class Model:
    """Any `torch.nn.Module` classifier, with its preprocessing, labels and a faster copy made at first use.

    The module is never changed and never run in training mode: explanations come from a private copy, with batch norms
    folded and memory laid out channels-last (`prepare=True`), which is checked against the original and made anew when
    the module's parameters have changed since. `precision` is "float32", "bfloat16", or "auto": bfloat16 where
    the hardware multiplies it natively and the map is read at a pooling + linear head, float32 elsewhere.

    `size` is the input height and width in pixels, one number for a square; `mean` and `std` are RGB for pixels in
    [0, 1]; `resize` is "squash", "crop" or "letterbox"; `preprocessing` replaces all of these. `labels` names the classes
    in order. `device` moves the copies ("cuda", "cpu"); None stays where the module is. Raises `ModelError` for what is
    no module, `OptionError` for settings out of range.
    """

    def __init__(
        self,
        module: nn.Module,
        size: int | tuple[int, int] = 224,
        *,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        resize: Resize = "squash",
        shorter: int | None = None,
        interpolation: Interpolation = "bilinear",
        preprocessing: Preprocessing | None = None,
        labels: Sequence[str] | None = None,
        precision: Precision = "float32",
        prepare: bool = True,
        name: str | None = None,
        weights: str = "as given",
        device: str | torch.device | None = None,
    ) -> None:
        self.module = unwrap(module)
        self.preprocessing = preprocessing or Preprocessing(
            (size, size) if isinstance(size, int) else (size[0], size[1]),
            tuple(mean),  # type: ignore[arg-type] # a list of three is welcome; Preprocessing checks the length
            tuple(std),  # type: ignore[arg-type] # likewise
            resize,
            shorter,
            interpolation,
        )
        if isinstance(labels, str):
            raise OptionError(
                f'labels are a list of names, one for each class; got the text "{labels[:40]}"'
            )
        self.labels = tuple(map(str, labels)) if labels is not None else None
        self.name = name or type(self.module).__name__
        self.weights = weights
        self.precision = _precision(precision)
        self.device = usable_device(device) if device is not None else _device_of(self.module)
        self._prepare = prepare
        self._lock = threading.RLock()
        self._state: tuple[Any, ...] = ()
        self._survey: Survey | None = None
        self._networks: dict[tuple[torch.dtype, frozenset[str]], Prepared] = {}

    def __repr__(self) -> str:
        height, width = self.preprocessing.size
        classes = f", {len(self.labels)} labels" if self.labels is not None else ""
        return (
            f"<Model {self.name}: {self.weights}, {self.preprocessing.resize} to {height}x{width}{classes}, "
            f"{self.precision} on {self.device}>"
        )

    @property
    def title(self) -> str:
        """The name with the weights it runs on, as pictures and tables show it."""
        return self.name if self.weights == "as given" else f"{self.name} ({self.weights})"

    @property
    def survey(self) -> Survey:
        """What one pass of noise through the module showed: its layers, its head, its recommended layer.

        Raises `ModelError` where the network does not run on inputs of the size that pictures are brought to.
        """
        with self._lock:
            self._notice_changes()
            if self._survey is None:
                with _neutral(self.module):
                    found = self._surveyed()
                self._check(found.logits)
                self._survey = found
            return self._survey

    def refresh(self) -> None:
        """Forget the private copies: for changes that leave no trace, as `parameter.data.mul_()`, `norm.eps = ...`."""
        with self._lock:
            self._state, self._survey, self._networks = (), None, {}

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that a map can be read from, in the order they finish."""
        return describe_layers(self.module, self.survey, self.preprocessing.size)

    @property
    def num_classes(self) -> int:
        """How many classes the network tells apart."""
        return int(self.survey.logits.shape[1])

    def layer_name(self, layer: str | nn.Module) -> str:
        """Resolve a native name, Keras alias or module to the native name; raises `LayerError`."""
        return layer_name(self.module, layer)

    def network(self, layers: Sequence[str] = ()) -> Network:
        """The private copy to capture `layers` from; a layer changed by folding gets a copy without that folding."""
        return self.prepared(layers).network

    def prepared(self, layers: Sequence[str] = ()) -> Prepared:
        """Like `network`, with what was done to the copy."""
        with self._lock:
            facts = self.survey
            dtype = self._dtype_for(facts, layers)
            standard = self._networks.get((dtype, frozenset()))
            if standard is None:
                standard = self._networks[dtype, frozenset()] = self._make(facts, dtype, ())
            changed = frozenset(layers) & standard.changed
            if (dtype, changed) not in self._networks:
                self._networks[dtype, changed] = self._make(facts, dtype, sorted(changed))
            return self._networks[dtype, changed]

    def _dtype_for(self, facts: Survey, layers: Sequence[str]) -> torch.dtype:
        """The precision to capture these layers in.

        Rounding the forward pass to bfloat16 opens and closes ReLUs near zero, and a gradient through many of them
        moves far (docs/speed.md); a map at a pooling + linear head passes none. "auto" takes bfloat16 only there.
        """
        if self.precision == "bfloat16":
            return torch.bfloat16
        exact = facts.head is not None and set(layers) <= set(facts.head.layers)
        fast = self.precision == "auto" and exact and _multiplies_bfloat16(self.device)
        return torch.bfloat16 if fast else torch.float32

    def inputs(self, photos: Sequence[Photo]) -> tuple[Tensor, list[Frame]]:
        """Preprocess photographs to one batch, float32 (B, 3, h, w) on the model's device, and their frames."""
        arrays, frames = zip(*(self.preprocessing(p.pixels) for p in photos), strict=True)
        return torch.from_numpy(np.stack(arrays)).to(self.device), list(frames)

    def class_index(self, target: int | str) -> int:
        """Resolve a class given by index, or by label (nearest matches in the error) to its index.

        Raises `TargetError` for an unknown label, for a label where the model has none, and for an index outside.
        """
        if isinstance(target, str) and not target.strip().lstrip("-").isdigit():
            if self.labels is None:
                raise TargetError(
                    f'class "{target}" was given by name, but {self.name} has no labels; give its index, or the labels'
                )
            return find_label(target, self.labels)
        if isinstance(target, bool) or not (
            isinstance(target, str) or hasattr(target, "__index__")
        ):
            raise TargetError(f"a class is an index or a label; got {target!r}")
        index = int(target)
        if not 0 <= index < self.num_classes:
            raise TargetError(
                f"class {index} is outside the {self.num_classes} classes of {self.name} (0 to {self.num_classes - 1})"
            )
        return index

    def label(self, index: int) -> str | None:
        """The name of a class, None where the model has no labels for it."""
        return self.labels[index] if self.labels is not None and index < len(self.labels) else None

    def _surveyed(self) -> Survey:
        noise = self._noise()
        try:
            return survey(self.module, noise, read=logits_of)
        except Exception as err:  # a network may raise anything
            if not _may_be_of_size(err) or _runs_on(self.module, noise):
                raise
            height, width = self.preprocessing.size
            raise ModelError(
                f"{self.name} does not run on pictures of {height} x {width} ({type(err).__name__}: {err}); give the size that it was "
                "built for (--size HEIGHTxWIDTH), or leave --size out"
            ) from err

    def _check(self, logits: Tensor) -> None:
        """Refuse labels of another number than the classes; say that a network ends in a softmax."""
        classes = logits.shape[1]
        if self.labels is not None and len(self.labels) != classes:
            raise OptionError(
                f"{len(self.labels)} labels for the {classes} classes of {self.name}; give one for each class, in order"
            )
        rows = logits.float()
        if classes > 1 and bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 1e-3).all()):
            log.warning(
                "%s returns probabilities: its logits are hidden behind a softmax, and that is what is explained; "
                "return the logits instead",
                self.name,
            )

    def _make(self, facts: Survey, dtype: torch.dtype, keep: Sequence[str]) -> Prepared:
        with _neutral(self.module):
            made = self._made(facts, dtype, keep)
        made.network.colours = self.preprocessing.black_and_white
        return made

    def _made(self, facts: Survey, dtype: torch.dtype, keep: Sequence[str]) -> Prepared:
        noise = self._noise()
        if not self._prepare:
            twin = shadow(self.module).to(self.device, dtype)
            return Prepared(Network(twin, read=logits_of, survey=facts, dtype=dtype))
        module = self.module
        if _device_of(module) != self.device:
            module = shadow(module, share=False).to(self.device)
        make = partial(prepare, module, noise.to(self.device), facts, read=logits_of)
        return make(dtype=dtype, keep=keep)

    def _noise(self) -> Tensor:
        """Two inputs of noise, in the module's own device and precision."""
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(2, 3, *self.preprocessing.size, generator=generator)
        parameter = next(self.module.parameters(), None)
        return noise if parameter is None else noise.to(parameter.device, parameter.dtype)

    def _notice_changes(self) -> None:
        """Forget the copies when a module, parameter or buffer was replaced or written to since they were made."""
        state = tuple(map(_fingerprint, self.module.modules()))
        if state != self._state:
            self._state, self._survey, self._networks = state, None, {}

    def in_precision(self, precision: Precision) -> Model:
        """The same model with its copies in another precision; itself where it has that one."""
        if precision == self.precision:
            return self
        other = Model.__new__(Model)
        other.__setstate__(self.__getstate__() | {"precision": _precision(precision)})
        return other

    def __getstate__(self) -> dict[str, Any]:
        kept = {k: v for k, v in self.__dict__.items() if k != "_lock"}
        return kept | {"_survey": None, "_networks": {}, "_state": ()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())


def _may_be_of_size(err: Exception) -> bool:
    """Whether an error is of a kind that a wrong size gives: what a network raises for it is its own or torch's choice."""
    if isinstance(err, SaliscopeError | NotImplementedError | RecursionError) or out_of_memory(err):
        return False
    return isinstance(err, RuntimeError | ValueError | AssertionError)


def _runs_on(module: nn.Module, inputs: Tensor) -> bool:
    """Whether a network runs on inputs by itself, so that what went wrong around it is not its doing."""
    try:
        shadow(module)(inputs)
    except Exception:  # see above
        return False
    return True


def _precision(given: Precision) -> Precision:
    if given not in get_args(Precision):
        allowed = get_args(Precision)
        raise OptionError(
            f"precision {given!r} is none of {', '.join(map(repr, allowed))}; {nearest(str(given), allowed)}"
        )
    return given


def _fingerprint(module: nn.Module) -> tuple[Any, ...]:
    """What changes when a layer or its tensors are replaced or written to in place."""
    tensors = (*module._parameters.values(), *module._buffers.values())
    return (weakref.ref(module), *(_state_of(t) for t in tensors if t is not None))


def _state_of(tensor: Tensor) -> tuple[Any, ...]:
    version = 0 if tensor.is_inference() else tensor._version
    return weakref.ref(tensor), version, tensor.data_ptr()


@contextmanager
def _neutral(module: nn.Module) -> Iterator[None]:
    """What a network is does not depend on the modes in which it is first used."""
    autocast = torch.autocast(_device_of(module).type, enabled=False)
    with torch.inference_mode(mode=False), torch.no_grad(), autocast:
        yield


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(
        capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    )


def usable_device(device: str | torch.device) -> torch.device:
    """Check that torch can compute on a device here."""
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as err:
        reason = str(err).splitlines()[0][:120]
        raise OptionError(
            f'device "{device}" cannot be used here ({reason}); leave it out, or use cpu, cuda or cuda:1'
        ) from None
    return torch.device(device)


def _device_of(module: nn.Module) -> torch.device:
    parameter = next(module.parameters(), None)
    return parameter.device if parameter is not None else torch.device("cpu")
