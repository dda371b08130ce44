import itertools
import json
from pathlib import Path

import pytest

import saliscope as sc
from saliscope.cli import app, demo, progress
from saliscope.cli.app import main
from saliscope.cli.tables import print_table
from saliscope.errors import ModelError
from saliscope.methods import METHODS
from saliscope.metrics import FAMILIES, every_metric, page_of

VERBS = ("demo", "explain", "compare", "layers", "methods", "metrics", "info", "bench")


def strict(text):
    return json.loads(text, parse_constant=pytest.fail)


# --- the app ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS)])
def test_help_of_every_verb(run, verb):
    done = run(*verb, "--help", net=False)
    assert (done.code, done.err) == (0, "")
    assert "Usage: saliscope" in done.out
    if not verb:
        assert all(f" {name} " in done.out for name in VERBS)
        assert "Exit codes: 0 done, 1 finished with failed images" in done.out


def test_the_version(run):
    assert run("--version", net=False).out.strip() == sc.__version__


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explian"], 'Did you mean "explain"?'),
        (["frobnicate"], "Available commands: demo, explain, compare"),
        (["explain"], "no images were given; name a file, a folder or a glob"),
        (["compare"], "IMAGE requires an argument. See `saliscope compare --help`"),
        (["info", "cam"], 'nothing takes the argument "cam". See `saliscope info --help`'),
        (["info", "--modles"], "Did you mean --models?"),
        (["layers", "resnet5"], "no network is called 'resnet5'; nearest: \"resnet50\""),
        (["bench", "--rounds", "0"], "--rounds is at least 1; got 0"),
        (["demo", "--count", "0"], "--count is how many critters are explained, at least 1; got 0"),
        (["bench", "--data", "critter"], 'no data set is called "critter"; nearest: "critters"'),
        (["bench", "alexnet"], "bench times networks with layer1 to layer4"),
        (["bench", "--device", "toaster"], "cannot be used here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_one_line(run, tree, place, words, said):
    before = tree(place)
    done = run(*words, net=False)
    assert (done.code, done.out, len(done.lines)) == (2, "", 1)
    assert done.err.startswith("saliscope: ")
    assert said in done.err
    assert tree(place) == before


def test_every_error_of_ours_is_one_line(monkeypatch, capsys):
    def broken(*args, **more):
        raise ModelError("first line\nsecond line")

    monkeypatch.setattr(app, "app", broken)
    assert main(["info"]) == 2
    assert capsys.readouterr().err == "saliscope: first line second line\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(KeyboardInterrupt, 130, "saliscope: interrupted\n"), (BrokenPipeError, 0, "")],
)
def test_endings_that_are_no_errors(monkeypatch, capsys, error, code, said):
    def broken(*args, **more):
        raise error

    monkeypatch.setattr(app, "app", broken)
    assert main(["info"]) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't")])
def test_a_network_too_large_for_the_memory(monkeypatch, capsys, error):
    def broken(*args, **more):
        raise error

    monkeypatch.setattr(app, "app", broken)
    assert main(["info"]) == 2
    assert "choose a smaller --size or --batch-size" in capsys.readouterr().err


def test_a_bug_is_not_swallowed(monkeypatch):
    def broken(*args, **more):
        raise RuntimeError("a bug")

    monkeypatch.setattr(app, "app", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["info"])


# --- compare ---------------------------------------------------------------------------------------------------------


def test_compare_prints_the_table_and_nothing_else(run, place, tree):
    before = tree(place)
    words = ["cam", "grad-cam@features.1", "random", "--truth", "10,12,50,40"]
    done = run("compare", place / "photos/p0.png", *words)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == ["method", "target", "status", "box", "IoU"]
    assert [line.split()[0] for line in lines[2:5]] == [
        "cam@features",
        "grad-cam@features.1",
        "random",
    ]
    assert lines[-1] == "boxes: yang2025, IoU: half-open"
    assert tree(place) == before


def test_compare_as_json_equals_the_library(run, place):
    words = ["cam", "centre", "--truth", "10,12,50,40", "--protocol", "cam2016"]
    done = run("compare", place / "photos/p0.png", *words, "--convention", "inclusive", "--json")
    rows, truth = strict(done.out), sc.Box(10, 12, 50, 40)
    module = sc.load_model(f"{place / 'net.py'}:build", "untrained").module
    for row, method in zip(rows, ["cam", "centre"], strict=True):
        e = sc.explain(sc.Model(module, 64), str(place / "photos/p0.png"), method)
        assert row["method"] == e.spec
        assert row["box"] == pytest.approx(list(e.box("cam2016")))
        assert row["iou"] == pytest.approx(sc.iou(e.box("cam2016"), truth, convention="inclusive"))


