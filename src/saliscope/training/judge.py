"""How well a network does on images that no step has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saliscope.data.sample import Failed
from saliscope.errors import DataError
from saliscope.models.outputs import logits_of
from saliscope.training.images import Images, explained, reading

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

__all__ = ["judge"]


@torch.inference_mode()
def judge(
    network: nn.Module,
    images: Images,
    *,
    device: torch.device,
    workers: int = 0,
    tell: Callable[[int, int, int], None] | None = None,
) -> tuple[dict[str, float], list[Failed]]:
    """Measure loss (plain cross-entropy) and accuracy on all images, in float32, without augmentation.

    Returns the scores by name ("loss", "accuracy", "images") and the samples that cannot be read, which do not count.
    `tell(done, failed, total)` is called now and then. Raises `DataError` where none can be read.
    """
    loss, right, count, ids = 0.0, 0, 0, images.data.ids
    failed: list[Failed] = []
    loader: DataLoader[Any] = reading(images, workers)
    with explained():
        for batch in loader:
            good = [(place, found) for place, found in batch if not isinstance(found, str)]
            failed += [Failed(ids[place], why) for place, why in batch if isinstance(why, str)]
            if good:
                logits, labels = _run(network, images, good, device)
                loss += float(F.cross_entropy(logits, labels, reduction="sum"))
                right += int((logits.argmax(1) == labels).sum())
                count += len(labels)
            if tell is not None:
                tell(count, len(failed), len(images))
    if not count:
        raise DataError(
            f"none of the {len(images)} images of {images.data.name}, {images.data.split}, can be read"
        )
    return {"loss": loss / count, "accuracy": right / count, "images": count}, failed


def _run(
    network: nn.Module, images: Images, batch: list[tuple[int, Any]], device: torch.device
) -> tuple[Tensor, Tensor]:
    pictures = torch.from_numpy(np.stack([picture for _, picture in batch])).to(device)
    labels = torch.as_tensor(images.labels[[place for place, _ in batch]], device=device)
    return logits_of(network(images.normalised(pictures))).float(), labels
