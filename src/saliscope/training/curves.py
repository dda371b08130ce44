"""The course of a training as a table and a picture."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["curves_figure", "write_curves"]

_TRAIN, _VALIDATION = "#4477aa", "#ee6677"  # apart for every kind of colour vision


def write_curves(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write `curves.csv` and `curves.png`: one row, one point an epoch; NaN is an empty cell and a gap."""
    write_whole(folder / "curves.csv", curves_csv(history).encode(), durable=True)
    picture = io.BytesIO()
    curves_figure(history).savefig(picture, format="png", dpi=120)
    write_whole(folder / "curves.png", picture.getvalue(), durable=True)


def curves_csv(history: Sequence[Mapping[str, Any]]) -> str:
    """The table as text, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if history:
        writer.writerow(history[0])
    writer.writerows([_cell(value) for value in row.values()] for row in history)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value


def curves_figure(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss and accuracy of training and validation over the epochs, the kept epoch marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
        _lines(axis, history, what)
        axis.set(xlabel="epoch", title=what)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(visible=True, color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if axes[0].lines:
        axes[0].legend(frameon=False)
    return figure


def _lines(axis: Any, history: Sequence[Mapping[str, Any]], what: str) -> None:
    epochs = [row["epoch"] for row in history]
    for part, label, colour in (
        ("train", "training", _TRAIN),
        ("val", "validation", _VALIDATION),
    ):
        values = [row[f"{part}_{what}"] for row in history]
        if not all(map(math.isnan, values)):
            axis.plot(epochs, values, color=colour, label=label, marker=".", markersize=4)
    kept = [row["epoch"] for row in history if row["kept"]]
    if kept:
        axis.axvline(kept[-1], color="#888888", linewidth=0.8, linestyle=":", label="kept")