def test_methods_may_stand_between_flags(run, place):
    words = ["--json", "cam", "--truth", "-5,0,40,40", "random"]
    rows = strict(run("compare", place / "photos/p0.png", *words).out)
    assert [r["method"] for r in rows] == ["cam@features", "random"]


def test_compare_without_truth_has_null_for_iou(run, place):
    rows = strict(run("compare", place / "photos/p0.png", "--json").out)
    assert [r["iou"] for r in rows] == [None] * 5
    assert [r["method"].partition("@")[0] for r in rows] == [
        "cam",
        "grad-cam",
        "random",
        "centre",
        "edges",
    ]


@pytest.mark.parametrize("figure", ["comparison", "method", "stages", "boxes"])
def test_compare_draws_every_figure(run, place, figure):
    methods = ["cam"] if figure == "method" else ["cam", "grad-cam@features.1"]
    words = ["--figure", figure, "--truth", "10,12,50,40"]
    outputs = [word for end in ("png", "svg", "pdf") for word in ("-o", place / f"o/f.{end}")]
    done = run("compare", place / "photos/p0.png", *methods, *words, *outputs)
    assert done.code == 0
    assert done.lines == [f"wrote {place / 'o' / f'f.{end}'}" for end in ("png", "svg", "pdf")]
    starts = {p.suffix: p.read_bytes()[:5] for p in (place / "o").iterdir()}
    assert starts == {".png": b"\x89PNG\r", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "x.bmp"], "-o x.bmp names no .png, .svg or .pdf file"),
        (["-o", "../net.py/x.png"], "cannot write ../net.py/x.png"),
        (["cam", "../photos/p1.png"], "takes one photograph"),
        (["--figure", "method"], "draws one method; name just one"),
        (["cam", "random", "--figure", "method"], "draws one method; name just one"),
        (["--figure", "stagess"], 'Did you mean "stages"?'),
        (["cam", "--target-space", "probability"], "use grad-cam"),
        (["--truth", "../truth.json"], "annotates nothing on p0.png"),
        (["gradcam"], 'nearest: "grad-cam"'),
        (["--target", "9"], "outside the 5 classes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_compare_refuses_in_one_line(run, place, words, said):
    (place / "truth.json").write_text('{"images": [], "annotations": []}')
    done = run("compare", place / "photos/p0.png", *words)
    assert (done.code, len(done.lines)) == (2, 1)
    assert said in done.err


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("../photos", "is a folder"),
        ("none.jpg", "no file none.jpg"),
        ("../net.py", "not a picture"),
    ],
)
def test_compare_needs_one_photograph(run, image, said):
    done = run("compare", image)
    assert (done.code, len(done.lines)) == (2, 1)
    assert said in done.err


# --- lists -----------------------------------------------------------------------------------------------------------


def test_layers(run, place):
    done = run("layers", f"{place / 'net.py'}:build", "--size", "64", net=False)
    assert (done.code, done.err) == (0, "")
    names = [line.removeprefix("*").split()[0] for line in done.out.splitlines()[2:]]
    assert names == ["features.0", "features.1", "features.2", "features.3", "features"]
    assert [line.split()[1] for line in done.out.splitlines() if line.startswith("*")] == [
        "features"
    ]


def test_layers_as_json(run, place):
    found = strict(
        run("layers", f"{place / 'net.py'}:build", "--size", "64", "--json", net=False).out
    )
    assert [f["shape"] for f in found if f["name"] == "features.1"] == [[8, 32, 32]]
    assert [f["name"] for f in found if f["recommended"]] == ["features"]
    assert {f["name"] for f in found if f["cam"]} == {"features", "features.3"}
    assert found[0]["stride"] == [2.0, 2.0]


def test_layers_says_why_cam_does_not_apply(run, place):
    (place / "flat.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 2, 3, 4), nn.Flatten(), nn.Linear(512, 3))\n"
    )
    done = run("layers", f"{place / 'flat.py'}:build", "--size", "64", net=False)
    assert done.code == 0
    assert "CAM does not apply" in done.err


