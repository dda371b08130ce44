"""The command as a process of its own: what it imports, its pipes, its signals."""

import os
import signal
import subprocess
import sys
import time

import pytest

ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error", "COLUMNS": "100"}


def saliscope(*words, cwd, **more):
    command = [sys.executable, "-m", "saliscope", *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, env=ENV, capture_output=True, text=True, check=False, timeout=120, **more
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["explain", "--help"],
        ["compare", "--help"],
        ["bench", "--help"],
        ["metrics", "--help"],
        ["frob"],
    ],
)
def test_help_imports_nothing_heavy(words):
    script = (
        "import sys\nfrom saliscope.cli.app import main\n"
        f"code = main({words})\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'cv2', 'timm', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == (2 if words == ["frob"] else 0), done.stderr


def test_a_run_from_end_to_end(place):
    words = ["--model", "../net.py:build", "--weights", "untrained", "--size", "64"]
    (place / "photos/bad.jpg").write_text("no picture")
    done = saliscope("explain", "../photos", *words, "-o", "out", cwd=place / "cwd")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "4 explained, 1 failed -> out/results.csv"
    assert [p.name for p in (place / "cwd").iterdir()] == ["out"]


def test_a_closed_pipe_is_no_error(tmp_path):
    command = f"'{sys.executable}' -m saliscope methods --json | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")


def test_a_pipe_that_was_closed_before(tmp_path):
    command = f"'{sys.executable}' -m saliscope methods | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_knows_only_ascii(tmp_path):
    command = [sys.executable, "-m", "saliscope", "methods"]
    done = subprocess.run(
        command, env=ENV | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u03a3_k" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_interrupting_keeps_what_is_done(place, snap):
    for i in range(60):
        snap(place / "many" / f"{i:02}.png", height=400, width=600, seed=i)
    words = ["--model", "../net.py:build", "--weights", "untrained", "--size", "64", "-b", "1"]
    command = [sys.executable, "-m", "saliscope", "explain", "../many", *words, "-o", "out"]
    with subprocess.Popen(
        command, cwd=place / "cwd", env=ENV, stderr=subprocess.PIPE, text=True
    ) as process:
        until = time.monotonic() + 60
        while not list((place / "cwd").glob("out/*.npz")) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "saliscope: interrupted"
    table = (place / "cwd/out/results.csv").read_text().splitlines()[1:]
    stems = {line.partition(".png,")[0] for line in table}
    assert stems == {p.name.split(".")[0] for p in (place / "cwd/out").glob("*.npz")}
    assert 0 < len(stems) < 60
    assert not list((place / "cwd/out").glob(".*.tmp"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions bind, but not root")
def test_a_folder_one_may_not_write_to(place):
    (place / "locked").mkdir(mode=0o500)
    words = ["--model", "../net.py:build", "--weights", "untrained", "--size", "64"]
    done = saliscope("explain", "../photos", *words, "-o", "../locked/out", cwd=place / "cwd")
    assert done.returncode == 2
    assert "cannot write into ../locked/out" in done.stderr
