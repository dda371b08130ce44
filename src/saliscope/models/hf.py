"""Image classifiers of transformers by name: the extra [hf]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saliscope.errors import DependencyError, ModelError
from saliscope.models.downloads import unavailable
from saliscope.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocessing
from saliscope.models.sources import Source, finished, seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["build_hf"]

_RESAMPLE: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def build_hf(name: str) -> Source:
    """Build an image classifier of transformers: a repository name, or a local folder of the same layout.

    Its own image processor gives the preprocessing, its `id2label` the labels. Raises DependencyError without
    transformers, ModelError when the network is no image classifier or cannot be had.
    """
    try:
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    except ImportError as err:
        raise DependencyError(
            f'hf:{name} needs the package transformers: pip install "saliscope[hf]"'
        ) from err
    try:
        with seeded():
            module = AutoModelForImageClassification.from_pretrained(name)
        processor = AutoImageProcessor.from_pretrained(name).to_dict()
    except OSError as err:
        raise _unavailable(name, err) from err
    except ValueError as err:
        raise ModelError(f"hf:{name} is no image classifier of transformers ({err})") from err
    names: Mapping[Any, str] = module.config.id2label or {}
    ordered = sorted((int(key), str(value)) for key, value in names.items())
    labels = tuple(value for _, value in ordered) or None
    return finished(Source(module, _preprocessing(processor), labels, f"hf:{name}", name))


def _unavailable(name: str, err: OSError) -> ModelError:
    from huggingface_hub import constants

    folder = "models--" + name.replace("/", "--")
    put = (
        f"copy the cache folder {folder}, which holds model.safetensors, from a machine that has it into "
        f"{constants.HF_HUB_CACHE}, or give a local folder as hf:FOLDER"
    )
    return unavailable(f"hf:{name}", reason=err, put=put)


def _preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    size = config.get("size") or {"height": 224, "width": 224}
    size = {"height": size, "width": size} if isinstance(size, int) else size
    cut = config.get("crop_size") or size
    cut = {"height": cut, "width": cut} if isinstance(cut, int) else cut
    mean = config.get("image_mean") or IMAGENET_MEAN
    std = config.get("image_std") or IMAGENET_STD
    if config.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    filter_ = _RESAMPLE[int(config.get("resample", 2))]
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    shorter = size.get("shortest_edge")
    if shorter is None:
        whole = (int(size["height"]), int(size["width"]))
        return Preprocessing(whole, mean, std, "squash", None, filter_)
    share = config.get("crop_pct")
    if (
        share
    ):  # ConvNeXt's own rule: cut `shorter` out of shorter / crop_pct, but squash from 384 up
        whole = (int(shorter), int(shorter))
        if shorter >= 384:
            return Preprocessing(whole, mean, std, "squash", None, filter_)
        return Preprocessing(whole, mean, std, "crop", int(shorter / share), filter_)
    side = int(cut.get("height", shorter))
    return Preprocessing(
        (side, int(cut.get("width", shorter))), mean, std, "crop", int(shorter), filter_
    )