def test_methods(run):
    done = run("methods", net=False)
    assert (done.code, done.err) == (0, "")
    for name in ("cam", "grad-cam", "random", "centre", "edges"):
        assert f"\n{name} " in done.out
    said = "\ndeconvnet, guided-backprop: It fails the sanity check of randomised weights (Adebayo et al. 2018)"
    assert done.out.count(said) == 1
    assert "\nguided-grad-cam: It fails" in done.out


def test_methods_as_json(run):
    found = {m["name"]: m for m in strict(run("methods", "--json", net=False).out)}
    assert found["grad-cam"]["options"] == {"relu": "true", "sign": "positive"}
    assert found["random"]["class_discriminative"] is False
    assert found["smoothgrad"]["options"] == {"smooth": 50, "channels": "absmax"}
    assert "sanity check" in found["guided-backprop"]["caveat"]
    assert found["gradient"]["caveat"] == ""


def test_metrics(run):
    done = run("metrics", net=False)
    assert (done.code, done.err) == (0, "")
    for name in every_metric():
        assert done.out.count(f"\n{name} ") == 2, name
    starts = [line.split()[1] for line in done.out.splitlines()[2 : 2 + len(every_metric())]]
    assert list(dict.fromkeys(starts)) == list(FAMILIES)
    assert [f for f, _ in itertools.groupby(starts)] == list(FAMILIES)


def test_metrics_as_json(run):
    found = {m["name"]: m for m in strict(run("metrics", "--json", net=False).out)}
    assert set(found) == set(every_metric())
    assert found["enrichment"]["bounds"] == [0, None]
    assert found["adcc"]["needs"] == ["map", "network"]
    assert found["deletion"]["direction"] == "lower"


def test_metrics_of_one_family(run):
    named = [
        m["name"] for m in strict(run("metrics", "--family", "sanity", "--json", net=False).out)
    ]
    assert named == ["lasting", "random-logit", "data-randomisation"]
    done = run("metrics", "--family", "evidence", net=False)
    assert "\ntwin-share " in done.out
    assert "\niou " not in done.out
    unknown = run("metrics", "--family", "robust", net=False)
    assert (unknown.code, len(unknown.lines)) == (2, 1)
    assert 'nearest: "robustness"' in unknown.err


