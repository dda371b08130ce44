"""The course of a training as a table and a picture."""

import csv
import math
from dataclasses import asdict, replace

import numpy as np
from PIL import Image

from saliscope.training.callbacks import Epoch
from saliscope.training.curves import curves_csv, curves_figure, write_curves

FIRST = Epoch(1, 10, 0.01, 2.0, 0.25, 1.5, 0.4, 80.5, 12.0, kept=True)
COURSE = [
    asdict(FIRST),
    asdict(replace(FIRST, epoch=2, steps=20, train_loss=1.0, val_loss=1.25, val_accuracy=0.5)),
    asdict(replace(FIRST, epoch=3, steps=30, train_loss=0.5, val_loss=1.75, kept=False)),
]
BARE = [row | {"val_loss": math.nan, "val_accuracy": math.nan} for row in COURSE]


def test_the_table_has_a_row_for_each_epoch():
    rows = list(csv.DictReader(curves_csv(COURSE).splitlines()))
    assert list(rows[0]) == list(asdict(FIRST))
    assert [row["val_loss"] for row in rows] == ["1.5", "1.25", "1.75"]
    assert [row["kept"] for row in rows] == ["1", "1", "0"]
    assert rows[1]["images_per_second"] == "80.5"


def test_what_was_not_measured_is_an_empty_cell():
    rows = list(csv.DictReader(curves_csv(BARE).splitlines()))
    assert {row["val_loss"] for row in rows} == {""}
    assert rows[0]["train_loss"] == "2"
    assert curves_csv([]) == ""


def lines(axis):
    return {line.get_label(): list(line.get_ydata()) for line in axis.lines}


def test_the_figure_shows_both_curves_and_the_kept_epoch():
    loss, accuracy = curves_figure(COURSE).axes
    assert lines(loss)["training"] == [2.0, 1.0, 0.5]
    assert lines(loss)["validation"] == [1.5, 1.25, 1.75]
    assert lines(accuracy)["validation"] == [0.4, 0.5, 0.4]
    (kept,) = [line for line in loss.lines if line.get_label() == "kept"]
    assert list(kept.get_xdata()) == [2, 2]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation", "kept"]  # fmt: skip


def test_without_validation_there_is_one_curve():
    loss, accuracy = curves_figure(BARE).axes
    assert set(lines(loss)) == set(lines(accuracy)) == {"training", "kept"}


def test_nothing_to_show_is_an_empty_figure():
    assert [len(axis.lines) for axis in curves_figure([]).axes] == [0, 0]


def test_the_files_are_written_whole(tmp_path):
    write_curves(tmp_path, COURSE[:1])
    write_curves(tmp_path, COURSE)
    assert {p.name for p in tmp_path.iterdir()} == {"curves.csv", "curves.png"}
    assert (tmp_path / "curves.csv").read_text() == curves_csv(COURSE)
    picture = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).astype(int)
    assert picture.shape[0] > 300
    blue = np.abs(picture - [0x44, 0x77, 0xAA]).sum(2) < 30
    red = np.abs(picture - [0xEE, 0x66, 0x77]).sum(2) < 30
    assert blue.sum() > 100
    assert red.sum() > 100
