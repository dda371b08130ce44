"""A training that is stopped at any moment is continued, to the bit."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from saliscope.training import callbacks, fit, train
from saliscope.training.callbacks import CHECKPOINT

# --- stopped and continued -------------------------------------------------------------------------------------------


def in_child(job):
    """Run in a process of its own and give its exit code; below 0 is the signal that ended it."""
    child = multiprocessing.get_context("fork").Process(target=job)
    child.start()
    end = time.monotonic() + 60
    while child.exitcode is None and time.monotonic() < end:  # join would wait for its workers too
        time.sleep(0.01)
    assert child.exitcode is not None
    return child.exitcode


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at", [(1, 2), (3, 4)])
def test_killed_in_an_epoch_it_continues_to_the_bit(
    look, toy, whole, tmp_path, every_step, workers, at
):
    folder, recipe = tmp_path / "out", toy.recipe(workers=workers)
    job = lambda: train(toy.model, toy.splits(), recipe, folder, watch=look.Watch(at, kill))  # noqa: E731
    assert in_child(job) == -signal.SIGKILL
    assert not (folder / "model.json").exists()
    said = []
    done = train(toy.model, toy.splits(), recipe, folder, say=said.append)
    assert any(f"continuing after epoch {at[0] - 1} of 4" in line for line in said) == (at[0] > 1)
    assert len(done.history) == 4
    assert look.course(folder) == look.course(whole)
    assert look.same(look.weights(folder), look.weights(whole))
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
def test_killed_at_the_worst_moment_it_continues_to_the_bit(look, toy, whole, tmp_path, moment):
    folder = tmp_path / "out"

    def job():
        with pytest.MonkeyPatch.context() as patch:
            moment(patch)
            train(toy.model, toy.splits(), toy.recipe(), folder)

    assert in_child(job) == -signal.SIGKILL
    train(toy.model, toy.splits(), toy.recipe(), folder)
    assert look.same(look.weights(folder), look.weights(whole))
    assert look.course(folder) == look.course(whole)
    assert {p.name for p in folder.iterdir()} == {p.name for p in whole.iterdir()}


def test_killed_again_and_again_it_arrives(look, toy, whole, tmp_path, every_step):
    folder = tmp_path / "out"
    for at in [(1, 6), (2, 1), (2, 3), (4, 6)]:
        job = lambda at=at: train(toy.model, toy.splits(), toy.recipe(), folder, watch=look.Watch(at, kill))  # noqa: E731  # fmt: skip
        assert in_child(job) == -signal.SIGKILL
    train(toy.model, toy.splits(), toy.recipe(), folder)
    assert look.same(look.weights(folder), look.weights(whole))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_and_can_be_continued(look, toy, whole, tmp_path, every_step, number):
    folder = tmp_path / "out"
    act = lambda: os.kill(os.getpid(), number)  # noqa: E731
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(toy.model, toy.splits(), toy.recipe(), folder, watch=look.Watch((2, 3), act))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert len(look.course(folder)) == 1
    train(toy.model, toy.splits(), toy.recipe(), folder)
    assert look.same(look.weights(folder), look.weights(whole))


def test_finished_it_is_not_done_again(toy, whole, tmp_path):
    said = []
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*")}
    again = train(toy.model, toy.splits(), toy.recipe(), whole, say=said.append)
    assert said == [f"{whole} is finished already"]
    assert {p: p.stat().st_mtime_ns for p in whole.rglob("*")} == before
    assert again.scores == json.loads((whole / "model.json").read_text())["scores"]
    assert len(again.history) == 4


def test_finished_it_needs_no_checkpoint(toy, look, whole):
    expected = look.course(whole)
    (whole / CHECKPOINT).unlink()
    again = train(toy.model, toy.splits(), toy.recipe(), whole)
    assert [row.val_loss for row in again.history] == [row["val_loss"] for row in expected]
    assert not (whole / CHECKPOINT).exists()


def test_another_place_is_noted(toy, tmp_path, every_step, look):
    folder, said = tmp_path / "out", []

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy.model, toy.splits(), toy.recipe(), folder, watch=look.Watch((2, 3), stop))
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"device": "cuda"}))
    train(toy.model, toy.splits(), toy.recipe(), folder, say=said.append)
    assert "begun on cuda, continued on cpu, 1 thread, float32: the last digits may differ" in said


def test_a_finished_folder_without_its_network_gets_it_again(look, toy, whole):
    before = look.weights(whole)
    (whole / "model.safetensors").unlink()
    (whole / "model.json").unlink()
    train(toy.model, toy.splits(), toy.recipe(), whole)
    assert look.same(look.weights(whole), before)


def test_a_finished_folder_with_damaged_weights_gets_them_again(look, toy, whole):
    file = whole / "model.safetensors"
    # Copies: weights read from a file are a view of it, and it is about to be damaged.
    before = {name: tensor.clone() for name, tensor in look.weights(whole).items()}
    file.write_bytes(file.read_bytes()[:-40])
    said = []
    train(toy.model, toy.splits(), toy.recipe(), whole, say=said.append)
    assert f"{whole} is finished already" not in said
    assert look.same(look.weights(whole), before)


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
def test_the_weights_may_be_read_by_whoever_may_read_the_rest(whole):
    modes = {(whole / name).stat().st_mode & 0o777 for name in ("model.safetensors", "model.json")}
    assert len(modes) == 1
