"""What a training makes of the data it gets, and of places and settings that do not do."""

import multiprocessing
import os

import pytest
import torch

from saliscope.errors import DataError, ModelError, OptionError
from saliscope.training import train
from saliscope.training import trainer as trainer_module

# --- what the data holds ---------------------------------------------------------------------------------------------


def test_damaged_images_are_left_out_and_named(look, toy, tmp_path):
    said = []
    splits = {"train": toy.data(broken=(3, 20)), "val": toy.data("val", 9, broken=(0,)), "test": toy.data("test", 10, broken=(9,))}  # fmt: skip
    done = train(toy.model, splits, toy.recipe(epochs=2), tmp_path / "out", say=said.append)
    assert any(line.startswith("3 images cannot be read and are left out; ") for line in said)
    assert "1 test images cannot be read and do not count" in said
    rows = look.table(tmp_path / "out" / "skipped.csv")
    assert [(row["split"], row["id"]) for row in rows] == [
        ("train", "train/3"), ("train", "train/20"), ("val", "val/0"), ("test", "test/9"),
    ]  # fmt: skip
    assert "is not a picture" in rows[0]["reason"]
    assert done.scores["test_images"] == 9
    assert done.history[0].steps == 5


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_data_that_changed_while_it_was_stopped_is_noticed_where_it_is_read(
    look, toy, tmp_path, every_step, cache
):
    recipe, folder = toy.recipe(cache=cache), tmp_path / "out"

    def stop():
        raise KeyboardInterrupt

    splits = toy.splits(broken=(3,))
    with pytest.raises(KeyboardInterrupt):
        train(toy.model, splits, recipe, folder, watch=look.Watch((2, 3), stop))
    if cache == "memory":
        with pytest.raises(DataError, match=r"other images of toy, train, can be read now .* 0 cannot be, 1 could not"):  # fmt: skip
            train(toy.model, toy.splits(), recipe, folder)
    else:
        train(toy.model, toy.splits(), recipe, folder)
        # still without it: 21 images are 5 batches, and one over
        assert [row["steps"] for row in look.course(folder)] == [5, 10, 15, 20]


def test_without_labels_there_is_no_training(toy, tmp_path):
    data = toy.data(count=4, labels=[0, None, 1, 2])
    with pytest.raises(DataError, match='sample "train/1" of toy has no single class'):
        train(toy.model, {"train": data, "val": toy.data("val", 9)}, toy.recipe(), tmp_path)


def test_a_test_split_without_labels_is_left_out(toy, tmp_path):
    said = []
    splits = toy.splits() | {"test": toy.data("test", 4, labels=[None] * 4)}
    done = train(toy.model, splits, toy.recipe(epochs=1), tmp_path / "out", say=said.append)
    assert "test_accuracy" not in done.scores
    assert any("4 images of the test split are left out" in line for line in said)


def test_classes_are_matched_by_name(toy, tmp_path):
    said = []
    # a sample's class is its number modulo 3, named here in another order and with one that training lacks
    other = toy.data("test", 9, classes=("b", "zebra", "a"))
    splits = {"train": toy.data(), "val": toy.data("val", 9), "test": other}
    done = train(toy.model, splits, toy.recipe(epochs=1), tmp_path / "out", say=said.append)
    assert done.scores["test_images"] == 6
    assert any("3 images of the test split are left out: 1 classes (zebra)" in line for line in said)  # fmt: skip


