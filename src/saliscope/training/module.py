"""What is trained, as Lightning sees it: losses, optimizer, schedule, running average, frozen parts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from saliscope.errors import ModelError
from saliscope.models.outputs import logits_of

if TYPE_CHECKING:
    from saliscope.training.recipes import Recipe

__all__ = ["Averages", "Training", "learning_rate_factor"]


@dataclass
class Averages:
    """Loss and accuracy over images, summed on the device: nothing waits for the device until they are read."""

    loss: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    right: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    count: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss, logits (B, N) and labels (B,)."""
        if self.loss.device != loss.device:
            exact = torch.float32 if loss.device.type == "mps" else torch.float64
            for name in ("loss", "right", "count"):
                setattr(self, name, getattr(self, name).to(loss.device, exact))
        self.loss += loss.detach().to(self.loss.dtype) * len(labels)
        self.right += (logits.detach().argmax(1) == labels).sum()
        self.count += len(labels)

    def read(self, total: Callable[[Tensor], Tensor] = lambda sums: sums) -> tuple[float, float]:
        """Mean loss and accuracy, NaN of no images; `total` adds the sums of several processes."""
        loss, right, count = total(torch.stack([self.loss, self.right, self.count])).tolist()
        return (loss / count, right / count) if count else (math.nan, math.nan)


class Training(LightningModule):
    """One network in training by a recipe.

    `normalise` turns a batch of pictures, uint8 (B, h, w, 3), into inputs. Parameters that are not to be trained come
    without requires_grad; `still` names the modules that run in eval mode all the time, `head` the parameters that take
    `head_learning_rate`. `steps` is how many there are in an epoch. With `recipe.ema`, `averaged` is a second network
    that follows the first and is the one that is validated and kept.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        normalise: Callable[[Tensor], Tensor],
        still: Collection[str] = (),
        head: Collection[str] = (),
        steps: int = 1,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.recipe = recipe
        self.normalise = normalise
        self.still, self.head, self.steps = tuple(still), frozenset(head), steps
        self.averaged: nn.Module | None = None
        if recipe.ema is not None:
            self.averaged = copy.deepcopy(network).requires_grad_(False).eval()
        self.seen = Averages()
        self.validated = Averages()
        self.last_rate = recipe.learning_rate
        self.train()  # the network comes in eval mode, and Lightning keeps the mode it finds

    @override
    def train(self, mode: bool = True) -> Training:
        """Like any module's, but what is still and what is averaged stay in eval mode."""
        super().train(mode)
        for name in self.still:
            self.network.get_submodule(name).eval()
        if self.averaged is not None:
            self.averaged.eval()
        return self

    # --- steps --------------------------------------------------------------------------------------------------------

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.network if self.averaged is None else self.averaged

    @override
    def on_train_epoch_start(self) -> None:
        """Begin the epoch's sums and random numbers: an epoch does not depend on how the ones before were run."""
        self.seen = Averages()
        entropy = (self.recipe.seed, self.current_epoch, self.global_rank, 2)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    @override
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Note the learning rate of the step that comes."""
        self.last_rate = self.recipe.learning_rate * self._factor(self.global_step)

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """One step's loss, in float32 whatever the passes run in."""
        pictures, labels = batch  # bytes travel; they become numbers on the device
        logits = logits_of(self.network(self.normalise(pictures))).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.seen.add(loss, logits, labels)
        return loss

    @override
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the average follow."""
        if self.averaged is not None and self.recipe.ema is not None:
            follow(self.averaged, self.network, decay=warm_decay(self.recipe.ema, self.global_step))

    @override
    def on_validation_epoch_start(self) -> None:
        """Begin the sums."""
        self.validated = Averages()

    @override
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Judge a batch by the plain cross-entropy; rows of padding do not count."""
        pictures, labels = batch
        real = labels >= 0
        logits = logits_of(self.kept(self.normalise(pictures))).float()[real]
        if len(logits):
            self.validated.add(F.cross_entropy(logits, labels[real]), logits, labels[real])

    # --- optimizer ----------------------------------------------------------------------------------------------------

    @override
    def configure_optimizers(self) -> Any:
        """One group for each learning rate and weight decay; the schedule moves by step."""
        groups = [group for group in self.groups() if group["params"]]
        if not groups:
            raise ModelError(
                f'freeze "{self.recipe.freeze}" leaves nothing to train; name a layer further from the head'
            )
        recipe = self.recipe
        if recipe.optimizer == "sgd":
            optimizer: torch.optim.Optimizer = torch.optim.SGD(
                groups, lr=recipe.learning_rate, momentum=recipe.momentum
            )
        else:
            optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _factor(self, step: int) -> float:
        recipe = self.recipe
        return learning_rate_factor(
            step,
            steps=self.steps * recipe.epochs,
            warmup=round(self.steps * recipe.warmup_epochs),
            schedule=recipe.schedule,
        )

    def groups(self) -> list[dict[str, Any]]:
        """Parameters by head or not, and with or without decay: biases and norms have none to shrink."""
        recipe = self.recipe
        sorted_: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                key = name in self.head, parameter.ndim > 1
                sorted_.setdefault(key, []).append(parameter)
        rates = {False: recipe.learning_rate, True: recipe.head_learning_rate}
        return [
            {
                "params": parameters,
                "lr": rates[head] or recipe.learning_rate,
                "weight_decay": recipe.weight_decay if decays else 0.0,
            }
            for (head, decays), parameters in sorted_.items()
        ]


def learning_rate_factor(step: int, *, steps: int, warmup: int = 0, schedule: str) -> float:
    """What the learning rate of step 0, 1, ... is multiplied by: a straight rise, then level or half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    done = (step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def warm_decay(decay: float, step: int) -> float:
    """The decay of a running average at its n-th step: short at first, so that the untrained start is soon forgotten."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def follow(averaged: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move an average towards a network: floating parameters and buffers by 1 - decay, whole numbers all the way."""
    values = network.state_dict()
    for name, mean in averaged.state_dict().items():
        if mean.is_floating_point():
            mean.lerp_(values[name], 1 - decay)
        else:
            mean.copy_(values[name])