def test_one_metric_in_full(run):
    done = run("metrics", "gini", "cue-heat", net=False)
    assert (done.code, done.err) == (0, "")
    assert "Hurley and Rickard 2009" in done.out
    assert "a true map is hot there" in done.out
    assert "0 to 1" in done.out
    assert "twin-share" not in done.out
    assert [m["name"] for m in strict(run("metrics", "ssim", "iou", "--json", net=False).out)] == ["ssim", "iou"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ginny"], 'nearest: "gini"'),
        (["--json", "--markdown"], "not both"),
        (["gini", "--markdown"], "leave out NAMES and --family"),
        (["--markdown", "--family", "sanity"], "leave out NAMES and --family"),
        (["gini", "--family", "sanity"], "none of gini is of the family sanity"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_metrics_refuses_in_one_line(run, words, said):
    done = run("metrics", *words, net=False)
    assert (done.code, len(done.lines), done.out) == (2, 1, "")
    assert said in done.err


def test_the_page_of_metrics(run):
    assert run("metrics", "--markdown", net=False).out == page_of()


def test_info(run):
    facts = strict(run("info", "--json", net=False).out)
    assert facts["saliscope"] == sc.__version__
    assert "yang2025" in facts["protocols"]
    said = run("info", net=False).out
    assert all(f"\n{name} " in said for name in facts)


def test_info_lists_networks(run):
    names = strict(run("info", "--models", "--json", net=False).out)
    assert {"resnet50", "timm:mobilenetv2_100"} <= set(names)
    assert run("info", "--models", net=False).out.split() == names


def test_tables_are_aligned(capsys):
    print_table(("a", "bb"), [("long", "x"), ("", "")])
    assert capsys.readouterr().out == "a     bb\n----  --\nlong  x\n\n"


# --- demo and bench --------------------------------------------------------------------------------------------------


def test_demo_prints_a_table_and_names_its_pictures(run, place, tree):
    before = tree(place)
    done = run("demo", "--count", "3", "-o", "demo", net=False)
    assert done.code == 0
    assert "of 3 test critters rightly" in done.out
    for method in ("cam", "grad-cam@layer1", "random", "whole image"):
        assert any(line.startswith(method) for line in done.out.splitlines())
    new = {name for name in tree(place) if name not in before}
    assert all(name.startswith("cwd/demo/") for name in new)
    assert {"cwd/demo/table.csv", "cwd/demo/planted_tag.png"} <= new
    assert demo.__all__ == ["demo"]


def test_bench_of_data_compares_reading_with_the_network(run, place, monkeypatch):
    from saliscope import bench
    from saliscope.models import load

    real = load.load_model
    monkeypatch.setattr(
        "saliscope.models.load_model",
        lambda *a, **k: real(f"{place / 'net.py'}:build", "untrained"),
    )
    done = run(
        "bench", "--data", "critters:count=4", "--rounds", "2", "--batch", "2", "--json", net=False
    )
    rows = strict(done.out)["rows"]
    assert [row["name"] for row in rows] == ["network alone, float32", "decode and preprocess"]
    assert rows[0]["ratio"] == 1
    assert rows[1]["seconds"] > 0
    assert bench.data_table.__name__ == "data_table"


def test_bench_prints_ratios(run, place, monkeypatch):
    from saliscope import bench

    made = [bench.Timing("plain forward", 0.08, 1.0, (1.0, 1.0))]
    monkeypatch.setattr(bench, "speed_table", lambda *args, **more: made)
    done = run("bench", "--batch", "8", net=False)
    assert done.code == 0
    assert done.out.splitlines()[2].split() == [
        "plain",
        "forward",
        "10.00",
        "1.00",
        "1.00",
        "to",
        "1.00",
    ]
    rows = strict(run("bench", "--json", net=False).out)["rows"]
    assert rows[0]["name"] == "plain forward"


# --- progress --------------------------------------------------------------------------------------------------------


def test_plain_progress_says_a_line_every_few_seconds(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 6.0, 7.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress(10) as bar:
        for done in range(1, 5):
            bar.step(done, 0)
    assert capsys.readouterr().err.splitlines() == [
        "2/10, 0.3/s, 24 s left, 0 failed",
        "4/10, 0.2/s, 30 s left, 0 failed",
    ]


def test_no_progress_is_silent_but_for_what_is_said(capsys):
    with progress.Progress(10, shown=False) as bar:
        bar.step(3, 1)
        bar.say("failed: x.jpg is torn")
    assert capsys.readouterr().err == "failed: x.jpg is torn\n"


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with progress.Progress(10) as bar:
        bar.say("failed: [red]x.jpg[/red] is torn")
        bar.step(3, 1)
    said = capsys.readouterr()
    assert said.out == ""
    assert "failed: [red]x.jpg[/red] is torn" in said.err
    assert "10" in said.err


def test_compare_every_method(run, place):
    done = run("compare", place / "photos/p0.png", "--all", "-o", "all.png", "--json")
    assert done.code == 0
    rows = json.loads(done.out)
    methods = [r["method"].split("@")[0] for r in rows]
    assert {"cam", "grad-cam", "edges", "shuffled"} <= set(methods)
    left_out = [line for line in done.err.splitlines() if line.startswith("does not apply: ")]
    assert len(methods) + len(left_out) == len(METHODS)
    assert Path("all.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "found"),
    [(["grad-cam"], "leave out grad-cam"), (["--figure", "boxes"], "leave out --figure boxes")],
)
def test_every_method_is_no_choice(run, place, words, found):
    done = run("compare", place / "photos/p0.png", *words, "--all")
    assert done.code == 2
    assert found in done.err


def test_one_method_in_full(run):
    done = run("methods", "fem", net=False)
    assert (done.code, done.err) == (0, "")
    assert "k=2.0" in done.out
    assert "Fuad" in done.out
    assert "grad-cam" not in done.out
    assert [m["name"] for m in strict(run("methods", "fem", "cam", "--json", net=False).out)] == ["fem", "cam"]  # fmt: skip
    unknown = run("methods", "gradcam", net=False)
    assert unknown.code == 2
    assert 'nearest: "grad-cam"' in unknown.err
    both = run("methods", "--json", "--markdown", net=False)
    assert both.code == 2
    assert "not both" in both.err
    assert run("methods", "--markdown", net=False).out.startswith("# Methods\n")