# --- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "fields", "message"),
    [
        ("val", {}, 'need one called "train"'),
        ("vall", {}, 'there is no split "vall" in training; nearest: "val"'),
        ("train", {"validation": 0.0}, 'keep "best-validation-accuracy" needs validation images, and toy has none'),
    ],
)  # fmt: skip
def test_splits_that_do_not_do_are_refused(toy, tmp_path, data, fields, message):
    with pytest.raises(OptionError, match=message):
        train(toy.model, {data: toy.data()}, toy.recipe(**fields), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_train_split_is_an_error(toy, tmp_path):
    with pytest.raises(DataError, match="toy has no training images"):
        train(toy.model, toy.data(count=0), toy.recipe(keep="last"), tmp_path / "out")


def test_a_training_that_diverges_says_so(toy, tmp_path):
    recipe = toy.recipe(optimizer="sgd", learning_rate=1e30, ema=None, keep="best-validation-loss", epochs=2, warmup_epochs=0.0)  # fmt: skip
    with pytest.raises(ModelError, match="the training diverged in epoch 1: its loss is nan"):  # fmt: skip
        train(toy.model, toy.splits(), recipe, tmp_path / "out")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"devices": 0}, "devices and nodes are at least 1; got 0 devices on 1 nodes"),
        ({"devices": 3}, "batch_size 4 counts all 3 processes together and must be a multiple of 3"),
        ({"device": "tpu9"}, 'device "tpu9" cannot be used here'),
    ],
)  # fmt: skip
def test_places_that_do_not_do_are_refused(toy, tmp_path, more, message):
    with pytest.raises(OptionError, match=message):
        train(toy.model, toy.splits(), toy.recipe(), tmp_path / "out", **more)


def test_a_worker_ended_from_outside_is_explained(look, toy, tmp_path):
    class Deadly(type(toy.data().read)):
        def __call__(self, index):
            if multiprocessing.parent_process() is not None and self.split == "train":
                look.kill()
            return super().__call__(index)

    data = toy.data()
    data = type(data)("toy", "train", data.classes, data.ids, data.labels, Deadly("train", 0, ()))
    recipe = toy.recipe(workers=1, cache="none")
    with pytest.raises(DataError, match=r"a process that reads images was ended from outside .* with workers 0"):  # fmt: skip
        train(toy.model, toy.splits() | {"train": data}, recipe, tmp_path / "out")


def test_an_error_in_a_worker_is_one_sentence(toy, tmp_path):
    """Read when the training began, damaged later."""

    class Fading(type(toy.data().read)):
        def __call__(self, index):
            if (tmp_path / "out" / "tensorboard").exists():
                self.broken = (5,)
            return super().__call__(index)

    data = toy.data()
    data = type(data)("toy", "train", data.classes, data.ids, data.labels, Fading("train", 0, ()))
    recipe = toy.recipe(workers=1, cache="none")
    # Made by a program, it is not read before; nothing else differs.
    with pytest.raises(DataError, match=r'^sample "train/5" of toy could be read when'):
        train(toy.model, toy.splits() | {"train": data}, recipe, tmp_path / "out")


# --- where it runs ---------------------------------------------------------------------------------------------------


def test_workers_are_chosen_by_the_place(toy, monkeypatch):
    monkeypatch.setattr(trainer_module, "_cores", lambda: 8)
    cpu = trainer_module.choose_place(toy.recipe(), device="cpu", devices=1, nodes=1)
    gpu = trainer_module.Place(torch.device("cuda"), 2, 1, bfloat16=True)
    free = toy.recipe(workers=None)
    choose = trainer_module.choose_workers
    assert choose(toy.recipe(workers=5), cpu, cached=True) == 5
    assert choose(free, cpu, cached=True) == 0
    assert choose(free, cpu, cached=False) == 4
    assert choose(free, gpu, cached=True) == 3
    monkeypatch.setattr(trainer_module.sys, "platform", "darwin")
    assert choose(free, gpu, cached=True) == 0
    assert trainer_module.choose_readers(toy.recipe(workers=0), cpu) == 0
    assert trainer_module.choose_readers(free, cpu) == 8


def test_mlflow_gets_the_course_and_one_run(look, toy, tmp_path, every_step, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = dict(os.environ)
    folder, recipe = tmp_path / "out", toy.recipe()

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy.model, toy.splits(), recipe, folder, mlflow=True, watch=look.Watch((2, 3), stop))
    train(toy.model, toy.splits(), recipe, folder, mlflow=True)
    assert dict(os.environ) == before
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient((folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("saliscope")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["learning_rate"] == "0.02"
    history = client.get_metric_history(run.info.run_id, "accuracy/validation")
    assert [m.step for m in history] == [6, 12, 18, 24]
    assert [m.value for m in history] == [row["val_accuracy"] for row in look.course(folder)]
    assert {p.name for p in tmp_path.iterdir()} == {"out"}
