"""The flags of `saliscope evaluate` and `measure`: each is a field of the settings, and a wrong one is told in a line."""

import json
import subprocess
import sys
import tomllib

import pytest

from saliscope.cli.setting_flags import overrides
from saliscope.runs import RunSettings
from saliscope.runs.settings import MEASURING

BASE = ("-m", "resnet18", "-d", "critters")


def config(run, *words):
    done = run("evaluate", "--print-config", *words, net=False)
    assert done.code == 0, done.err
    assert done.err == ""
    return tomllib.loads(done.out)


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
