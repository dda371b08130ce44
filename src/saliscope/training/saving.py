"""The folder that a training leaves: model.safetensors and model.json, which `load_model(FOLDER)` opens."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saliscope.errors import ModelError, OptionError
from saliscope.files import fresh_name, settle
from saliscope.models.folders import (
    FACTS,
    SCHEMA,
    WEIGHTS,
    file_sha256,
    network_facts,
    read_folder,
)
from saliscope.provenance import versions

if TYPE_CHECKING:
    from saliscope.training.networks import Trainable
    from saliscope.training.recipes import Recipe

__all__ = ["save_half", "save_model"]


def save_model(
    folder: str | os.PathLike[str],
    trainable: Trainable,
    *,
    recipe: Recipe,
    classes: Sequence[str],
    scores: Mapping[str, Any],
    data_name: str,
    data_fingerprint: str,
    history: Sequence[Mapping[str, Any]] = (),
    half: bool = False,
) -> Path:
    """Write the network with all that is needed to open it again, and return the folder.

    Weights are float32 on the CPU, or float16 with `half`. `scores` and `history` (one record an epoch) are what the
    training measured; NaN becomes null. The two files appear together: a process that is killed leaves the old ones, the
    new ones, or no model.json, never a mixture. Raises OptionError where the classes are not the network's, ModelError
    where values do not fit float16 or are not finite.
    """
    if len(classes) != len(trainable.labels):
        raise OptionError(
            f"{len(classes)} classes for a network of {len(trainable.labels)}: give the names in the order of its logits"
        )
    _check_finite(trainable.module)
    facts = {
        "schema": SCHEMA,
        **network_facts(trainable.name, tuple(classes), trainable.preprocessing),
        "start": _start(trainable),
        "recipe": recipe.model_dump(mode="json"),
        "seed": recipe.seed,
        "scores": scores,
        "data": {"name": data_name, "fingerprint": data_fingerprint},
        "history": list(history),
        "versions": versions(),
    }
    return _write(Path(folder), trainable.module.state_dict(), facts, half=half)


def save_half(folder: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Copy a folder that `save_model` wrote to another one, with float16 weights, and return that.

    What was measured with the float32 weights stays as it was. Raises DataError for a folder that is damaged or holds no
    trained network, ModelError where values do not fit float16.
    """
    from safetensors.torch import load_file

    saved = read_folder(folder)
    return _write(Path(target), load_file(saved.weights_file()), saved.facts, half=True)


def _write(folder: Path, state: Mapping[str, Any], facts: Mapping[str, Any], *, half: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    new = fresh_name(folder / WEIGHTS)
    try:
        _write_weights(new, state, half=half)
        weights = {"sha256": file_sha256(new), "dtype": "float16" if half else "float32"}
        whole = _strict({**facts, "weights": weights})
        _place(folder, new, json.dumps(whole, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    finally:
        new.unlink(missing_ok=True)
    return folder


def _start(trainable: Trainable) -> dict[str, Any]:
    """Where the training began: the weights, every tensor that was not taken from them, and what stayed."""
    return {
        "weights": trainable.origin,
        "loaded": sum(entry.state == "loaded" for entry in trainable.report),
        "not_loaded": {e.name: e.state for e in trainable.report if e.state != "loaded"},
        "frozen": trainable.frozen,
        "still_batch_norms": trainable.still,
    }


def _place(folder: Path, new: Path, text: str) -> None:
    """Put both files in place; the old model.json goes first, so that it never speaks of other weights."""
    facts = fresh_name(folder / FACTS)
    try:
        facts.write_text(text, encoding="utf-8")
        (folder / FACTS).unlink(missing_ok=True)
        settle(new, folder / WEIGHTS)
        settle(facts, folder / FACTS)
    finally:
        facts.unlink(missing_ok=True)


def _check_finite(module: nn.Module) -> None:
    for key, parameter in module.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise ModelError(
                f"{key} holds values that are not finite: the training diverged; take a lower learning_rate"
            )


def _write_weights(file: Path, state: Mapping[str, Any], *, half: bool) -> None:
    from safetensors.torch import save_file

    tensors = {
        key: _stored(key, value, half=half)
        for key, value in state.items()
        if isinstance(value, Tensor)
    }
    save_file(tensors, file)
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(
        0o666 & ~mask
    )  # readable by whoever may read the rest; safetensors writes for the owner alone


def _stored(key: str, value: Tensor, *, half: bool) -> Tensor:
    """One tensor as it goes to disk: dense, on its own, on the CPU."""
    if not value.is_floating_point():
        return value.detach().cpu().clone().contiguous()
    stored = value.detach().to("cpu", torch.float16 if half else torch.float32, copy=True)
    if bool((value.isfinite().cpu() & ~stored.isfinite()).any()):
        raise ModelError(
            f"{key} holds values up to {float(value.abs().max()):g}, which float16 cannot: keep it in float32"
        )
    return stored.contiguous()


def _strict(value: Any) -> Any:
    """The same value as JSON knows it: no NaN, no numbers of numpy."""
    if isinstance(value, Mapping):
        return {str(key): _strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
