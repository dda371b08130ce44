"""One call that trains a network, and continues where it was stopped."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from saliscope.data.sample import DataSet
from saliscope.errors import DataError, DependencyError, ModelError, OptionError

if find_spec("lightning") is None or find_spec("tensorboard") is None:
    # Asked before our own modules are imported, which cannot be without it.
    raise DependencyError(
        "training needs Lightning and TensorBoard: pip install 'saliscope[train]'"
    )

import torch

from saliscope.models.folders import FACTS, read_folder
from saliscope.provenance import now
from saliscope.training.callbacks import CHECKPOINT, Epoch, Keeper, Reporter, Watch, load_checkpoint
from saliscope.training.cost import duration, time_steps
from saliscope.training.images import Batches, Images
from saliscope.training.intake import Intake
from saliscope.training.judge import judge
from saliscope.training.loggers import make_loggers, mlflow_run
from saliscope.training.module import Training
from saliscope.training.networks import Trainable, build_trainable
from saliscope.training.recipes import Recipe, read_recipe
from saliscope.training.record import Record, open_record
from saliscope.training.saving import save_model
from saliscope.training.skipped import read_skipped, write_skipped
from saliscope.training.splits import Splits, open_splits
from saliscope.training.trainer import (
    Feed,
    Place,
    choose_place,
    choose_readers,
    choose_workers,
    is_first,
    make_trainer,
    quiet,
    run,
)

__all__ = ["Trained", "train"]


@dataclass(frozen=True)
class Trained:
    """What a training left: its folder, which `load_model` opens, and what it measured.

    `scores` has "epoch" (the kept one), "validation_loss" and "validation_accuracy" (None without a validation split),
    and "test_loss", "test_accuracy" and "test_images" where there is a test split; `history` one row an epoch.
    """

    folder: Path
    scores: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Epoch, ...] = ()


def train(
    model: str,
    data: str | DataSet | Mapping[str, DataSet],
    recipe: Recipe | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    device: str | None = None,
    devices: int = 1,
    nodes: int = 1,
    overwrite: bool = False,
    mlflow: bool = False,
    say: Callable[[str], None] | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Train a network on a data set by a recipe, and write it to a folder that `load_model` opens.

    `model` is any name that `load_model` takes; `data` a name as `open_data` takes it, a data set to train on, or a dict
    of data sets "train", "val" and "test"; `recipe` a recipe, its name or its TOML file. The same call on the same folder
    continues a training that was stopped in whatever way, and loses at most the running epoch; on the same CPU the
    result is the same to the bit. `say` gets a sentence now and then, `watch` every step.

    Raises `OptionError` where the folder holds another training and `overwrite` is False, `DataError` for samples
    without a label and splits that cannot be read, `ModelError` for a network that cannot be built or diverges.
    """
    settled = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    place = choose_place(settled, device=device, devices=devices, nodes=nodes)
    splits = open_splits(data, settled, root=root)
    settings = {
        "model": model,
        "recipe": settled.model_dump(mode="json"),
        "data": splits.name,
        "fingerprints": splits.fingerprints(),
    }
    first = is_first()
    where = Path(folder)
    record = open_record(where, settings, overwrite=overwrite, first=first)
    job = _Job(where, settled, splits, place, record, say if say and first else _silent, watch)
    if record.finished and _is_whole(where):
        job.say(f"{where} is finished already")
        return Trained(where, record.scores, _told(where))
    with quiet():
        return job.run(mlflow=mlflow)


def _is_whole(folder: Path) -> bool:
    """Whether a folder holds a network that can be opened, its weights those that model.json speaks of."""
    try:
        read_folder(folder).weights_file()
    except DataError:
        return False
    return True


def _silent(message: str) -> None:
    del message


