"""torchvision's classifiers by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.errors import DataError, ModelError
from saliscope.models.checkpoints import (
    Checkpoint,
    infer_num_classes,
    load_weights,
    read_checkpoint,
)
from saliscope.models.downloads import fetch_url
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import Source, finished, seeded, unknown, weights_file

if TYPE_CHECKING:
    import os

    from torch import nn

__all__ = ["build_torchvision", "torchvision_names"]

_WITH_AUXILIARY = {"googlenet": "aux", "inception_v3": "AuxLogits."}


def torchvision_names() -> tuple[str, ...]:
    """List torchvision's image classifiers; quantized networks and other tasks are not among them."""
    from torchvision import models

    return tuple(models.list_models(module=models))


def build_torchvision(
    name: str,
    weights: str | os.PathLike[str] = "pretrained",
    *,
    num_classes: int | None = None,
) -> Source:
    """Build a torchvision classifier; its preprocessing and labels are those of its published weights.

    `weights` is "pretrained" (the best published), the name of one of its published weights ("IMAGENET1K_V1"),
    "untrained" (random, always the same) or a file, from which the number of classes is read. Raises ModelError for
    an unknown name or a download that fails, DataError for a file that does not fit.
    """
    from torchvision import models

    if name not in torchvision_names():
        raise unknown(name, torchvision_names())
    published = models.get_model_weights(name)
    chosen = published.DEFAULT
    if weights == "untrained":
        module = _module(name, num_classes or 1000)
        return _source(module, chosen, name, "untrained", num_classes=num_classes or 1000)
    if weights == "pretrained" or weights in published.__members__:
        chosen = chosen if weights == "pretrained" else published[str(weights)]
        _check_classes(name, num_classes, len(chosen.meta["categories"]))
        module = _pretrained(name, chosen)
        return _source(module, chosen, name, chosen.name, num_classes=num_classes)
    file = weights_file(weights)
    assert file is not None  # the two keywords were answered above
    chosen = next((w for w in published if Path(w.url).name == file.name), chosen)
    module, count = _from_file(name, read_checkpoint(file), num_classes)
    return _source(module, chosen, name, file.name, num_classes=count)


def _source(
    module: nn.Module, chosen: Any, name: str, weights: str, *, num_classes: int | None
) -> Source:
    preprocessing = Preprocessing.from_torchvision(chosen.transforms())
    source = Source(module, preprocessing, tuple(chosen.meta["categories"]), name, weights)
    return finished(source, num_classes=num_classes)


def _check_classes(name: str, given: int | None, published: int) -> None:
    if given not in (None, published):
        raise ModelError(
            f"the published weights of {name} have {published} classes, not {given}: leave num_classes out, or give "
            "weights of your own with --weights FILE"
        )


def _pretrained(name: str, chosen: Any) -> nn.Module:
    file = fetch_url(chosen.url, f"{name} ({chosen.name})")
    try:
        return _from_file(name, read_checkpoint(file), len(chosen.meta["categories"]))[0]
    except DataError as err:
        raise DataError(f"{err}; or delete this file to have it downloaded again") from err


def _from_file(
    name: str, checkpoint: Checkpoint, num_classes: int | None
) -> tuple[nn.Module, int | None]:
    prefix = _WITH_AUXILIARY.get(name, "\n")
    auxiliary = any(prefix in key for key in checkpoint.tensors)
    module = _module(name, num_classes or 1000, auxiliary=auxiliary)
    count = infer_num_classes(checkpoint, module)
    if num_classes is None and count not in (None, 1000):
        module = _module(name, count, auxiliary=auxiliary)
    load_weights(module, checkpoint)
    _drop_auxiliary(name, module)
    return module, num_classes or count


def _module(name: str, num_classes: int, *, auxiliary: bool = False) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {"num_classes": num_classes}
    if name in _WITH_AUXILIARY:
        # Without these two torchvision warns, and initialises for a minute; published weights have both and expect
        # inputs in the range that transform_input makes.
        options |= {"aux_logits": auxiliary, "init_weights": False, "transform_input": True}
    with seeded():
        module: nn.Module = models.get_model(name, weights=None, **options)
    return module


def _drop_auxiliary(name: str, module: nn.Module) -> None:
    # Training heads: not run in eval mode, and a layer list should not offer what never runs.
    if name in _WITH_AUXILIARY:
        module.aux_logits = False  # type: ignore[assignment]  # a plain flag of torchvision's module
        for head in ("aux1", "aux2", "AuxLogits"):
            if hasattr(module, head):
                setattr(module, head, None)
