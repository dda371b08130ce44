"""Where the numbers of a training go besides its own files: TensorBoard always, MLflow where it is wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger

from saliscope.errors import DependencyError

__all__ = ["make_loggers", "mlflow_run"]

# Usage reports are sent by default; and plain files as a store need a word of consent.
_MLFLOW = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}


@contextmanager
def make_loggers(
    folder: Path, settings: Mapping[str, Any], *, mlflow: bool, run: str | None
) -> Iterator[list[Logger]]:
    """Log to DIR/tensorboard and, with `mlflow`, to $MLFLOW_TRACKING_URI or DIR/mlflow; `run` continues one there.

    Raises `DependencyError` where MLflow is not installed.
    """
    loggers: list[Logger] = [TensorBoardLogger(folder, name="tensorboard", version="")]
    if not mlflow:
        yield loggers
        return
    # MLflow notes in the environment where it logs to.
    before = {name: os.environ.get(name) for name in (*_MLFLOW, "MLFLOW_TRACKING_URI")}
    for name, value in _MLFLOW.items():
        os.environ.setdefault(name, value)
    try:
        yield [*loggers, _mlflow(folder, settings, run)]
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def _mlflow(folder: Path, settings: Mapping[str, Any], run: str | None) -> MLFlowLogger:
    place = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlflow").absolute().as_uri()
    try:
        logger = MLFlowLogger("saliscope", folder.absolute().name, tracking_uri=place, run_id=run)
    except ModuleNotFoundError as err:
        raise DependencyError(
            "logging to MLflow needs it: pip install 'saliscope[track]', or leave out --mlflow"
        ) from err
    if run is None:
        logger.log_hyperparams(
            {"model": settings["model"], "data": settings["data"], **settings["recipe"]}
        )
    return logger


def mlflow_run(loggers: list[Logger]) -> str | None:
    """The id of the MLflow run that is logged to, so that a continued training goes on in it."""
    return next((log.run_id for log in loggers if isinstance(log, MLFlowLogger)), None)
