"""Processes that are killed at random moments: the run that is left continues to the same rows, none lost, none twice."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from saliscope import runs

# Processes are forked from a server that has imported everything and begun no thread, so they begin in no time.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["torch", "polars", "cv2", "saliscope.runs.execution", "saliscope.data.folder"]
)


def begin(settings, folder):
    process = SERVER.Process(target=partial(runs.evaluate, settings, folder))
    process.start()
    return process


def parts(folder):
    return len(list(folder.glob("*/part-*.parquet")))


def kill(process):
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def many(write_photos, tmp_path_factory):
    """60 photographs; 20 batches of 3, so 120 files in all."""
    return write_photos(tmp_path_factory.mktemp("many") / "many", 20)


@pytest.fixture(scope="module")
def few(settings_of, many):
    """Little is done with each, so that a run takes a second or two."""
    more = {"trivial": False, "thresholds": 5, "protocols": ["cam2016"], "pointing": []}
    return settings_of(many, batch_size=3, workers=1, **more)


@pytest.fixture(scope="module")
def whole(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    runs.evaluate(few, folder)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_it_arrives(few, whole, look, tmp_path, workers):
    again, dice = few.model_copy(update={"workers": workers}), random.Random(workers)
    left = [0]
    for _ in range(4 if workers == 1 else 1):
        process = begin(again, tmp_path / "run")
        goal = min(left[-1] + dice.randrange(1, 25), 110)
        until = time.monotonic() + 60
        while parts(tmp_path / "run") < goal and process.is_alive() and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.02))
        children = _children(process.pid)
        assert len(children) >= (workers if workers > 1 else 0)
        assert kill(process) == -signal.SIGKILL, "it was done before it was killed"
        _wait_for_the_end_of(children)  # what lost its parent writes what it has in hand, and goes
        left.append(parts(tmp_path / "run"))
    assert left == sorted(left)
    assert 0 < left[-1] < 120
    outcome = runs.evaluate(few, tmp_path / "run")
    assert (outcome.done, outcome.failed) == (60, 0)
    look.same(tmp_path / "run", whole)
    look.once(tmp_path / "run")
    assert parts(tmp_path / "run") == parts(whole) == 120


def test_two_shards_at_the_same_time(few, whole, look, tmp_path):
    both = [begin(few.model_copy(update={"shard": f"{i}/2"}), tmp_path / "run") for i in (1, 2)]
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    look.same(tmp_path / "run", whole)
    look.once(tmp_path / "run")
    run = runs.open_run(tmp_path / "run")
    assert (run.missing, run.unmeasured) == (0, 0)
    found = sorted((s.shard, s.stage, s.done) for s in run.record.sessions)
    assert found == [
        ("1/2", "explain", 30), ("1/2", "measure", 30), ("2/2", "explain", 30), ("2/2", "measure", 30)
    ]  # fmt: skip
    assert run.record.ended
    assert all(s.ended for s in run.record.sessions)


def _children(pid):
    psutil = pytest.importorskip("psutil")
    return [
        c.pid
        for c in psutil.Process(pid).children(recursive=True)
        if "resource_tracker" not in " ".join(c.cmdline())
    ]


def _wait_for_the_end_of(pids):
    until = time.monotonic() + 30
    while any(map(_runs, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not list(filter(_runs, pids))


def _runs(pid):
    psutil = pytest.importorskip("psutil")
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# --- the long form ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fifty_kills_of_the_command(look, tmp_path):
    """1,000 critters, one to four processes, kill -9 at any moment, the beginning of Python included."""
    dice = random.Random(0)
    words = [
        sys.executable,
        "-m",
        "saliscope",
        "evaluate",
        "-m",
        "critternet",
        "-d",
        "critters:count=1000:size=64",
        "--size",
        "64",
    ]
    words += [
        "--method",
        "cam",
        "--method",
        "grad-cam@layer3",
        "--target",
        "both",
        "--thresholds",
        "50",
        "-q",
        "--no-progress",
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(folder, workers):
        return subprocess.Popen(
            [*words, "--workers", str(workers), "-o", folder], env=env, stderr=subprocess.PIPE
        )

    begun = time.monotonic()
    with start(tmp_path / "whole", 1) as process:
        assert process.wait(3600) == 0, process.stderr.read()
    usual = time.monotonic() - begun
    kills = 0
    while kills < 50:
        workers = dice.choice([1, 1, 2, 3, 4])
        with start(tmp_path / "run", workers) as process:
            try:
                process.wait(dice.uniform(0.5, 2 + 3 * workers + usual / 40))
                break  # it is done
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
    time.sleep(5)
    with start(tmp_path / "run", 2) as process:
        assert process.wait(3600) == 0, process.stderr.read()
    assert kills == 50
    look.same(tmp_path / "run", tmp_path / "whole")
    look.once(tmp_path / "run")
