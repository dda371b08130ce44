"""Lightning, set up to be quiet, to write nothing of its own accord, and to give the process back as it was."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from typing_extensions import override

from saliscope.errors import OptionError
from saliscope.models.model import usable_device
from saliscope.training.images import Batches, Images, batch_loader, explained

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from saliscope.training.recipes import Recipe

__all__ = [
    "Feed",
    "Place",
    "choose_place",
    "choose_readers",
    "choose_workers",
    "is_first",
    "make_trainer",
    "run",
]


@dataclass(frozen=True)
class Place:
    """Where a training runs: device type ("cpu", "cuda"), its indices or number, hosts, and the numbers of its passes."""

    device: torch.device
    devices: int
    nodes: int
    bfloat16: bool

    @property
    def world(self) -> int:
        """How many processes there are."""
        return self.devices * self.nodes

    def __str__(self) -> str:
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            threads = torch.get_num_threads()
            name = f"{self.device.type}, {threads} thread{'s' * (threads != 1)}"
        many = f"{self.world} x " if self.world > 1 else ""
        return f"{many}{name}, {'bfloat16' if self.bfloat16 else 'float32'}"


def choose_place(recipe: Recipe, *, device: str | None, devices: int, nodes: int) -> Place:
    """Settle where a training runs; raises `OptionError` for what cannot be had."""
    if devices < 1 or nodes < 1:
        raise OptionError(
            f"devices and nodes are at least 1; got {devices} devices on {nodes} nodes"
        )
    where = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if where.type == "cuda" and where.index is not None and devices > 1:
        raise OptionError(f'device "{device}" is one GPU; write cuda to use {devices} of them')
    if where.type == "cuda" and devices > torch.cuda.device_count():
        raise OptionError(f"{devices} GPUs asked for, {torch.cuda.device_count()} are here")
    world = devices * nodes
    if recipe.batch_size % world:
        raise OptionError(
            f"batch_size {recipe.batch_size} counts all {world} processes together and must be a multiple of {world}"
        )
    half = recipe.precision == "bfloat16" or (
        recipe.precision == "auto" and _multiplies_bfloat16(where)
    )
    return Place(where, devices, nodes, half)


def choose_workers(recipe: Recipe, place: Place, *, cached: bool) -> int:
    """How many processes read images: what the recipe says, or what this machine can use."""
    if recipe.workers is not None:
        return recipe.workers
    spare = max(_cores() // place.devices, 1)
    if cached and not sys.platform.startswith("linux"):
        return 0  # only forked processes see the pictures in memory
    if place.device.type == "cpu":
        # The network uses all cores already; pictures from memory cost it about a hundredth of the time.
        return 0 if cached else min(spare, 4)
    return max(min(spare - 1, 12), 1)


def is_first() -> bool:
    """Whether this is the process that writes and speaks: the first of the first host."""
    names = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in names)


def choose_readers(recipe: Recipe, place: Place) -> int:
    """How many processes read where no network runs beside them: all cores, unless the recipe wants none."""
    return 0 if recipe.workers == 0 else max(_cores() // place.devices, 1)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Feed(LightningDataModule):
    """The loaders of a training; made when the processes know their numbers."""

    def __init__(
        self, train: Images, val: Images | None, recipe: Recipe, *, workers: int, pinned: bool
    ) -> None:
        super().__init__()
        self.images, self.val, self.recipe = train, val, recipe
        self.workers, self.pinned = workers, pinned

    @override
    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches, beginning with the epoch that the trainer has reached."""
        trainer = self._trainer()
        batches = Batches(
            len(self.images),
            self.recipe.batch_size,
            seed=self.recipe.seed,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        # Lightning starts the first pass, and workers its first batches, before it tells the epoch.
        batches.set_epoch(_finished_epochs(trainer))
        return batch_loader(self.images, batches, workers=self.workers, pinned=self.pinned)

    @override
    def val_dataloader(self) -> Any:
        """Batches in order; none without validation images."""
        if self.val is None:
            return []
        trainer = self._trainer()
        size = max(self.recipe.batch_size, 32 * trainer.world_size)
        batches = Batches(len(self.val), size, rank=trainer.global_rank, world=trainer.world_size)
        workers = min(self.workers, 2)
        return batch_loader(self.val, batches, workers=workers, pinned=self.pinned)

    def _trainer(self) -> Trainer:
        assert self.trainer is not None
        return self.trainer


def _finished_epochs(trainer: Trainer) -> int:
    progress: Any = trainer.fit_loop.epoch_progress
    return int(progress.current.processed)


def make_trainer(
    folder: Path,
    recipe: Recipe,
    *,
    place: Place,
    callbacks: Sequence[Callback],
    loggers: list[Any],
    validated: bool,
) -> Trainer:
    """Make a trainer that writes into the folder only, and only what our callbacks write."""
    devices: Any = place.devices
    if place.device.type == "cuda" and place.device.index is not None:
        devices = [place.device.index]
    return Trainer(
        accelerator="gpu" if place.device.type == "cuda" else place.device.type,
        devices=devices,
        num_nodes=place.nodes,
        strategy="ddp" if place.world > 1 else "auto",
        precision="bf16-mixed" if place.bfloat16 else "32-true",
        max_epochs=recipe.epochs,
        limit_val_batches=1.0 if validated else 0,
        default_root_dir=folder,
        logger=loggers,
        plugins=_plugins(),
        log_every_n_steps=1,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        benchmark=False,
        inference_mode=False,
    )


def _plugins() -> list[Any]:
    # Lightning would write a checkpoint in the middle of an epoch and queue the job again; ours is whole epochs.
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def run(trainer: Trainer, module: Any, feed: Feed, checkpoint: Path | None) -> None:
    """Train; Ctrl-C and SIGTERM leave as `KeyboardInterrupt`, which Lightning would turn into an exit."""
    caught = _Caught()
    trainer.callbacks.append(caught)  # type: ignore[attr-defined]  # set by Lightning's connector
    try:
        with explained():
            trainer.fit(module, datamodule=feed, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        if isinstance(caught.error, KeyboardInterrupt | SIGTERMException):
            raise KeyboardInterrupt from None
        raise


class _Caught(Callback):
    error: BaseException | None = None

    @override
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.error = exception


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning without banners, tips and reminders; random numbers, signals and switches as they were, afterwards."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    torch.backends.cudnn.deterministic = True
    try:
        with (
            warnings.catch_warnings(),
            torch.random.fork_rng(devices=range(torch.cuda.device_count())),
        ):
            _settle_warnings()
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        if handler is not None:
            signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored after Ctrl-C


def _settle_warnings() -> None:
    # Lightning's advice on settings: the number of workers, modules in eval mode, how often it logs. They are meant.
    warnings.filterwarnings("ignore", category=PossibleUserWarning)
    # Lightning 2.6 walks batches with a class that torch 2.15 has another name for.
    warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)


def _multiplies_bfloat16(device: torch.device) -> bool:
    from saliscope.models.model import _multiplies_bfloat16 as able

    return able(device)
