"""A training from beginning to end, stopped at any moment, continued to the bit."""

import csv
import json
import logging
import multiprocessing
import os
import signal
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import saliscope as sc
from saliscope.errors import DataError, ModelError, OptionError
from saliscope.training import callbacks, fit, train
from saliscope.training import trainer as trainer_module
from saliscope.training.callbacks import CHECKPOINT, load_checkpoint


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def course(folder):
    """What is in the checkpoint, without what is told by a clock."""
    state = load_checkpoint(folder / CHECKPOINT)["callbacks"]["Keeper"]
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
        for row in state["history"]
    ]


class Watch:
    """Notes what it is told; does `act` at a step of an epoch."""

    def __init__(self, at=None, act=None):
        self.at, self.act = at, act
        self.read, self.steps, self.epochs = [], [], []

    def reading(self, split, done, failed, total):
        self.read.append((split, done, failed, total))

    def step(self, step):
        self.steps.append(step)
        if (step.epoch, step.step) == self.at:
            self.act()

    def epoch(self, epoch, epochs):
        self.epochs.append((epoch.epoch, epochs))


@pytest.fixture
def every_step(monkeypatch):
    """Tell every step, not a few a second."""
    real = callbacks.time.monotonic
    monkeypatch.setattr(
        callbacks, "time", type("T", (), {"monotonic": staticmethod(lambda: real() * 1000)})
    )


@pytest.fixture
def whole(toy, tmp_path):
    """A training that nobody stopped."""
    train(toy.model, toy.splits(), toy.recipe(), tmp_path / "whole")
    return tmp_path / "whole"


# --- from beginning to end -------------------------------------------------------------------------------------------


def test_a_training_learns_and_leaves_a_network(toy, tmp_path):
    said, watch = [], Watch()
    recipe = toy.recipe(epochs=8, keep="best-validation-loss", ema=None)
    done = train(toy.model, toy.splits(), recipe, tmp_path / "out", say=said.append, watch=watch)
    assert done.scores["validation_accuracy"] > 0.7
    assert done.scores["test_accuracy"] > 0.6
    assert done.scores["test_images"] == 10
    losses = [row.val_loss for row in done.history]
    assert done.scores["epoch"] == 1 + int(np.argmin(losses))
    assert done.scores["validation_loss"] == min(losses)
    assert done.history[-1].train_loss < done.history[0].train_loss
    assert [row.epoch for row in done.history] == list(range(1, 9))
    assert done.history[-1].steps == 8 * 6
    assert watch.epochs == [(n, 8) for n in range(1, 9)]
    assert watch.read[-1] == ("test", 10, 0, 10)
    assert ("train", 22, 0, 22) in watch.read
    assert sum("epoch 3/8: train loss" in line for line in said) == 1
    assert any("8 epochs of 6 steps, 4 images each, on cpu, 1 thread, float32: about" in line for line in said)  # fmt: skip


def test_the_network_that_is_left_gives_the_measured_accuracy(toy, whole):
    model = sc.load_model(str(whole))
    facts = json.loads((whole / "model.json").read_text())
    assert model.labels == ("a", "b", "c")
    data = toy.splits()["test"]
    inputs, _ = model.inputs([sample.photo() for sample in data])
    with torch.no_grad():
        logits = model.module(inputs)
    right = (logits.argmax(1) == torch.tensor(data.labels)).float().mean().item()
    assert facts["scores"]["test_accuracy"] == pytest.approx(right)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(data.labels)).item()
    assert facts["scores"]["test_loss"] == pytest.approx(loss, rel=1e-5)


def test_the_averaged_weights_of_the_kept_epoch_are_what_is_left(toy, whole):
    state = load_checkpoint(whole / CHECKPOINT)
    best = state["callbacks"]["Keeper"]["best"]
    assert same(weights(whole), dict(best))
    kept = [row["epoch"] for row in course(whole) if row["kept"]]
    accuracies = [row["val_accuracy"] for row in course(whole)]
    assert kept[-1] == 1 + int(np.argmax(accuracies))
    last = {n.removeprefix("network."): v for n, v in state["state_dict"].items() if n.startswith("network.")}  # fmt: skip
    assert not same(weights(whole), last)


