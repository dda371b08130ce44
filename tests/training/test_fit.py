"""A training from beginning to end."""

import json
import logging
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.training import train
from saliscope.training.callbacks import CHECKPOINT, load_checkpoint

# --- from beginning to end -------------------------------------------------------------------------------------------


def test_a_training_learns_and_leaves_a_network(look, toy, tmp_path):
    said, watch = [], look.Watch()
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


def test_the_averaged_weights_of_the_kept_epoch_are_what_is_left(look, toy, whole):
    state = load_checkpoint(whole / CHECKPOINT)
    best = state["callbacks"]["Keeper"]["best"]
    assert look.same(look.weights(whole), dict(best))
    kept = [row["epoch"] for row in look.course(whole) if row["kept"]]
    accuracies = [row["val_accuracy"] for row in look.course(whole)]
    assert kept[-1] == 1 + int(np.argmax(accuracies))
    last = {n.removeprefix("network."): v for n, v in state["state_dict"].items() if n.startswith("network.")}  # fmt: skip
    assert not look.same(look.weights(whole), last)


def test_the_last_epoch_can_be_kept_without_validation(look, toy, tmp_path):
    recipe = toy.recipe(keep="last", validation=0.0, epochs=2)
    done = train(toy.model, toy.data(), recipe, tmp_path / "out")
    assert done.scores == {"epoch": 2, "validation_loss": None, "validation_accuracy": None}
    state = load_checkpoint(tmp_path / "out" / CHECKPOINT)["state_dict"]
    averaged = {n.removeprefix("averaged."): v for n, v in state.items() if n.startswith("averaged.")}  # fmt: skip
    assert look.same(look.weights(tmp_path / "out"), averaged)
    assert look.course(tmp_path / "out")[0]["train_loss"] > 0


def test_a_share_of_train_validates_where_there_is_nothing_else(toy, tmp_path):
    said = []
    recipe = toy.recipe(validation=0.25, epochs=1)
    done = train(toy.model, toy.data(count=24), recipe, tmp_path / "out", say=said.append)
    assert done.history[0].steps == 5  # 18 images in fours
    assert "6 of 24 training images are held out for validation" in said


def test_everything_is_written_into_the_folder(look, whole, tmp_path):
    found = {p.name for p in whole.iterdir()}
    assert found == {
        "run.json", "last.ckpt", "model.safetensors", "model.json", "curves.csv", "curves.png", "skipped.csv",
        "tensorboard",
    }  # fmt: skip
    assert {p.name for p in tmp_path.iterdir()} == {"whole"}
    assert list((whole / "tensorboard").glob("events.*"))
    record = json.loads((whole / "run.json").read_text())
    assert record["finished"] >= record["started"]
    assert record["settings"]["recipe"]["learning_rate"] == 0.02
    assert record["device"] == "cpu, 1 thread, float32"
    assert set(record["settings"]["fingerprints"]) == {"train", "val", "test"}
    rows = look.table(whole / "curves.csv")
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]


def test_tensorboard_has_the_course(look, whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorboard's own
        events = EventAccumulator(str(whole / "tensorboard")).Reload()
    shown = events.Scalars("accuracy/validation")
    assert [e.step for e in shown] == [6, 12, 18, 24]
    expected = [row["val_accuracy"] for row in look.course(whole)]
    assert [e.value for e in shown] == pytest.approx(expected)
    assert len(events.Scalars("loss/step")) == 24


def test_the_same_seed_gives_the_same_network_and_another_another(look, toy, whole, tmp_path):
    train(toy.model, toy.splits(), toy.recipe(), tmp_path / "again")
    assert look.same(look.weights(whole), look.weights(tmp_path / "again"))
    train(toy.model, toy.splits(), toy.recipe(seed=4), tmp_path / "other")
    assert not look.same(look.weights(whole), look.weights(tmp_path / "other"))


@pytest.mark.parametrize("fields", [{"workers": 2}, {"cache": "none"}, {"cache": "none", "workers": 1}])  # fmt: skip
def test_workers_and_cache_do_not_change_the_result(look, toy, whole, tmp_path, fields):
    train(toy.model, toy.splits(), toy.recipe(**fields), tmp_path / "other")
    assert look.same(look.weights(whole), look.weights(tmp_path / "other"))
    assert look.course(whole) == look.course(tmp_path / "other")


def test_the_process_is_left_as_it_was(toy, tmp_path, capfd):
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric")]

    def state():
        return (
            torch.get_rng_state().tolist(), str(np.random.get_state()), torch.get_num_threads(),
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.is_grad_enabled(),
            signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), [log.level for log in loggers],
            list(warnings.filters), Path.cwd(),
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


def test_frozen_parts_keep_their_values(look, toy, whole, tmp_path):
    recipe = toy.recipe(weights=str(whole), freeze="bn1", epochs=2)
    train(toy.model, toy.splits(), recipe, tmp_path / "out")
    before, after = look.weights(whole), look.weights(tmp_path / "out")
    for name in before:
        still = name.startswith(("conv1.", "bn1."))
        assert torch.equal(before[name], after[name]) == still, name
