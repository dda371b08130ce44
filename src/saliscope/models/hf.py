"""Image classifiers of transformers by name: the extra [hf]."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from saliscope.errors import DependencyError, ModelError, OptionError
from saliscope.models.checkpoints import load_weights
from saliscope.models.downloads import fetch_repository_file, unavailable
from saliscope.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocessing
from saliscope.models.sources import Source, finished, seeded, weights_file

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

__all__ = ["build_hf"]

_RESAMPLE: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def build_hf(
    name: str,
    weights: str | os.PathLike[str] = "pretrained",
    *,
    num_classes: int | None = None,
) -> Source:
    """Build an image classifier of transformers: a repository name, or a local folder of the same layout.

    With `num_classes`, `weights` is "untrained" or a file, and only the configuration is taken from there.

    Its own image processor gives the preprocessing (a cut that leaves an odd number of pixels may sit one beside), its
    `id2label` the labels. Code in the repository is not run.
    Raises DependencyError without transformers, ModelError when the network is no image classifier, has an untrained
    head or cannot be had, OptionError for an image processor that no Preprocessing equals.
    """
    try:
        import transformers
    except ImportError as err:
        raise DependencyError(
            f'hf:{name} needs the package transformers: pip install "saliscope[hf]"'
        ) from err
    try:
        with _quiet(transformers), seeded():
            module, processor = _local(name, num_classes) or _fetched(name, num_classes)
    except OSError as err:
        raise _unavailable(name, err) from err
    except (ValueError, RuntimeError, SafetensorError) as err:
        if isinstance(err, ModelError):
            raise
        raise ModelError(f"hf:{name} is no image classifier of transformers ({err})") from err
    short = Path(name).resolve().name if Path(name).is_dir() else name
    file = weights_file(weights)
    if file is not None:
        load_weights(module, file)
    described = file.name if file is not None else "untrained" if num_classes else short
    labels = None if num_classes else _labels(module)
    return finished(Source(module, _preprocessing(processor), labels, f"hf:{short}", described))


def _labels(module: Any) -> tuple[str, ...] | None:
    names: Mapping[Any, str] = module.config.id2label or {}
    ordered = sorted((int(key), str(value)) for key, value in names.items())
    return tuple(value for _, value in ordered) or None


def _local(name: str, num_classes: int | None) -> tuple[Any, dict[str, Any]] | None:
    # The client library asks the network about every file, for half a minute where there is none, even if all are here.
    try:
        return _load(name, num_classes, local_files_only=True)
    except OSError:
        if Path(name).is_dir():
            raise
        return None


def _fetched(name: str, num_classes: int | None) -> tuple[Any, dict[str, Any]]:
    fetch_repository_file(name, ("config.json",), f"hf:{name}", put=_put(name), own=False)
    return _load(name, num_classes, local_files_only=False)


def _load(
    name: str, num_classes: int | None, *, local_files_only: bool
) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

    # Without trust_remote_code=False the library would stop and ask at the keyboard.
    options = {"local_files_only": local_files_only, "trust_remote_code": False}
    if num_classes is not None:
        config = AutoConfig.from_pretrained(name, num_labels=num_classes, **options)
        module = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
        return module, AutoImageProcessor.from_pretrained(name, **options).to_dict()
    module, found = AutoModelForImageClassification.from_pretrained(
        name, output_loading_info=True, **options
    )
    missing = sorted(found["missing_keys"])
    if missing:
        raise ModelError(
            f"hf:{name} is no trained classifier, its weights lack {', '.join(missing[:3])}: choose a network that "
            "was trained to classify images"
        )
    return module, AutoImageProcessor.from_pretrained(name, **options).to_dict()


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    log = transformers.utils.logging
    level, shown = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if shown:
            log.enable_progress_bar()


def _put(name: str) -> str:
    from huggingface_hub import constants

    folder = "models--" + name.replace("/", "--")
    return (
        f"copy the cache folder {folder}, which holds model.safetensors, from a machine that has it into "
        f"{constants.HF_HUB_CACHE}, or give a local folder as hf:FOLDER"
    )


def _unavailable(name: str, err: OSError) -> ModelError:
    if Path(name).is_dir():
        return ModelError(
            f"hf:{name} cannot be loaded ({str(err).splitlines()[0].rstrip('. ')}): the folder must hold config.json, "
            "model.safetensors and preprocessor_config.json"
        )
    return unavailable(f"hf:{name}", reason=err, put=_put(name), own=False)


def _preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    _check(config)
    size = _sides(config.get("size") or 224)
    cut = _sides(config.get("crop_size") or size)
    mean, std = config.get("image_mean") or IMAGENET_MEAN, config.get("image_std") or IMAGENET_STD
    if not config.get("do_normalize"):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    filter_ = _RESAMPLE[int(config.get("resample", 2))]
    shorter = size.get("shortest_edge")
    if shorter is None:
        whole = (int(size["height"]), int(size["width"]))
        inner = (int(cut["height"]), int(cut["width"])) if config.get("do_center_crop") else whole
        squashed = min(whole) if inner != whole else None
        return Preprocessing(inner, mean, std, "squash", squashed, filter_)
    share = config.get("crop_pct")
    if share:
        # ConvNeXt's own rule: cut `shorter` out of shorter / crop_pct, but squash from 384 up.
        whole = (int(shorter), int(shorter))
        if shorter >= 384:
            return Preprocessing(whole, mean, std, "squash", None, filter_)
        return Preprocessing(whole, mean, std, "crop", int(shorter / share), filter_)
    inner = (int(cut.get("height", shorter)), int(cut.get("width", shorter)))
    return Preprocessing(inner, mean, std, "crop", int(shorter), filter_)


def _sides(size: Any) -> dict[str, Any]:
    return {"height": size, "width": size} if isinstance(size, int) else dict(size)


def _check(config: Mapping[str, Any]) -> None:
    size = _sides(config.get("size") or 224)
    strange = {
        "do_flip_channel_order": bool(config.get("do_flip_channel_order")),
        "rescale_offset": bool(config.get("rescale_offset")),
        "include_top": bool(config.get("include_top")),  # EfficientNet normalises a second time
        "resample": int(config.get("resample", 2)) not in _RESAMPLE,
        "size": not ("shortest_edge" in size or {"height", "width"} <= size.keys()),
        "do_rescale": config.get("do_rescale") is False,
        "rescale_factor": abs(float(config.get("rescale_factor") or 1 / 255) * 255 - 1) > 1e-6,
    }
    for key, found in strange.items():
        if found:
            raise OptionError(
                f"the image processor {config.get('image_processor_type')} has {key}={config.get(key)!r}, which no "
                "Preprocessing equals: load the network with transformers and give it to Model with a preprocessing"
            )
