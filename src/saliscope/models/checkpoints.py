"""Weights in files: read them without running code, fit them to a network, tell networks apart."""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saliscope.errors import DataError

if TYPE_CHECKING:
    import os

__all__ = [
    "Checkpoint",
    "fingerprint",
    "infer_num_classes",
    "load_weights",
    "named_as",
    "read_checkpoint",
]

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
_WRAPPERS = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params",
    "state_dict_ema", "model_ema", "ema",
)  # fmt: skip
# What torch.load raises on bytes that are no archive, or on part of one, besides UnpicklingError.
_BROKEN = (
    RuntimeError, EOFError, ValueError, LookupError, OSError, TypeError, AttributeError, struct.error,
)  # fmt: skip
_PREFIXES = ("module.", "_orig_mod.", "model.")
# DenseNet files from before torch 0.4 say "norm.1" where the modules are called "norm1".
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of a weights file, unwrapped, with the names they have in it."""

    file: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(file: str | os.PathLike[str]) -> Checkpoint:
    """Read a weights file: .safetensors, or what `torch.save` wrote (.pt, .pth, .bin, .ckpt), without running code.

    Tensors may lie under "state_dict", "model", "model_state_dict" or "ema"; of a file with several, the plain
    weights win over the averaged ones. Raises DataError for a file that is missing, cut short, no checkpoint, or
    that holds Python objects instead of tensors.
    """
    path = Path(file)
    if not path.is_file():
        raise DataError(
            f"there is no weights file {path}: give a file with one of the suffixes {', '.join(_SUFFIXES)}"
        )
    if path.suffix.lower() not in _SUFFIXES:
        raise DataError(
            f"weights file {path} has an unknown kind: give one of {', '.join(_SUFFIXES)}, written by safetensors "
            "or torch.save"
        )
    loaded = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    found = _unwrap(loaded)
    if found is None:
        raise DataError(
            f"weights file {path} holds {_contents(loaded)} instead of named tensors: save "
            "module.state_dict(), or use safetensors"
        )
    tensors = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    return Checkpoint(path, tensors, getattr(found, "_metadata", {}))


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Mapping[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as err:
        raise DataError(
            f"weights file {path} is no safetensors file or was cut short ({err}): download or save it again"
        ) from err
    return tensors


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about archives that it then refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        # "Unsupported operand" is a pickle of a kind that torch never wrote, or no pickle at all.
        if "Unsupported operand" not in str(err) or _starts_like_a_pickle(path):
            raise DataError(
                f"weights file {path} holds Python objects that would run code when loaded: save only tensors, "
                "torch.save(module.state_dict(), FILE), or use safetensors"
            ) from err
        raise DataError(_broken(path)) from err
    except _BROKEN as err:
        if "TorchScript" in str(err):
            raise DataError(
                f"weights file {path} is a TorchScript program, not weights: save module.state_dict() with "
                "torch.save, or use safetensors"
            ) from err
        raise DataError(_broken(path)) from err


def _starts_like_a_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(1) == b"\x80"


def _broken(path: Path) -> str:
    return (
        f"weights file {path} is no checkpoint or was cut short ({path.stat().st_size:,} bytes): download or save "
        "it again, with torch.save(module.state_dict(), FILE) or safetensors"
    )


def _unwrap(loaded: Any) -> Mapping[Any, Any] | None:
    if not isinstance(loaded, Mapping):
        return None
    for key in _WRAPPERS:
        inner = loaded.get(key)
        if isinstance(inner, Mapping) and (found := _unwrap(inner)) is not None:
            return found
    return loaded if any(isinstance(value, Tensor) for value in loaded.values()) else None


def _contents(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        keys = ", ".join(repr(key) for key in list(loaded)[:6])
        return f"a dict with the keys {keys or '(none)'}"
    return f"a {type(loaded).__name__}"


def load_weights(module: nn.Module, file: str | os.PathLike[str] | Checkpoint) -> None:
    """Load a weights file into a module, in place; the module keeps its dtype (a float16 file is widened).

    Prefixes that wrappers leave ("module.", "_orig_mod.", "model.") are stripped when that makes the names fit.
    Every parameter must be in the file and every tensor of the file must have a place, else DataError lists the
    first that do not fit, and the module is as it was.
    """
    checkpoint = file if isinstance(file, Checkpoint) else read_checkpoint(file)
    own = module.state_dict()
    tensors = _fit(checkpoint.tensors, own.keys())
    shapes = {k: (v, own[k]) for k, v in tensors.items() if k in own and v.shape != own[k].shape}
    if shapes:
        raise DataError(_misshapen(checkpoint.file, shapes))
    before = {key: value.clone() for key, value in own.items() if isinstance(value, Tensor)}
    missing, unexpected = _load(module, tensors, _metadata(module, checkpoint))
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        module.load_state_dict(before, strict=False)
        parts = [f"it lacks {_first(missing)}"] if missing else []
        parts += [f"it has {_first(unexpected)} too many"] if unexpected else []
        raise DataError(
            f"weights file {checkpoint.file} does not fit {type(module).__name__}: {' and '.join(parts)}; "
            "check that it was saved from this network, with the same options"
        )


def _load(
    module: nn.Module, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    state = OrderedDict(tensors)
    state._metadata = metadata  # type: ignore[attr-defined]  # where load_state_dict looks for versions
    result = module.load_state_dict(state, strict=False)
    return list(result.missing_keys), list(result.unexpected_keys)


def _metadata(module: nn.Module, checkpoint: Checkpoint) -> Mapping[str, Any]:
    # MNASNet refuses to load without a version; a file that has none is taken to be of the current one.
    return checkpoint.metadata or {"": {"version": getattr(module, "_version", None)}}


def named_as(module: nn.Module, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a weights file under the names that fit a module best, as `load_weights` finds them.

    Nothing is left out but counters; names that the module does not have stay among them, and shapes may differ.
    """
    return _fit(checkpoint.tensors, module.state_dict().keys())


