"""`saliscope evaluate` and `measure`: a run becomes lines, a folder and an exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import saliscope as sc
from saliscope import runs


@pytest.fixture
def data(place):
    """Six small pictures in three classes, with boxes; -o goes to a folder with spaces and letters of all kinds."""
    rows = ["file,x0,y0,x1,y1"]
    for c, name in enumerate(["cat", "it's", 'ö "x"']):
        for i in range(2):
            file = place / "data" / name / f"{i} p.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(i).integers(0, 99, (30, 40, 3), dtype=np.uint8)
            pixels[5:20, 8 + i : 24 + i, c] += 120
            Image.fromarray(pixels).save(file)
            rows.append(f'"{name.replace(chr(34), 2 * chr(34))}/{i} p.png",{8 + i},5,{24 + i},20')
    (place / "data/boxes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return place / "data"


@pytest.fixture
def words(place, data):
    network = [
        "-m",
        f"{place / 'net.py'}:build",
        "--weights",
        "untrained",
        "--num-classes",
        "3",
        "--size",
        "32",
    ]
    return [
        "evaluate",
        *network,
        "-d",
        f"folder:{data}:boxes=boxes.csv",
        "--split",
        "all",
        "--thresholds",
        "9",
    ]


def test_a_run_from_the_command_line(run, words, place, data, tree):
    out = place / "Läufe of dogs/run 1"
    done = run(*words, "-o", out, net=False)
    assert (done.code, done.out) == (0, "")
    assert done.lines == [
        f"{words[2]} on folder:{data}:boxes=boxes.csv -> {out}",
        "explain: 6 images",
        "measure: 6 images",
        f"6 explained, 0 failed -> {out}",
        f"next: saliscope report {out}",
    ]
    assert sc.open_run(out).by_method("iou", "cam2016").columns[3:] == [
        "cam",
        "grad-cam",
        "random",
        "centre",
        "edges",
        "shuffled",
        "full-box",
    ]
    assert list((place / "cwd").iterdir()) == []

    before = tree(out)
    again = run(*words, "-o", out, "--json", net=False)
    assert again.code == 0
    assert json.loads(again.out) == {
        "address": str(out),
        "done": 6,
        "failed": 0,
        "new_done": 0,
        "new_failed": 0,
    }
    assert "explain: 6 images, 6 done earlier" in again.lines
    assert {k: v for k, v in tree(out).items() if k != "run.json"} == {
        k: v for k, v in before.items() if k != "run.json"
    }

    other = run(*words, "--method", "cam", "-o", out, net=False)
    assert other.code == 2
    assert 'holds another run: methods was [], is ["cam"]' in other.lines[-1]

    anew = run(*words, "--method", "cam", "-o", out, "--overwrite", "-q", net=False)
    assert (anew.code, anew.out, anew.err) == (0, "", "")
    assert sc.open_run(out).methods == ["cam", "random", "centre", "edges"]

    measured = run(
        "measure", out, "--protocol", "cam2016:threshold=0.4,yang2025", "--no-progress", net=False
    )
    assert measured.code == 0
    assert measured.lines == [
        "measure: 6 images",
        f"6 explained, 0 failed -> {out}",
        f"next: saliscope report {out}",
    ]
    assert sc.open_run(out).settings.protocols == ("cam2016:threshold=0.4", "yang2025")


def test_a_file_of_settings_from_another_folder(run, words, place, tree, monkeypatch):
    relative = [w.replace(f"{place}/", "../") for w in words]
    config = run(*relative, "--print-config", net=False).out
    (place / "run.toml").write_text(config, encoding="utf-8")
    assert run("evaluate", "../run.toml", "-o", "../out", "-q", net=False).code == 0
    (place / "a/b").mkdir(parents=True)
    monkeypatch.chdir(place / "a/b")
    deeper = [w.replace(f"{place}/", "../../") for w in words]
    done = run(*deeper, "-o", "../../out", net=False)
    assert (done.code, "explain: 6 images, 6 done earlier" in done.lines) == (0, True)
    assert run("measure", "../../out", "--thresholds", "5", "-q", net=False).code == 0
    assert list((place / "a/b").iterdir()) == []


def test_failed_samples_are_one_line_and_exit_1(run, words, data, place):
    file = data / "it's/1 p.png"
    good = file.read_bytes()
    file.write_bytes(good[:80])
    out = place / "out"
    done = run(*words, "-o", out, net=False)
    assert done.code == 1
    assert done.lines[-3:] == [
        f"5 explained, 1 failed -> {out}",
        f"why: {out}/errors.jsonl; --retry-failed does them again",
        f"next: saliscope report {out}",
    ]
    (line,) = (out / "errors.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "it's/1 p.png"
    assert run(*words, "-o", out, "-q", net=False).code == 1
    file.write_bytes(good)
    assert run(*words, "-o", out, "-q", net=False).code == 1
    mended = run(*words, "-o", out, "--retry-failed", net=False)
    assert mended.code == 0
    assert "explain: 6 images, 5 done earlier" in mended.lines


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "grad-cam@featurs"], 'layer "featurs" is not in Net; nearest: "features"'),
        (["--split", "tst"], 'folder has no split "tst"; nearest: "test"'),
        (["--device", "cdua"], 'device "cdua" cannot be used here'),
        (["--reference", "lyme"], 'method "lyme" is unknown'),
        (
            ["--reference", "grad-cam@features.0"],
            'is none of the methods; nearest: "grad-cam@features"',
        ),
        (
            ["--primary", "iou@yang205"],
            'the primary score "iou@yang205" is not measured by these settings; nearest: "iou@yang2025"',
        ),
        (
            ["--primary", "iou"],
            "names no protocol; write METRIC@PROTOCOL: iou@yang2025, iou@cam2016",
        ),
        (
            ["--model", "timm:vit_tiny_patch16_224", "--size", "96"],
            "timm:vit_tiny_patch16_224 does not run on pictures of 96 x 96 (AssertionError: Input height (96) doesn't match model (224).); "
            "give the size that it was built for (--size HEIGHTxWIDTH), or leave --size out",
        ),
        (["--num-classes", "4"], "has 4 outputs without names"),
        (["--labels", "none.txt"], "none.txt"),
        (
            ["--shard", "1/2", "--overwrite"],
            "--overwrite would also remove what the other shards have done",
        ),
    ],
)
def test_what_cannot_begin_is_one_line_and_leaves_nothing(run, words, place, more, message):
    for flag in more[::2]:
        short = {"--model": "-m"}.get(flag, flag)
        if short in words:
            at = words.index(short)
            words = words[:at] + words[at + 2 :]
    done = run(*words, *more, "-o", place / "out", "--json", net=False)
    assert (done.code, done.out) == (2, "")
    assert message in done.lines[-1]
    assert not [line for line in done.lines if "Traceback" in line]
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("", "the folder of a run has no name"),
        ("s4://bucket/x", "s4://bucket/x is no address that fsspec knows"),
        ("../data/boxes.csv/run", "cannot write into ../data/boxes.csv/run"),
    ],
)
def test_odd_folders(run, words, place, out, message):
    done = run(*words, "-o", out, net=False)
    assert done.code == 2
    assert message in done.lines[-1]
    assert list((place / "cwd").iterdir()) == []


def test_a_windows_path_is_a_name_here(run, words, place):
    assert run(*words, "-o", r"C:\runs\dogs", "-q", net=False).code == 0
    assert [p.name for p in (place / "cwd").iterdir()] == [r"C:\runs\dogs"]


def test_measuring_what_is_no_run(run, place):
    for where in (place / "nothing", place / "labels.txt", place):
        done = run("measure", where, net=False)
        assert (done.code, done.err) == (2, f"saliscope: {where} holds no run: there is no run.json in it; `saliscope evaluate ... -o {where}` makes one\n")  # fmt: skip


def test_a_full_disk_is_one_line(run, words, place, monkeypatch):
    from saliscope import files

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    done = run(*words, "-o", place / "out", net=False)
    assert done.code == 2
    assert "run.json cannot be written" in done.lines[-1]
    assert "nothing that was done is lost: the same command continues" in done.lines[-1]


@pytest.mark.parametrize("verb", ["evaluate", "measure"])
def test_an_interrupt_says_what_continues(run, words, place, monkeypatch, verb):
    def interrupted(*_, watch, **__):
        watch.begin("explain", 6, 0)
        watch.step(2, 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, verb, interrupted)
    line = words if verb == "evaluate" else ["measure"]
    done = run(*line, *(["-o"] if verb == "evaluate" else []), place / "out", net=False)
    assert done.code == 130
    assert done.lines[-2:] == [
        f"stopped; what is done is in {place / 'out'}, and the same command continues", "saliscope: interrupted"
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_a_real_interrupt_is_continued(run, words, place):
    """^C goes to every process of the terminal, also to those that only begin."""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "saliscope",
        *words,
        "-b",
        "1",
        "--workers",
        "2",
        "-o",
        str(place / "out"),
    ]
    command[command.index("-b")] = "--batch-size"
    with subprocess.Popen(
        command,
        cwd=place / "cwd",
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        until = time.monotonic() + 60
        while not (place / "out/run.json").exists() and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.3)  # its processes are beginning
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.splitlines()[-2:] == [
        f"stopped; what is done is in {place / 'out'}, and the same command continues", "saliscope: interrupted"
    ]  # fmt: skip
    done = run(*words, "-o", place / "out", net=False)
    assert done.code == 0
    assert f"6 explained, 0 failed -> {place / 'out'}" in done.lines