def test_the_last_epoch_can_be_kept_without_validation(toy, tmp_path):
    recipe = toy.recipe(keep="last", validation=0.0, epochs=2)
    done = train(toy.model, toy.data(), recipe, tmp_path / "out")
    assert done.scores == {"epoch": 2, "validation_loss": None, "validation_accuracy": None}
    state = load_checkpoint(tmp_path / "out" / CHECKPOINT)["state_dict"]
    averaged = {n.removeprefix("averaged."): v for n, v in state.items() if n.startswith("averaged.")}  # fmt: skip
    assert same(weights(tmp_path / "out"), averaged)
    assert course(tmp_path / "out")[0]["train_loss"] > 0


def test_a_share_of_train_validates_where_there_is_nothing_else(toy, tmp_path):
    said = []
    recipe = toy.recipe(validation=0.25, epochs=1)
    done = train(toy.model, toy.data(count=24), recipe, tmp_path / "out", say=said.append)
    assert done.history[0].steps == 5  # 18 images in fours
    assert "6 of 24 training images are held out for validation" in said


def test_everything_is_written_into_the_folder(whole, tmp_path):
    found = {p.name for p in whole.iterdir()}
    assert found == {
        "run.json", "last.ckpt", "model.safetensors", "model.json", "curves.csv", "curves.png", "skipped.csv",
        "tensorboard",
    }  # fmt: skip
    assert {p.name for p in tmp_path.iterdir()} == {"whole", "toy.py"}
    assert list((whole / "tensorboard").glob("events.*"))
    record = json.loads((whole / "run.json").read_text())
    assert record["finished"] >= record["started"]
    assert record["settings"]["recipe"]["learning_rate"] == 0.02
    assert record["device"] == "cpu, 1 thread, float32"
    assert set(record["settings"]["fingerprints"]) == {"train", "val", "test"}
    rows = list(csv.DictReader((whole / "curves.csv").open()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]


def test_tensorboard_has_the_course(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorboard's own
        events = EventAccumulator(str(whole / "tensorboard")).Reload()
    shown = events.Scalars("accuracy/validation")
    assert [e.step for e in shown] == [6, 12, 18, 24]
    expected = [row["val_accuracy"] for row in course(whole)]
    assert [e.value for e in shown] == pytest.approx(expected)
    assert len(events.Scalars("loss/step")) == 24


def test_the_same_seed_gives_the_same_network_and_another_another(toy, whole, tmp_path):
    train(toy.model, toy.splits(), toy.recipe(), tmp_path / "again")
    assert same(weights(whole), weights(tmp_path / "again"))
    train(toy.model, toy.splits(), toy.recipe(seed=4), tmp_path / "other")
    assert not same(weights(whole), weights(tmp_path / "other"))


@pytest.mark.parametrize("fields", [{"workers": 2}, {"cache": "none"}, {"cache": "none", "workers": 1}])  # fmt: skip
def test_workers_and_cache_do_not_change_the_result(toy, whole, tmp_path, fields):
    train(toy.model, toy.splits(), toy.recipe(**fields), tmp_path / "other")
    assert same(weights(whole), weights(tmp_path / "other"))
    assert course(whole) == course(tmp_path / "other")


def test_the_process_is_left_as_it_was(toy, tmp_path, capfd):
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric")]

    def state():
        return (
            torch.get_rng_state().tolist(), str(np.random.get_state()), torch.get_num_threads(),
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.is_grad_enabled(),
            signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), [log.level for log in loggers],
            list(warnings.filters), os.getcwd(),
        )  # fmt: skip

    before = state()
    train(toy.model, toy.splits(), toy.recipe(epochs=1), tmp_path / "out")
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_bfloat16_trains_in_float32_weights(toy, tmp_path):
    recipe = toy.recipe(precision="bfloat16", epochs=2)
    done = train(toy.model, toy.splits(), recipe, tmp_path / "out")
    state = load_checkpoint(tmp_path / "out" / CHECKPOINT)["state_dict"]
    assert {v.dtype for v in state.values()} == {torch.float32, torch.int64}
    assert done.history[1].train_loss < 2
    assert "bfloat16" in json.loads((tmp_path / "out" / "run.json").read_text())["device"]


def test_frozen_parts_keep_their_values(toy, tmp_path):
    train(toy.model, toy.splits(), toy.recipe(freeze="bn1", epochs=2), tmp_path / "out")
    train(toy.model, toy.splits(), toy.recipe(freeze="bn1", epochs=1), tmp_path / "other")
    first, second = weights(tmp_path / "out"), weights(tmp_path / "other")
    for name in first:
        still = name.startswith(("conv1.", "bn1."))
        assert torch.equal(first[name], second[name]) == still, name
    assert first["bn1.num_batches_tracked"] == 0


# --- stopped and continued -------------------------------------------------------------------------------------------


def in_child(job):
    """Run in a process of its own and give its exit code; below 0 is the signal that ended it."""
    child = multiprocessing.get_context("fork").Process(target=job)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at", [(1, 2), (3, 4)])
def test_killed_in_an_epoch_it_continues_to_the_bit(toy, whole, tmp_path, every_step, workers, at):
    folder, recipe = tmp_path / "out", toy.recipe(workers=workers)
    job = lambda: train(toy.model, toy.splits(), recipe, folder, watch=Watch(at, kill))  # noqa: E731
    assert in_child(job) == -signal.SIGKILL
    assert not (folder / "model.json").exists()
    said = []
    done = train(toy.model, toy.splits(), recipe, folder, say=said.append)
    assert any(f"continuing after epoch {at[0] - 1} of 4" in line for line in said) == (at[0] > 1)
    assert len(done.history) == 4
    assert course(folder) == course(whole)
    assert same(weights(folder), weights(whole))
    assert json.loads((folder / "run.json").read_text())["scores"] == json.loads((whole / "run.json").read_text())["scores"]  # fmt: skip


def at_call(count, then):
    """Count calls, and act before the one that counts."""
    calls = []

    def check():
        calls.append(1)
        if len(calls) == count:
            then()

    return check


def half_written(monkeypatch):
    """The second checkpoint is half on the disk when the process dies."""
    real = callbacks.save_checkpoint
    calls = []

    def save(trainer, path):
        calls.append(1)
        if len(calls) == 2:
            whole = path.read_bytes()
            path.with_name(f".{path.name}.new").write_bytes(whole[: len(whole) // 2])
            kill()
        real(trainer, path)

    monkeypatch.setattr(callbacks, "save_checkpoint", save)


def before_its_name(monkeypatch):
    """The second checkpoint is written but has not got its name."""
    real, check = callbacks.settle, at_call(2, kill)
    monkeypatch.setattr(callbacks, "settle", lambda *paths: (check(), real(*paths)))


def before_the_curves(monkeypatch):
    real, check = callbacks.write_curves, at_call(3, kill)
    monkeypatch.setattr(callbacks, "write_curves", lambda *a: (check(), real(*a)))


def before_the_test(monkeypatch):
    monkeypatch.setattr(fit, "judge", lambda *a, **k: kill())


def before_the_network(monkeypatch):
    monkeypatch.setattr(fit, "save_model", lambda *a, **k: kill())


def before_the_end(monkeypatch):
    real = fit.save_model
    monkeypatch.setattr(fit, "save_model", lambda *a, **k: (real(*a, **k), kill()))


def while_reading(monkeypatch):
    monkeypatch.setattr(fit.Intake, "tell", lambda self, split: lambda *n: kill())


@pytest.mark.parametrize(
    "moment",
    [
        half_written, before_its_name, before_the_curves, before_the_test, before_the_network, before_the_end,
        while_reading,
    ],
    ids=lambda moment: moment.__name__,
)  # fmt: skip
def test_killed_at_the_worst_moment_it_continues_to_the_bit(toy, whole, tmp_path, moment):
    folder = tmp_path / "out"

    def job():
        with pytest.MonkeyPatch.context() as patch:
            moment(patch)
            train(toy.model, toy.splits(), toy.recipe(), folder)

    assert in_child(job) == -signal.SIGKILL
    train(toy.model, toy.splits(), toy.recipe(), folder)
    assert same(weights(folder), weights(whole))
    assert course(folder) == course(whole)
    assert {p.name for p in folder.iterdir()} == {p.name for p in whole.iterdir()}


def test_killed_again_and_again_it_arrives(toy, whole, tmp_path, every_step):
    folder = tmp_path / "out"
    for at in [(1, 6), (2, 1), (2, 3), (4, 6)]:
        job = lambda at=at: train(toy.model, toy.splits(), toy.recipe(), folder, watch=Watch(at, kill))  # noqa: E731  # fmt: skip
        assert in_child(job) == -signal.SIGKILL
    train(toy.model, toy.splits(), toy.recipe(), folder)
    assert same(weights(folder), weights(whole))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_and_can_be_continued(toy, whole, tmp_path, every_step, number):
    folder = tmp_path / "out"
    act = lambda: os.kill(os.getpid(), number)  # noqa: E731
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(toy.model, toy.splits(), toy.recipe(), folder, watch=Watch((2, 3), act))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert len(course(folder)) == 1
    train(toy.model, toy.splits(), toy.recipe(), folder)
    assert same(weights(folder), weights(whole))


def test_finished_it_is_not_done_again(toy, whole, tmp_path):
    said = []
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*")}
    again = train(toy.model, toy.splits(), toy.recipe(), whole, say=said.append)
    assert said == [f"{whole} is finished already"]
    assert {p: p.stat().st_mtime_ns for p in whole.rglob("*")} == before
    assert again.scores == json.loads((whole / "model.json").read_text())["scores"]
    assert len(again.history) == 4


def test_a_finished_folder_without_its_network_gets_it_again(toy, whole):
    before = weights(whole)
    (whole / "model.safetensors").unlink()
    (whole / "model.json").unlink()
    train(toy.model, toy.splits(), toy.recipe(), whole)
    assert same(weights(whole), before)


# --- another training in the folder ----------------------------------------------------------------------------------


def test_another_recipe_is_refused_field_by_field(toy, whole):
    other = toy.recipe(learning_rate=0.5, epochs=7, workers=2)
    with pytest.raises(OptionError) as caught:
        train(toy.model, toy.splits(), other, whole)
    message = str(caught.value)
    assert "holds another training: recipe.learning_rate was 0.02, is 0.5; recipe.epochs was 4, is 7. " in message  # fmt: skip
    assert "--overwrite" in message
    assert "workers" not in message


def test_other_data_and_another_network_are_refused(toy, whole):
    with pytest.raises(OptionError, match=r'fingerprints\.train was "[0-9a-f]{64}'):
        train(toy.model, toy.splits(count=21), toy.recipe(), whole)
    with pytest.raises(OptionError, match='model was ".*toy.py:build", is "resnet18"'):
        train("resnet18", toy.splits(), toy.recipe(), whole)


def test_overwrite_begins_anew_and_removes_only_its_own(toy, whole):
    (whole / "notes.txt").write_text("mine")
    recipe = toy.recipe(epochs=1)
    done = train(toy.model, toy.splits(), recipe, whole, overwrite=True)
    assert len(done.history) == 1
    assert (whole / "notes.txt").read_text() == "mine"
    assert len(list((whole / "tensorboard").glob("events.*"))) == 1


def test_a_foreign_or_damaged_record_is_refused(toy, tmp_path):
    (tmp_path / "run.json").write_text('{"schema": 1, "what": 2}')
    with pytest.raises(DataError, match=r"run.json is no record of a training .* --overwrite"):
        train(toy.model, toy.splits(), toy.recipe(), tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 9, "settings": {}}')
    with pytest.raises(DataError, match="has schema 9, this version of saliscope writes 1"):
        train(toy.model, toy.splits(), toy.recipe(), tmp_path)


def test_a_damaged_checkpoint_is_an_error(toy, whole):
    (whole / "model.json").unlink()
    (whole / CHECKPOINT).write_bytes((whole / CHECKPOINT).read_bytes()[:3000])
    with pytest.raises(DataError, match="last.ckpt is damaged, so this training cannot be continued"):  # fmt: skip
        train(toy.model, toy.splits(), toy.recipe(), whole)


# --- what the data holds ---------------------------------------------------------------------------------------------


def test_damaged_images_are_left_out_and_named(toy, tmp_path):
    said = []
    splits = {"train": toy.data(broken=(3, 20)), "val": toy.data("val", 9, broken=(0,)), "test": toy.data("test", 10, broken=(9,))}  # fmt: skip
    done = train(toy.model, splits, toy.recipe(epochs=2), tmp_path / "out", say=said.append)
    assert any(line.startswith("3 images cannot be read and are left out; ") for line in said)
    assert "1 test images cannot be read and do not count" in said
    rows = list(csv.DictReader((tmp_path / "out" / "skipped.csv").open()))
    assert [(row["split"], row["id"]) for row in rows] == [
        ("train", "train/3"), ("train", "train/20"), ("val", "val/0"), ("test", "test/9"),
    ]  # fmt: skip
    assert "is not a picture" in rows[0]["reason"]
    assert done.scores["test_images"] == 9
    assert done.history[0].steps == 5


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_data_that_changed_while_it_was_stopped_is_noticed_where_it_is_read(
    toy, tmp_path, every_step, cache
):
    recipe, folder = toy.recipe(cache=cache), tmp_path / "out"

    def stop():
        raise KeyboardInterrupt

    splits = toy.splits(broken=(3,))
    with pytest.raises(KeyboardInterrupt):
        train(toy.model, splits, recipe, folder, watch=Watch((2, 3), stop))
    if cache == "memory":
        with pytest.raises(DataError, match="other images of toy, train, can be read now .* 0 cannot be, 1 could not"):  # fmt: skip
            train(toy.model, toy.splits(), recipe, folder)
    else:
        train(toy.model, toy.splits(), recipe, folder)
        assert {row["steps"] for row in course(folder)} == {
            6,
            12,
            18,
            24,
        }  # still without it: 21 images


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


def test_a_worker_ended_from_outside_is_explained(toy, tmp_path):
    class Deadly(type(toy.data().read)):
        def __call__(self, index):
            if multiprocessing.parent_process() is not None and self.split == "train":
                kill()
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
    with pytest.raises(DataError, match='^sample "train/5" of toy could be read when'):
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


def test_mlflow_gets_the_course_and_one_run(toy, tmp_path, every_step, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = dict(os.environ)
    folder, recipe = tmp_path / "out", toy.recipe()

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy.model, toy.splits(), recipe, folder, mlflow=True, watch=Watch((2, 3), stop))
    train(toy.model, toy.splits(), recipe, folder, mlflow=True)
    assert dict(os.environ) == before
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient((folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("saliscope")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["learning_rate"] == "0.02"
    history = client.get_metric_history(run.info.run_id, "accuracy/validation")
    assert [m.step for m in history] == [6, 12, 18, 24]
    assert [m.value for m in history] == [row["val_accuracy"] for row in course(folder)]
    assert {p.name for p in tmp_path.iterdir()} == {"out", "toy.py"}
