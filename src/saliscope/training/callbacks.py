"""What happens beside the steps: progress is told, each epoch becomes a row of history and a checkpoint."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from lightning.pytorch import Callback
from typing_extensions import override

from saliscope.errors import DataError, ModelError
from saliscope.files import settle
from saliscope.training.curves import write_curves

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor

    from saliscope.training.module import Training
    from saliscope.training.recipes import Recipe

__all__ = ["CHECKPOINT", "Epoch", "Keeper", "Reporter", "Step", "Watch"]

CHECKPOINT = "last.ckpt"


@dataclass(frozen=True)
class Epoch:
    """One finished epoch, counted from 1; what was not measured is NaN.

    `learning_rate` is that of its last step, `seconds` its length with validation, `images_per_second` the speed of its
    training part, `kept` whether it is the best so far.
    """

    epoch: int
    steps: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    images_per_second: float
    seconds: float
    kept: bool

    def __str__(self) -> str:
        shown = [f"train loss {self.train_loss:.4f}, accuracy {self.train_accuracy:.1%}"]
        if not math.isnan(self.val_loss):
            shown.append(f"validation loss {self.val_loss:.4f}, accuracy {self.val_accuracy:.1%}")
        best = " *" if self.kept else ""
        return (
            f"{'; '.join(shown)}; {self.images_per_second:.1f} images/s, {self.seconds:.0f} s{best}"
        )


@dataclass(frozen=True)
class Step:
    """Where a training stands: epoch and step within it, counted from 1, and the speed and loss of this epoch so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    images_per_second: float
    train_loss: float


class Watch(Protocol):
    """Who wants to show a training while it runs; every method returns at once."""

    def reading(self, split: str, done: int, failed: int, total: int, /) -> None:
        """Images of a split were read for the first time: how many, how many of them cannot be."""

    def step(self, step: Step, /) -> None:
        """Some steps were taken; called a few times a second at most."""

    def epoch(self, epoch: Epoch, epochs: int, /) -> None:
        """An epoch of `epochs` is finished and in its checkpoint."""


class Keeper(Callback):
    """Closes each epoch: its row of history, the weights if they are the best so far, curves, checkpoint.

    The checkpoint holds all of it, so that it needs no other file; it is replaced whole, and what stands beside it
    (curves) is written from it. Everything here survives in the checkpoint.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] | None = None
        self._started = time.monotonic()
        self._trained = 0.0

    @override
    def state_dict(self) -> dict[str, Any]:
        """What a continued training needs to know."""
        return {"history": [asdict(row) for row in self.history], "best": self.best}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where the checkpoint was written."""
        self.history = [Epoch(**row) for row in state_dict["history"]]
        self.best = state_dict["best"]

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started, self._trained = time.monotonic(), 0.0

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the loss of some twenty steps of an epoch."""
        if batch_idx % max(int(trainer.num_training_batches) // 20, 1) == 0:
            for logger in trainer.loggers:
                logger.log_metrics({"loss/step": float(outputs["loss"])}, step=trainer.global_step)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note how long the training part of the epoch took."""
        self._trained = time.monotonic() - self._started

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: Training) -> None:  # type: ignore[override]  # ours is the only module
        """Close the epoch; after this nothing of it can be lost."""
        row = self._row(trainer, pl_module)
        if not math.isfinite(row.train_loss):
            raise ModelError(
                f"the training diverged in epoch {row.epoch}: its loss is {row.train_loss}; begin anew with a lower "
                "learning_rate, in another folder or with --overwrite"
            )
        self.history.append(row)
        if row.kept and self.recipe.keep != "last":
            state = pl_module.kept.state_dict()
            self.best = {name: value.detach().cpu().clone() for name, value in state.items()}
        self._log(trainer, row)
        save_checkpoint(trainer, self.folder / CHECKPOINT)
        if trainer.is_global_zero:
            write_curves(self.folder, [asdict(row) for row in self.history])

    def _row(self, trainer: Trainer, module: Training) -> Epoch:
        def total(sums: Tensor) -> Tensor:
            summed = trainer.strategy.reduce(sums, reduce_op="sum")
            assert isinstance(summed, torch.Tensor)
            return summed

        loss, accuracy = module.seen.read(total)
        val_loss, val_accuracy = module.validated.read(total)
        seconds = time.monotonic() - self._started
        images = float(total(module.seen.count.clone()))
        return Epoch(
            epoch=trainer.current_epoch + 1,
            steps=trainer.global_step,
            learning_rate=module.last_rate,
            train_loss=loss,
            train_accuracy=accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            images_per_second=images / max(self._trained or seconds, 1e-9),
            seconds=seconds,
            kept=is_better(self.recipe.keep, val_loss, val_accuracy, self.history),
        )

    def _log(self, trainer: Trainer, row: Epoch) -> None:
        shown = {
            "loss/train": row.train_loss,
            "loss/validation": row.val_loss,
            "accuracy/train": row.train_accuracy,
            "accuracy/validation": row.val_accuracy,
            "learning_rate": row.learning_rate,
            "images_per_second": row.images_per_second,
        }
        for logger in trainer.loggers:
            logger.log_metrics(
                {k: v for k, v in shown.items() if not math.isnan(v)}, step=row.steps
            )
            logger.save()


