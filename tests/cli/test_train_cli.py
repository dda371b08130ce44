"""`saliscope train`: flags become a recipe, a training becomes lines, a folder and an exit code."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib

import pytest

import saliscope as sc
from saliscope.cli import train_progress
from saliscope.cli.train_progress import TrainProgress
from saliscope.training import Recipe, fit, make_recipe
from saliscope.training.callbacks import Epoch, Step

SMALL = ("--weights", "untrained", "--size", "24", "--augment", "flip", "--batch-size", "16", "--precision", "float32", "--ema", "none")  # fmt: skip


@pytest.fixture
def words(place):
    """A command that trains the small network of net.py on 48 critters, in two epochs."""
    model = f"{place / 'net.py'}:build"
    return ["train", "--model", model, "--data", "critters:count=48", *SMALL, "--epochs", "2"]


def config(run, *words):
    done = run("train", "--print-config", *words, net=False)
    assert done.code == 0, done.err
    return tomllib.loads(done.out)


# --- flags -----------------------------------------------------------------------------------------------------------


def test_the_recipe_is_printed_as_toml(run):
    found = config(run, "--recipe", "yang2025")
    assert (found["learning_rate"], found["batch_size"], found["epochs"]) == (0.01, 16, 4)
    assert make_recipe(found).name == "yang2025"


def test_the_recipe_is_printed_as_json(run):
    done = run("train", "--print-config", "--json", "--recipe", "yang2025", net=False)
    assert json.loads(done.out)["optimizer"] == "sgd"


FLAGS = {
    "weights": ("untrained", "untrained"),
    "size": ("96", 96),
    "resize": ("letterbox", "letterbox"),
    "mean": ("0.5,0.25,0", [0.5, 0.25, 0.0]),
    "std": ("0.5,1,2", [0.5, 1.0, 2.0]),
    "augment": ("light", "light"),
    "optimizer": ("sgd", "sgd"),
    "learning_rate": ("3e-4", 3e-4),
    "head_learning_rate": ("0.5", 0.5),
    "momentum": ("0", 0.0),
    "weight_decay": ("1", 1.0),
    "batch_size": ("7", 7),
    "epochs": ("9", 9),
    "schedule": ("constant", "constant"),
    "warmup_epochs": ("2.5", 2.5),
    "label_smoothing": ("0.25", 0.25),
    "ema": ("0.5", 0.5),
    "precision": ("bfloat16", "bfloat16"),
    "keep": ("last", "last"),
    "seed": ("12", 12),
    "validation": ("0.3", 0.3),
    "freeze": ("layer3", "layer3"),
    "fresh": ("fc,layer4", ["fc", "layer4"]),
    "batch_norms": ("keep", "keep"),
    "workers": ("3", 3),
    "cache": ("none", "none"),
}


def test_every_field_is_a_flag():
    assert set(FLAGS) == set(Recipe.model_fields) - {"name"}


@pytest.mark.parametrize("field", FLAGS)
def test_a_flag_replaces_its_field_and_no_other(run, field):
    text, value = FLAGS[field]
    plain = config(run)
    changed = config(run, f"--{field.replace('_', '-')}", text)
    assert changed.pop(field) == value
    plain.pop(field, None)
    assert changed == plain


@pytest.mark.parametrize("field", ["ema", "head_learning_rate", "workers"])
def test_none_takes_back_what_the_recipe_says(run, field):
    assert field not in config(run, "--recipe", "modern", f"--{field.replace('_', '-')}", "none")


def test_several_modules_start_anew(run):
    assert config(run, "--fresh", "fc", "--fresh", "layer4")["fresh"] == ["fc", "layer4"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer", "adam"], 'Invalid value "adam" for --optimizer'),
        (["--learning-rate", "-1"], "learning_rate is -1.0, but must be greater than 0"),
        (["--mean", "1,2"], '--mean is 3 numbers separated by commas; got "1,2"'),
        (["--recipe", "moderne"], 'no recipe is called "moderne" and there is no such file; nearest: "modern"'),
        (["--learning-rat", "1"], "--learning-rat"),
    ],
)  # fmt: skip
def test_wrong_flags_are_told_in_one_line(run, words, message):
    done = run("train", "--print-config", *words, net=False)
    assert done.code == 2
    assert len(done.lines) == 1
    assert message in done.err


def test_what_is_missing_is_named(run, place):
    done = run("train", "--data", "critters", net=False)
    assert done.code == 2
    assert "train needs --model and -o: saliscope train --model resnet50" in done.err
    (place / "file").write_text("")
    done = run("train", "-m", "resnet18", "-d", "critters", "-o", place / "file", net=False)
    assert (done.code, f"-o {place / 'file'} is a file; name a folder" in done.err) == (2, True)


def test_help_needs_no_torch():
    code = (
        "import sys; from saliscope.cli.app import main; main(['train', '--help'])\n"
        "main(['train', '--print-config'])\n"
        "print([m for m in ('torch', 'lightning', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--label-smoothing" in done.stdout
    assert "curves.png" in done.stdout


# --- a training ------------------------------------------------------------------------------------------------------


def test_a_training_from_the_command_line(run, words, place, tree):
    out = place / "out"
    done = run(*words, "-o", out, "--json", net=False)
    assert done.code == 0, done.err
    scores = json.loads(done.out)
    assert scores["folder"] == str(out)
    assert scores["test_images"] == 48
    assert sum("epoch 2/2: train loss" in line for line in done.lines) == 1
    assert any("2 epochs of 3 steps, 16 images each" in line for line in done.lines)
    assert list((place / "cwd").iterdir()) == []
    model = sc.load_model(str(out))
    assert len(model.labels) == 24
    assert model.preprocessing.size == (24, 24)

    before = tree(out)
    again = run(*words, "-o", out, "--json", net=False)
    assert json.loads(again.out) == scores
    assert f"{out} is finished already" in again.err
    assert tree(out) == before

    other = run(*words, "-o", out, "--learning-rate", "0.5", net=False)
    assert other.code == 2
    assert "recipe.learning_rate was 0.0001, is 0.5" in other.err

    anew = run(*words, "-o", out, "--learning-rate", "0.01", "--overwrite", "-q", net=False)
    assert (anew.code, anew.out, anew.err) == (0, "", "")
    assert json.loads((out / "run.json").read_text())["settings"]["recipe"]["learning_rate"] == 0.01


def test_an_interrupt_says_what_continues(run, words, place, monkeypatch):
    real = fit.run

    def interrupted(trainer, *more):
        trainer.callbacks[1].watch.step(Step(2, 2, 1, 3, 10.0, 1.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "run", interrupted)
    done = run(*words, "-o", place / "out", net=False)
    assert done.code == 130
    assert done.lines[-2:] == ["stopped; the same command continues after epoch 1", "saliscope: interrupted"]  # fmt: skip
    monkeypatch.setattr(fit, "run", real)
    assert run(*words, "-o", place / "out", net=False).code == 0


def test_a_full_disk_is_one_line(run, words, place, monkeypatch):
    def full(*given, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fit, "train", full)
    done = run(*words, "-o", place / "out", net=False)
    assert (done.code, len(done.lines)) == (2, 1)
    assert "cannot be written to (No space left on device): make room" in done.err
    assert "the same command continues" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_process_is_continued_by_the_same_command(words, place, number):
    """With everything a user has: another process, workers, the signals of a terminal."""
    command = [sys.executable, "-m", "saliscope", *words[:-1], "12", "--workers", "1", "-o", place / "out"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        seen = ""
        while "epoch 3/12:" not in seen:
            line = process.stderr.readline()
            assert line, f"it ended early: {seen}"
            seen += line
        time.sleep(0.05)
        os.kill(process.pid, number)
        seen += process.stderr.read()
        process.wait(60)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command continues after epoch" in seen
        assert "Traceback" not in seen
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "continuing after epoch" in done.stderr
    whole = [*command[:-1], place / "whole"]
    subprocess.run(whole, capture_output=True, check=True, timeout=120)
    files = [place / name / "model.safetensors" for name in ("out", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


# --- what is shown ---------------------------------------------------------------------------------------------------

EPOCH = Epoch(1, 3, 0.1, 1.5, 0.25, 1.25, 0.5, 12.0, 4.0, kept=True)


def test_plain_lines_come_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(train_progress, "_EVERY", 0.0)
    with TrainProgress() as bar:
        bar.reading("train", 10, 2, 40)
        bar.step(Step(2, 5, 3, 8, 21.25, 0.5))
        bar.epoch(EPOCH, 5)
        bar.say("a line")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "reading train, 12/40, 2 failed",
        "epoch 2/5, 3/8, 21.2 images/s, train loss 0.5000",
        "a line",
    ]
    assert (bar.began, bar.finished) == (True, 1)


def test_quiet_and_without_progress(capsys, monkeypatch):
    monkeypatch.setattr(train_progress, "_EVERY", 0.0)
    for bar in (TrainProgress(quiet=True), TrainProgress(shown=False)):
        with bar:
            bar.step(Step(2, 5, 3, 8, 21.25, 0.5))
            bar.say("a line")
    assert capsys.readouterr().err == "a line\n"


def test_a_terminal_gets_one_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with TrainProgress() as bar:
        bar.reading("train", 10, 2, 40)
        bar.step(Step(1, 5, 3, 8, 21.25, 0.5))
        bar.say("[a line] with brackets")
        bar.step(Step(2, 5, 8, 8, 21.25, 0.5))
        assert len(bar._bar.tasks) == 1
        assert bar._bar.tasks[0].completed == 8
    assert "[a line] with brackets" in capsys.readouterr().err


def test_an_epoch_is_one_line():
    assert f"{EPOCH}" == (
        "train loss 1.5000, accuracy 25.0%; validation loss 1.2500, accuracy 50.0%; 12.0 images/s, 4 s *"
    )