@dataclass(frozen=True)
class _Job:
    """The steps of one training, in order."""

    folder: Path
    recipe: Recipe
    splits: Splits
    place: Place
    record: Record
    say: Callable[[str], None]
    watch: Watch | None

    def run(self, *, mlflow: bool) -> Trained:
        classes = self.splits.classes
        trainable = build_trainable(
            self.record.settings["model"], self.recipe, num_classes=len(classes), labels=classes
        )
        for line in (*self.splits.notes, *trainable.summary()):
            self.say(line)
        intake = Intake(self.folder, self.recipe, self.place, self.say, self.watch)
        images, val = intake.read(self.splits, trainable.preprocessing)
        module = self._module(trainable, images)
        self._note_place()
        settings = self.record.settings
        with make_loggers(
            self.folder, settings, mlflow=mlflow and is_first(), run=self.record.mlflow
        ) as loggers:
            self.record.mlflow = mlflow_run(loggers) or self.record.mlflow
            self._save_record()
            keeper = self._fit(module, images, val, loggers)
        if not is_first():
            return Trained(self.folder, {}, tuple(keeper.history))
        return self._close(trainable, module, keeper, intake)

    def _note_place(self) -> None:
        before, now_ = self.record.device, str(self.place)
        if before not in ("", now_) and (self.folder / CHECKPOINT).exists():
            self.say(f"begun on {before}, continued on {now_}: the last digits may differ")
        self.record.device = now_

    def _save_record(self) -> None:
        if is_first():
            self.record.save(self.folder)

    # --- training -----------------------------------------------------------------------------------------------------

    def _module(self, trainable: Trainable, images: Images) -> Training:
        size, world = self.recipe.batch_size, self.place.world
        batches = Batches(len(images), size, seed=self.recipe.seed, world=world)
        if not len(batches):
            raise OptionError(
                f"{len(images)} training images are too few for {world} processes; take fewer devices"
            )
        return Training(
            trainable.module,
            self.recipe,
            normalise=images.normalised,
            still=(*trainable.frozen, *trainable.still),
            head=trainable.new,
            steps=len(batches),
        )

    def _fit(
        self, module: Training, images: Images, val: Images | None, loggers: list[Any]
    ) -> Keeper:
        path = self.folder / CHECKPOINT
        checkpoint = path if path.exists() else None
        self._announce(module, images, val)
        keeper = Keeper(self.folder, self.recipe)
        reporter = Reporter(keeper, self.recipe.epochs, self.watch, self.say)
        workers = choose_workers(self.recipe, self.place, cached=images.cache is not None)
        on_gpu = self.place.device.type == "cuda"
        feed = Feed(images, val, self.recipe, workers=workers, pinned=on_gpu)
        trainer = make_trainer(
            self.folder,
            self.recipe,
            place=self.place,
            callbacks=[keeper, reporter],
            loggers=loggers,
            validated=val is not None,
        )
        run(trainer, module, feed, checkpoint)
        return keeper

    def _announce(self, module: Training, images: Images, val: Images | None) -> None:
        """Say what comes and, without a GPU, what it will cost."""
        recipe, place = self.recipe, self.place
        done = len(_history(self.folder))
        if done:
            self.say(f"continuing after epoch {done} of {recipe.epochs}")
        epochs = recipe.epochs - done
        size = min(recipe.batch_size, len(images))
        work = f"{epochs} epoch{'s' * (epochs != 1)} of {module.steps} steps, {size} images each, on {place}"
        if place.device.type != "cpu" or not is_first() or not epochs:
            self.say(work)
            return
        cost = time_steps(module, images, recipe, bfloat16=place.bfloat16)
        seconds = cost.seconds(epochs, module.steps, len(val) if val is not None else 0)
        each = 1e3 * cost.step / size
        self.say(f"{work}: about {duration(seconds / place.world)} ({each:.0f} ms an image)")

    # --- the end ------------------------------------------------------------------------------------------------------

    def _close(
        self, trainable: Trainable, module: Training, keeper: Keeper, intake: Intake
    ) -> Trained:
        """Take the kept weights, measure them on the test split, and write the folder's model."""
        network = trainable.module
        network.load_state_dict(self._kept(module, keeper))
        network.to(memory_format=torch.contiguous_format).eval()
        row = next(row for row in reversed(keeper.history) if row.kept)
        scores: dict[str, Any] = {
            "epoch": row.epoch,
            "validation_loss": row.val_loss,
            "validation_accuracy": row.val_accuracy,
        }
        if self.splits.test is not None:
            scores |= self._test(network.to(self.place.device), trainable, intake)
        network.cpu()
        self.record.scores = {k: None if math.isnan(v) else v for k, v in scores.items()}
        save_model(
            self.folder,
            trainable,
            recipe=self.recipe,
            classes=self.splits.classes,
            scores=self.record.scores,
            data_name=self.splits.name,
            data_fingerprint=self.record.settings["fingerprints"]["train"],
            history=[asdict(row) for row in keeper.history],
        )
        self.record.finished = now()
        self._save_record()
        return Trained(self.folder, self.record.scores, tuple(keeper.history))

    def _kept(self, module: Training, keeper: Keeper) -> Mapping[str, Any]:
        if self.recipe.keep == "last":
            return module.kept.state_dict()
        if keeper.best is None:
            raise ModelError(
                "no epoch had a validation loss that is a number: the training diverged; begin anew with a lower "
                "learning_rate"
            )
        return keeper.best

    def _test(self, network: Any, trainable: Trainable, intake: Intake) -> dict[str, Any]:
        assert self.splits.test is not None
        images = Images(self.splits.test, trainable.preprocessing)
        found, failed = judge(
            network,
            images,
            device=self.place.device,
            workers=choose_readers(self.recipe, self.place),
            tell=intake.tell("test"),
        )
        if failed:
            write_skipped(self.folder, {**(read_skipped(self.folder) or {}), "test": failed})
            self.say(f"{len(failed)} test images cannot be read and do not count")
        self.say(f"test accuracy {found['accuracy']:.1%} of {found['images']} images")
        return {f"test_{name}": value for name, value in found.items()}


def _history(folder: Path) -> tuple[Epoch, ...]:
    """The epochs that the checkpoint holds."""
    path = folder / CHECKPOINT
    if not path.exists():
        return ()
    return tuple(Epoch(**row) for row in load_checkpoint(path)["callbacks"]["Keeper"]["history"])


def _told(folder: Path) -> tuple[Epoch, ...]:
    """The epochs that model.json tells of, for a finished training whose checkpoint may be deleted; null is NaN."""
    rows = json.loads((folder / FACTS).read_text(encoding="utf-8"))["history"]
    read: list[dict[str, Any]] = [
        {name: math.nan if value is None else value for name, value in row.items()} for row in rows
    ]
    return tuple(Epoch(**row) for row in read)
