"""`saliscope evaluate` and `measure`: flags become settings, a run becomes lines, a folder and an exit code."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from PIL import Image

import saliscope as sc
from saliscope import runs
from saliscope.cli import progress, run_progress
from saliscope.cli.run_progress import RunProgress, finished
from saliscope.cli.setting_flags import overrides
from saliscope.runs import Outcome, RunSettings
from saliscope.runs.settings import MEASURING

BASE = ("-m", "resnet18", "-d", "critters")


def config(run, *words):
    done = run("evaluate", "--print-config", *words, net=False)
    assert done.code == 0, done.err
    assert done.err == ""
    return tomllib.loads(done.out)


# --- flags -----------------------------------------------------------------------------------------------------------

FLAGS = {
    "ask": ("--ask", "deletion,sanity", ["deletion", "sanity"]),
    "ask_seeds": ("--ask-seeds", "3", 3),
    "ask_precision": ("--ask-precision", "bfloat16", "bfloat16"),
    "sanity_images": ("--sanity-images", "9", 9),
    "model": ("--model", "timm:resnet18", "timm:resnet18"),
    "data": ("--data", "voc:year=2012", "voc:year=2012"),
    "split": ("--split", "val", "val"),
    "tune": ("--tune", "val", "val"),
    "methods": ("--method", "cam,grad-cam@layer3:relu=False", ["cam", "grad-cam@layer3:relu=false"]),
    "trivial": ("--no-trivial", None, False),
    "target": ("--target", "both", "both"),
    "target_space": ("--target-space", "probability", "probability"),
    "weights": ("--weights", "untrained", "untrained"),
    "labels": ("--labels", "a b.txt", "a b.txt"),
    "num_classes": ("--num-classes", "7", 7),
    "size": ("--size", "96x64", "96x64"),
    "mean": ("--mean", "-1,0.5,0", [-1.0, 0.5, 0.0]),
    "std": ("--std", "1,2,3", [1.0, 2.0, 3.0]),
    "resize": ("--resize", "crop", "crop"),
    "precision": ("--precision", "auto", "auto"),
    "protocols": ("--protocol", "yang2025:threshold=0.1,cam2016", ["yang2025:threshold=0.1", "cam2016"]),
    "rules": ("--rule", "max,min-max", ["max", "min-max"]),
    "thresholds": ("--thresholds", "0", 0),
    "pointing": ("--pointing", "caffe", ["caffe"]),
    "wsol": ("--wsol", None, True),
    "primary": ("--primary", "energy@boxes", "energy@boxes"),
    "reference": ("--reference", "cam", "cam"),
    "margin": ("--margin", "0.01", 0.01),
    "root": ("--root", "/data set", "/data set"),
    "limit": ("--limit", "9", 9),
    "shard": ("--shard", "2/3", "2/3"),
    "batch_size": ("--batch-size", "5", 5),
    "memory": ("--memory", "2GB", "2GB"),
    "device": ("--device", "cuda:1", "cuda:1"),
    "workers": ("--workers", "3", 3),
    "engine": ("--engine", "ray", "ray"),
    "address": ("--address", "ray://x:1", "ray://x:1"),
}  # fmt: skip


def test_every_field_is_a_flag():
    assert set(FLAGS) == set(RunSettings.model_fields)


@pytest.mark.parametrize("field", FLAGS)
def test_a_flag_replaces_its_field_and_no_other(run, field):
    flag, text, value = FLAGS[field]
    base = [
        w
        for i, w in enumerate(BASE)
        if field not in ("model", "data") or i // 2 != ("model", "data").index(field)
    ]
    plain, changed = config(run, *BASE), config(run, *base, flag, *([] if text is None else [text]))
    if field == "protocols":  # the first of them decides, unless another score is said to
        assert changed.pop("primary") == f"iou@{value[0]}"
        plain.pop("primary")
    assert changed.pop(field) == value
    plain.pop(field, None)
    assert changed == plain


def test_what_a_file_says_can_be_taken_back(run, place):
    file = place / "run.toml"
    file.write_text(
        'model = "resnet18"\ndata = "critters"\ntune = "val"\nlimit = 4\nwsol = true\ntrivial = false\nmargin = 0.1\n'
        'pointing = ["caffe"]\nmethods = ["cam"]\nreference = "cam"\n'
    )
    words = [
        "--tune",
        "none",
        "--limit",
        "none",
        "--no-wsol",
        "--trivial",
        "--margin",
        "none",
        "--pointing",
        "none",
    ]
    found = config(run, file, *words, "--reference", "none", "--method", "none")
    assert found == config(run, *BASE) | {"pointing": []}


def test_lists_are_repeated_or_separated_by_commas(run):
    found = config(
        run,
        *BASE,
        "--method",
        "cam",
        "--method",
        "grad-cam@layer3,grad-cam@layer2",
        "--pointing",
        "",
    )
    assert found["methods"] == ["cam", "grad-cam@layer3", "grad-cam@layer2"]
    assert found["pointing"] == []


def test_what_is_printed_can_be_fed_back(run, place):
    words = [
        *BASE,
        "--method",
        "cam,grad-cam:relu=false",
        "--mean",
        "0.1,0.2,0.3",
        "--shard",
        "1/2",
        "--labels",
        'o"d\\d.txt',
    ]
    first = run("evaluate", "--print-config", *words, net=False).out
    (place / "run.toml").write_text(first, encoding="utf-8")
    assert run("evaluate", place / "run.toml", "--print-config", net=False).out == first
    as_json = json.loads(
        run("evaluate", place / "run.toml", "--print-config", "--json", net=False).out
    )
    assert {k: v for k, v in as_json.items() if v is not None} == tomllib.loads(first)
    assert set(as_json) == set(RunSettings.model_fields)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [],
            "evaluate needs --model and --data: saliscope evaluate --model resnet50 --data stanford_dogs -o DIR",
        ),
        (["-m", "resnet18"], "evaluate needs --data:"),
        (
            ["resnet18", "-d", "critters"],
            "there is no file resnet18; `saliscope evaluate --print-config` writes one",
        ),
        (
            [*BASE, "--target", "true"],
            'Invalid value "true" for --target. Choose from: "truth", "predicted", "both"',
        ),
        ([*BASE, "--methods", "cam"], "Unknown option: --methods. Did you mean --method?"),
        ([*BASE, "--limit", "five"], "Invalid value for --limit"),
        ([*BASE, "--limit", "0"], "limit is 0, but must be greater than or equal to 1"),
        ([*BASE, "--mean", "1,2"], '--mean is 3 numbers separated by commas; got "1,2"'),
        ([*BASE, "--method", "grad-cm"], 'method "grad-cm" is unknown; nearest: "grad-cam"'),
        (
            [*BASE, "--protocol", "yang2024"],
            'box protocol "yang2024" is unknown; nearest: "yang2025"',
        ),
        ([*BASE, "--tune", "test"], 'tune is "test", but that is the split that is evaluated'),
        ([*BASE, "a.toml", "b.toml"], 'nothing takes the argument "b.toml"'),
    ],
)
def test_wrong_flags_are_told_in_one_line(run, words, message):
    done = run("evaluate", "--print-config", *words, net=False)
    assert (done.code, len(done.lines), done.out) == (2, 1, "")
    assert message in done.err


def test_wrong_fields_of_a_file_are_told_with_their_lines(run, place):
    (place / "run.toml").write_text(
        'model = "resnet18"\ndata = "critters"\nmethods = ["cm"]\nlimt = 3\n'
    )
    done = run("evaluate", place / "run.toml", "-o", place / "out", net=False)
    assert (done.code, len(done.lines)) == (2, 1)
    assert f"run {place / 'run.toml'}:3: methods is" in done.err
    assert f'run {place / "run.toml"}:4: there is no field "limt"; nearest: "limit"' in done.err


def test_a_folder_has_to_be_named(run, place):
    done = run("evaluate", *BASE, net=False)
    assert (done.code, done.err) == (
        2,
        "saliscope: evaluate needs -o DIR, the folder of the run; the same folder continues it\n",
    )
    (place / "file").write_text("")
    done = run("evaluate", *BASE, "-o", place / "file", net=False)
    assert (done.code, done.err) == (
        2,
        f"saliscope: -o {place / 'file'} is a file; name a folder\n",
    )


def test_flags_of_measure_are_those_of_the_measure_stage(run):
    done = run("measure", "--help", net=False)
    shown = {word.strip("│ ") for word in done.out.split() if word.startswith("--")}
    flags = {"methods": "--method", "protocols": "--protocol", "rules": "--rule"}
    assert {flags.get(f, f"--{f}") for f in MEASURING} <= shown
    assert not {"--model", "--method", "--size", "--split", "--target", "--primary"} & shown


def test_help_needs_no_torch():
    code = (
        "import sys; from saliscope.cli.app import main\n"
        "main(['evaluate', '--help']); main(['measure', '--help'])\n"
        "main(['evaluate', '--print-config', '-m', 'resnet18', '-d', 'critters'])\n"
        "print([m for m in ('torch', 'polars', 'numpy', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Declared before the run" in done.stdout


def test_none_is_a_word_where_a_field_knows_it():
    flags = run_flags(tune="none", methods=["none"], limit="none")
    assert overrides(flags) == {"tune": None, "methods": (), "limit": None}
    assert overrides(flags, words=("tune", "methods")) == {
        "tune": "none",
        "methods": ("none",),
        "limit": None,
    }


def run_flags(**given):
    from saliscope.cli.evaluate import EvaluateFlags

    return EvaluateFlags(**given)


# --- a run -----------------------------------------------------------------------------------------------------------


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


# --- what is shown ---------------------------------------------------------------------------------------------------


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
