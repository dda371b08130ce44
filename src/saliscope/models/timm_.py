"""timm's classifiers by name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from saliscope.errors import DataError, ModelError
from saliscope.models.checkpoints import (
    Checkpoint,
    infer_num_classes,
    load_weights,
    read_checkpoint,
)
from saliscope.models.downloads import fetch_repository_file, fetch_url, hub_file, unavailable
from saliscope.models.labels import timm_labels
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import Source, finished, seeded, unknown, weights_file

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

__all__ = ["build_timm", "is_timm", "timm_names"]

_SAFE, _PICKLED = "model.safetensors", "pytorch_model.bin"


@cache
def timm_names() -> tuple[str, ...]:
    """List timm's networks, without the tags of their published weights."""
    import timm

    return tuple(timm.list_models())


def is_timm(name: str) -> bool:
    """Say whether timm has this network; a tag after a dot is not looked at."""
    import timm

    return bool(timm.is_model(name))


def build_timm(
    name: str,
    weights: str | os.PathLike[str] = "pretrained",
    *,
    num_classes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Source:
    """Build a timm classifier, "NAME" or "NAME.tag"; `options` go to `timm.create_model`.

    `weights` is "pretrained", "untrained" (random, always the same) or a file, from which the number of classes is
    read. Raises ModelError for an unknown name, tag or option, for a network without a classifier and for a download
    that fails; DataError for a file that does not fit.
    """
    config = _config(name)
    given = dict(options or {})
    if num_classes is not None:
        given["num_classes"] = num_classes
    file = weights_file(weights)
    if file is not None:
        module, described = _from_file(name, read_checkpoint(file), given), file.name
    elif weights == "untrained":
        module, described = _create(name, given), "untrained"
    else:
        module, described = _pretrained(name, config, given)
    count = int(getattr(module, "num_classes", 0))
    if count == 0:
        raise ModelError(
            f"timm:{name} has no classifier, it returns features: give weights with one (--weights FILE), or "
            "num_classes for an untrained one"
        )
    tail = "".join(f":{key}={value}" for key, value in (options or {}).items())
    preprocessing = _preprocessing(module, given)
    source = Source(
        module, preprocessing, timm_labels(module, count), f"timm:{name}{tail}", described
    )
    return finished(source)


def _config(name: str) -> Any:
    import timm
    from timm.models import get_pretrained_cfg

    if not is_timm(name):
        raise unknown(name, timm_names())
    try:
        return get_pretrained_cfg(name)
    except RuntimeError:
        tagged = tuple(timm.list_models(f"{name.partition('.')[0]}.*", pretrained=True))
        raise unknown(name, tagged) from None


def _create(name: str, options: Mapping[str, Any], **extra: Any) -> nn.Module:
    import timm

    try:
        with seeded():
            module: nn.Module = timm.create_model(name, **options, **extra)
    except (TypeError, ValueError, AssertionError, KeyError) as err:
        raise ModelError(
            f"timm cannot build {name} with {dict(options) or 'no options'} ({type(err).__name__}: {err}); its options are those of "
            "timm.create_model"
        ) from err
    return module


def _pretrained(name: str, config: Any, options: Mapping[str, Any]) -> tuple[nn.Module, str]:
    full = f"timm:{config.architecture}.{config.tag}" if config.tag else f"timm:{name}"
    published = config.num_classes
    if options.get("num_classes", published) != published:
        raise ModelError(
            f"the published weights of {full} have {published} classes, not {options['num_classes']}: leave "
            "num_classes out, or give weights of your own with --weights FILE"
        )
    if not published:
        raise ModelError(
            f"{full} has no classifier, it returns features: give weights with one (--weights FILE)"
        )
    file = _published_file(config, full)
    if not config.custom_load:
        read_checkpoint(file)  # refuses what is cut short or holds code, in our words
    try:
        module = _create(name, options, pretrained=True, pretrained_cfg_overlay={"file": str(file)})
    except RuntimeError as err:
        raise DataError(
            f"weights file {file} does not load into {full} ({' '.join(str(err).split())[:200]}): delete it to have it "
            "downloaded again, or leave out the options that change the network"
        ) from err
    return module, full.removeprefix("timm:")


def _published_file(config: Any, full: str) -> Path:
    url, repository = config.url, config.hf_hub_id
    if url and (not repository or hub_file(url).is_file()):
        return fetch_url(url, full)
    if not repository:
        raise unavailable(full, reason="none were published", put="choose a network that has some")
    repository, _, revision = repository.partition("@")
    names = (config.hf_hub_filename,) if config.hf_hub_filename else (_SAFE, _PICKLED)
    return fetch_repository_file(repository, names, full, revision=revision or None)


def _from_file(name: str, checkpoint: Checkpoint, options: Mapping[str, Any]) -> nn.Module:
    module = _create(name, options)
    count = infer_num_classes(checkpoint, module)
    if count and "num_classes" not in options and count != getattr(module, "num_classes", count):
        options = {**options, "num_classes": count}
        module = _create(name, options)
    try:
        load_weights(module, checkpoint)
    except DataError as error:
        module = _converted(name, checkpoint, options, error)
    return module


def _converted(
    name: str, checkpoint: Checkpoint, options: Mapping[str, Any], error: DataError
) -> nn.Module:
    # timm renames the tensors of other people's files; what it cannot make fit keeps the first error.
    count = infer_num_classes(checkpoint)
    overlay = {"state_dict": dict(checkpoint.tensors), "custom_load": False, "label_offset": 0}
    overlay["num_classes"] = options.get("num_classes", count)
    try:
        module = _create(
            name, {**options, "num_classes": overlay["num_classes"]},
            pretrained=True, pretrained_cfg_overlay=overlay,
        )  # fmt: skip
    except Exception:  # whatever a converter does with tensors it does not know
        raise error from None
    config = getattr(module, "pretrained_cfg", None)
    if isinstance(config, dict):
        config.pop("state_dict", None)  # a second copy of all weights
    return module


def _preprocessing(module: nn.Module, options: Mapping[str, Any]) -> Preprocessing:
    from timm.data.config import resolve_model_data_config

    config = resolve_model_data_config(module)
    size = options.get("img_size")
    if size is not None:
        config["input_size"] = (3, size, size) if isinstance(size, int) else (3, *size)
    return Preprocessing.from_timm(config)