def is_better(keep: str, loss: float, accuracy: float, history: list[Epoch]) -> bool:
    """Whether an epoch is to be kept, after those in `history`: the first of equals wins, a NaN never does."""
    kept = [row for row in history if row.kept]
    if keep == "last":
        return True
    if keep == "best-validation-loss":
        return not math.isnan(loss) and all(loss < row.val_loss for row in kept)
    return not math.isnan(accuracy) and all(accuracy > row.val_accuracy for row in kept)


class Reporter(Callback):
    """Tells a `Watch` and a `say` how the training goes; only in the first of several processes."""

    def __init__(
        self, keeper: Keeper, epochs: int, watch: Watch | None, say: Callable[[str], None]
    ) -> None:
        self.keeper, self.epochs, self.watch, self.say = keeper, epochs, watch, say
        self._started = self._told = 0.0

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()
        self._told = 0.0

    @override
    def on_train_batch_end(  # type: ignore[override]  # ours is the only module
        self, trainer: Trainer, pl_module: Training, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell, but not at every step: reading the loss waits for the device."""
        now = time.monotonic()
        steps = int(trainer.num_training_batches)
        if self.watch is None or not trainer.is_global_zero:
            return
        if now - self._told < 0.5 and batch_idx + 1 < steps:
            return
        self._told = now
        loss, _ = pl_module.seen.read()
        images = int(pl_module.seen.count) * trainer.world_size
        speed = images / max(now - self._started, 1e-9)
        self.watch.step(
            Step(trainer.current_epoch + 1, self.epochs, batch_idx + 1, steps, speed, loss)
        )

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell what the keeper, which comes first, has written."""
        if not trainer.is_global_zero:
            return
        row = self.keeper.history[-1]
        if self.watch is not None:
            self.watch.epoch(row, self.epochs)
        self.say(f"epoch {row.epoch}/{self.epochs}: {row}")


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Replace the checkpoint whole, at once and on disk; called by every process."""
    fresh = path.with_name(f".{path.name}.new")
    trainer.save_checkpoint(fresh)
    if trainer.is_global_zero:
        settle(fresh, path)
    trainer.strategy.barrier("checkpoint")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, plain values and tensors only, the latter as they are needed; raises `DataError`."""
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as err:
        raise DataError(
            f"{path} is damaged, so this training cannot be continued ({_first_line(err)}); begin anew with --overwrite"
        ) from err
    return found


def _first_line(err: BaseException) -> str:
    return str(err).strip().partition("\n")[0][:120]
