"""What a run shows while it goes: lines now and then, or one bar a stage in a terminal."""

import json
import sys

from saliscope.cli import progress, run_progress
from saliscope.cli.run_progress import RunProgress, finished
from saliscope.runs import Outcome


def test_plain_lines_come_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    with RunProgress() as watch:
        watch.begin("explain", 10, 4)
        watch.step(2, 1)
        watch.asking("rise", 100, 4000)
        watch.asking("rise", 4000, 4000)
        watch.step(3, 0)
        watch.begin("measure", 0, 0)
        watch.begin("measure", 3, 0)
        watch.step(3, 0)
        watch.say("a line")
    said = capsys.readouterr()
    assert said.out == ""
    lines = [
        line.partition(", ")[0] + line[line.rfind(", ") :] if "/s" in line else line
        for line in said.err.splitlines()
    ]
    assert lines == [
        "explain: 10 images, 4 done earlier", "3/6, 1 failed", "rise: asked 100 of 4000", "6/6, 1 failed", "measure: 3 images", "3/3, 0 failed", "a line"
    ]  # fmt: skip
    assert (watch.stage, watch.done, watch.failed) == ("measure", 3, 0)


def test_quiet_and_without_progress(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    for watch in (RunProgress(quiet=True), RunProgress(shown=False)):
        with watch:
            watch.begin("explain", 10, 0)
            watch.step(2, 1)
            watch.say("a line")
    assert capsys.readouterr().err == "explain: 10 images\na line\n"


def test_a_terminal_gets_one_bar_a_stage(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with RunProgress() as watch:
        for stage in ("explain", "measure"):
            watch.begin(stage, 8, 2)
            watch.step(3, 1)
            (task,) = watch._bar._bar.tasks
            assert (task.completed, task.total, task.fields["failed"]) == (4, 6, 1)
        watch.say("[a line] with brackets")
    assert watch._bar is None
    assert "[a line] with brackets" in capsys.readouterr().err


def test_nothing_left_to_explain_has_no_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with RunProgress() as watch:
        watch.begin("explain", 8, 8)
        assert not watch._bar._terminal
    assert capsys.readouterr().err == "explain: 8 images, 8 done earlier\n"


def test_what_a_run_holds(capsys):
    assert finished(Outcome("x", 3, 0, 3, 0), quiet=True, as_json=False) == 0
    assert finished(Outcome("x", 3, 1, 3, 0), quiet=True, as_json=True) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["failed"] == 1
    assert said.err == ""
    run_progress.stopped(RunProgress(quiet=True), "x")
    assert capsys.readouterr().err == ""