def _fit(tensors: Mapping[str, Tensor], own: Any) -> dict[str, Tensor]:
    wanted = set(own)
    best = max(_renamings(list(tensors)), key=lambda names: len(wanted & set(names.values())))
    return {
        name: tensors[key] for key, name in best.items()
        if name != "n_averaged" or name in wanted  # a counter of torch's weight averaging
    }  # fmt: skip


def _renamings(keys: list[str]) -> Iterator[dict[str, str]]:
    plain = {key: key for key in keys}
    yield plain
    if any(map(_OLD_DENSENET.match, keys)):
        yield {key: _OLD_DENSENET.sub(r"\1\2", key) for key in keys}
    yield from _stripped(plain, depth=3)


def _stripped(names: dict[str, str], *, depth: int) -> Iterator[dict[str, str]]:
    for prefix in _PREFIXES if depth else ():
        if any(name.startswith(prefix) for name in names.values()):
            shorter = {key: name.removeprefix(prefix) for key, name in names.items()}
            yield shorter
            yield from _stripped(shorter, depth=depth - 1)


def _misshapen(file: Path, shapes: Mapping[str, tuple[Tensor, Tensor]]) -> str:
    shown = [
        f"{key} is {tuple(a.shape)} in the file, {tuple(b.shape)} in the network"
        for key, (a, b) in list(shapes.items())[:3]
    ]
    more = f" (and {len(shapes) - 3} more)" if len(shapes) > 3 else ""
    heads = [a.shape[0] for a, b in shapes.values() if a.ndim and a.shape[1:] == b.shape[1:]]
    hint = f"; build the network with num_classes={heads[0]}" if len(heads) == len(shapes) else ""
    return f"weights file {file} does not fit: {', '.join(shown)}{more}{hint}"


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more


def infer_num_classes(
    file: str | os.PathLike[str] | Checkpoint, module: nn.Module | None = None
) -> int | None:
    """Read from a weights file how many classes it was trained for, or None where nothing tells.

    The answer is the first dimension of the classifier's weight: of the last linear layer or 1x1 convolution of
    `module`, looked up by name in the file; without it, of the file's own last such tensor that has a bias.
    """
    checkpoint = file if isinstance(file, Checkpoint) else read_checkpoint(file)
    if module is not None:
        tensors = _fit(checkpoint.tensors, module.state_dict().keys())
        for head in _heads(module):
            weight = tensors.get(f"{head}.weight")
            if weight is not None and weight.ndim >= 2:
                return int(weight.shape[0])
    last = [
        value for key, value in checkpoint.tensors.items()
        if key.endswith("weight") and _is_head(value) and key[:-6] + "bias" in checkpoint.tensors
    ]  # fmt: skip
    return int(last[-1].shape[0]) if last else None


def _heads(module: nn.Module) -> list[str]:
    config = getattr(module, "pretrained_cfg", None) or {}
    named = config.get("classifier") or ()
    layers = [
        name for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1))
    ]  # fmt: skip
    return [*([named] if isinstance(named, str) else named), *layers[-1:]]


def _is_head(value: Tensor) -> bool:
    return value.ndim == 2 or (value.ndim == 4 and value.shape[2:] == (1, 1))


def fingerprint(module: nn.Module) -> str:
    """Name a network's weights by 16 hex digits: equal for equal names, types, shapes and values.

    SHA-256 over all parameters and buffers; independent of device, memory layout and `requires_grad`.
    """
    digest = hashlib.sha256()
    tensors = dict([*module.named_parameters(), *module.named_buffers()])
    for key, value in sorted(tensors.items(), key=lambda item: item[0]):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)};".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
