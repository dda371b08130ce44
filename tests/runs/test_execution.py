"""Whole runs: what they leave, what is refused, where they may lie. See test_stopped.py and test_measured_again.py."""

import shutil
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from saliscope import runs
from saliscope.data import Listing, Sample, open_data
from saliscope.errors import DataError, MethodError, OptionError, SaliscopeError
from saliscope.models import Model
from saliscope.runs import execution, explaining, measurement
from saliscope.runs.place import open_place
from saliscope.runs.store import MEASURED

# --- a run -----------------------------------------------------------------------------------------------------------


def test_what_a_run_leaves(settings, look, watch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = watch()
    outcome = runs.evaluate(settings(tune=None), tmp_path / "a b/run", watch=told)
    assert outcome == runs.Outcome(str(tmp_path / "a b/run"), 12, 0, 12, 0)
    assert told.begun == [("explain", 12, 0), ("measure", 12, 0)]
    assert (told.done, told.failed) == (12, 0)
    found = set(look.files(tmp_path / "a b/run"))
    parts = {f.split("/")[1] for f in found if f.startswith("maps/")}
    key = look.record(tmp_path / "a b/run")["measured"]
    measured = {f"{t}/{p.removesuffix('.parquet')}.{key}.parquet" for t in MEASURED for p in parts}
    assert len(parts) == 3
    own = {"run.json", "errors.jsonl", ".shard-1.lock", ".run.json.lock"}
    assert found == own | {f"maps/{p}" for p in parts} | measured
    assert {p.name for p in tmp_path.iterdir()} == {"a b", "photos"}


def test_what_the_record_says(plain, look):
    record = look.record(plain)
    assert record["explain"]["data"].startswith("folder:/")
    assert Path(record["explain"]["model"].rpartition(":")[0]).is_absolute()
    assert record["measure"]["protocols"] == ["yang2025", "cam2016", "gradcam2017"]
    assert record["ended"] >= record["started"]
    assert [(s["stage"], s["done"], s["failed"], s["shard"]) for s in record["sessions"]] == [
        ("explain", 12, 0, "1/1"),
        ("measure", 12, 0, "1/1"),
    ]
    assert all(s["ended"] for s in record["sessions"])
    assert (record["selected"], record["available"]) == ({"all": 12}, {"all": 12})
    assert (
        record["versions"]["torch"] == torch.__version__.partition("+")[0]
        or record["versions"]["torch"] == torch.__version__
    )
    assert len(record["hash"]) == len(record["measured"]) == 12


def test_the_same_again_does_nothing(settings, look, watch, tmp_path, monkeypatch):
    runs.evaluate(settings(), tmp_path / "run")
    before = look.files(tmp_path / "run")
    monkeypatch.setattr(explaining, "explain_batch", lambda *a, **k: 1 / 0)
    told = watch()
    outcome = runs.evaluate(settings(), tmp_path / "run", watch=told)
    assert (outcome.done, outcome.new_done, outcome.new_failed) == (12, 0, 0)
    assert told.begun == [("explain", 12, 12), ("measure", 0, 0)]
    after = look.files(tmp_path / "run")
    before.pop("run.json"), after.pop("run.json")
    assert after == before


def test_two_splits_in_one_run(settings, write_photos, watch, tmp_path):
    photos = write_photos(tmp_path / "more", 10)
    told = watch()
    outcome = runs.evaluate(
        settings(photos=photos, split="test", tune="val", limit=4), tmp_path / "run", watch=told
    )
    assert outcome.done == 3 + 4
    assert told.begun[0] == ("explain", 7, 0)
    run = runs.open_run(tmp_path / "run")
    assert run.record.available == {"test": 6, "val": 3}
    assert run.record.selected == {"test": 4, "val": 3}
    assert set(run.images.select("split").to_series()) == {"test", "val"}
    assert not set(run.images.filter(split="test")["id"]) & set(
        run.images.filter(split="val")["id"]
    )


def _untold(work):
    """The same work, done as well, but the first of it is not told: as where a process dies between the two."""

    def silent(*given, **options):
        done = work(*given, **options)
        next(done)
        yield from done

    return silent


def test_what_nobody_lived_to_tell_is_counted(settings, look, watch, photos, tmp_path, monkeypatch):
    (photos / "cat/p1.png").write_bytes(b"")
    monkeypatch.setattr(execution, "explaining", _untold(execution.explaining))
    monkeypatch.setattr(measurement, "measuring", _untold(measurement.measuring))
    told = watch()
    outcome = runs.evaluate(settings(), tmp_path / "run", watch=told)
    assert (outcome.done, outcome.failed, outcome.new_done, outcome.new_failed) == (11, 1, 11, 1)
    found = [(s["done"], s["failed"]) for s in look.record(tmp_path / "run")["sessions"]]
    assert found == [(11, 1), (12, 0)]
    assert (told.done, told.failed) == (12, 0)  # of the stage that was last
    again = runs.evaluate(settings(), tmp_path / "run", retry_failed=True)
    assert (again.new_done, again.new_failed) == (0, 1)


# --- another run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"methods": ["cam"]}, 'methods was ["cam", "grad-cam@features.1"], is ["cam"]'),
        ({"size": "48"}, 'size was "32", is "48"; preprocessing.size was [32, 32], is [48, 48]'),
        ({"target": "both"}, 'target was "truth", is "both"'),
        ({"margin": 0.1}, "margin was null, is 0.1"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_touched(
    settings, plain, tmp_path, more, said, look
):
    shutil.copytree(plain, tmp_path / "run")
    before = look.files(tmp_path / "run")
    with pytest.raises(OptionError) as found:
        runs.evaluate(settings(data=look.data_of(plain), **more), tmp_path / "run")
    assert said in str(found.value)
    assert look.files(tmp_path / "run") == before


def test_other_weights_are_refused(settings, world, photos, tmp_path):
    data = {"all": open_data(f"folder:{photos}", "all")}
    nets = [world.Net(3).eval() for _ in range(2)]
    runs.evaluate(settings(), tmp_path / "run", model=Model(nets[0], 32), data=data)
    with pytest.raises(
        OptionError,
        match=r'run holds another run: weights was "[0-9a-f]+\.\.\., is "[0-9a-f]+\.\.\.\. Name another folder',
    ):
        runs.evaluate(settings(), tmp_path / "run", model=Model(nets[1], 32), data=data)


def test_other_data_of_the_same_name_is_refused(settings, photos, tmp_path):
    runs.evaluate(settings(), tmp_path / "run")
    (photos / "cat/p0.png").unlink()
    with pytest.raises(OptionError, match=r"run holds another run: data.all was "):
        runs.evaluate(settings(), tmp_path / "run")


def test_overwriting_removes_what_is_ours_and_nothing_else(settings, look, tmp_path):
    run = tmp_path / "run"
    runs.evaluate(settings(), run)
    mine = [
        "notes.txt",
        "maps/mine.parquet",
        "maps/part-list.txt",
        "scores/other.csv",
        "maps/deep/part-a.parquet",
        "report/x.html",
    ]
    for name in mine:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("mine")
    (run / "maps/mine.parquet").unlink()  # no part of ours, but it would be read as one
    mine.remove("maps/mine.parquet")
    runs.evaluate(settings(methods=["cam"], batch_size=6), run, overwrite=True)
    assert set(runs.open_run(run).maps["spec"]) == {"cam", "random", "centre", "edges"}
    look.once(run)
    for name in mine:
        assert (run / name).read_text() == "mine"


def _report(*folders, **options):
    from saliscope.report import write_report

    write_report(list(folders), replicates=100, photos=False, **options)


def test_overwriting_removes_the_report_of_the_run(settings, kept, look, monkeypatch):
    drawn = "saliscope.report.figure_process.figures_beside"  # which takes long
    monkeypatch.setattr(
        drawn, lambda jobs: SimpleNamespace(result=lambda: [b"a figure"] * len(jobs))
    )
    before = set(look.files(kept))
    _report(kept)
    written = set(look.files(kept)) - before
    assert {"report.html", "tables/provenance.json", "tables/settings.toml"} < written
    assert {name.rpartition(".")[2] for name in written} >= {
        "csv",
        "md",
        "tex",
        "png",
        "svg",
        "pdf",
    }
    mine = ["tables/mine.csv", "figures/mine.pdf", "figures/mine.svg", "tables/deep/scores.csv"]
    for name in mine:
        (kept / name).parent.mkdir(exist_ok=True)
        (kept / name).write_text("mine")
    runs.evaluate(settings(methods=["cam"]), kept, overwrite=True)
    assert set(look.files(kept)) & (written | set(mine)) == set(mine)
    assert runs.open_run(kept).methods[0] == "cam"


def test_overwriting_leaves_a_report_of_another_run(settings, kept, plain, look):
    _report(plain, output=kept, figures=False)
    page = (kept / "report.html").read_bytes()
    runs.evaluate(settings(methods=["cam"]), kept, overwrite=True)
    assert (kept / "report.html").read_bytes() == page
    assert (kept / "tables/provenance.json").exists()


@pytest.mark.parametrize("page", [b"<p>mine, of HASH</p>", b"\xff HASH", b""])
def test_overwriting_leaves_a_page_that_is_no_report(settings, kept, look, page):
    page = page.replace(b"HASH", look.record(kept)["hash"].encode())
    (kept / "report.html").write_bytes(page)
    (kept / "tables").mkdir()
    (kept / "tables/provenance.json").write_text("mine")
    runs.evaluate(settings(methods=["cam"]), kept, overwrite=True)
    assert (kept / "report.html").read_bytes() == page
    assert (kept / "tables/provenance.json").read_text() == "mine"


@pytest.mark.parametrize("record", ["{", "{}", '{"hash": 3, "explain": 1}', "[]"])
def test_overwriting_a_damaged_run_leaves_its_report(settings, kept, record):
    (kept / "report.html").write_text('<meta name="generator" content="saliscope 1">')
    (kept / "run.json").write_text(record)
    with suppress(OptionError):  # it may be that of something else
        runs.evaluate(settings(methods=["cam"]), kept, overwrite=True)
    assert (kept / "report.html").exists()


def test_overwriting_leaves_a_training_alone(settings, tmp_path):
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained/run.json").write_text('{"schema": 1, "settings": {}, "scores": {}}')
    with pytest.raises(
        OptionError, match=r"the run.json in .*trained is no evaluation's, so it is not overwritten"
    ):
        runs.evaluate(settings(), tmp_path / "trained", overwrite=True)
    assert "settings" in (tmp_path / "trained/run.json").read_text()
    with pytest.raises(DataError, match="is no record of an evaluation"):
        runs.evaluate(settings(), tmp_path / "trained")


def test_a_damaged_record_can_be_overwritten(settings, look, plain, tmp_path):
    shutil.copytree(plain, tmp_path / "run")
    (tmp_path / "run/run.json").write_text("{")
    own = settings(data=look.data_of(plain))
    with pytest.raises(DataError, match="or `saliscope evaluate --overwrite`"):
        runs.evaluate(own, tmp_path / "run")
    runs.evaluate(own, tmp_path / "run", overwrite=True)
    look.same(tmp_path / "run", plain)


def test_maps_that_lost_their_record_are_not_taken_for_ours(settings, kept, look):
    (kept / "run.json").unlink()
    before = look.files(kept)
    with pytest.raises(DataError, match=r"kept holds maps, but no run.json"):
        runs.evaluate(settings(methods=["cam"]), kept)
    assert look.files(kept) == before


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"methods": ["grad-cam@nowhere"]}, SaliscopeError),
        ({"split": "none"}, OptionError),
        ({"target_space": "probability"}, MethodError),
        ({"wsol": True, "resize": "crop"}, OptionError),
        ({"wsol": True, "resize": "letterbox"}, OptionError),
    ],
)
def test_what_cannot_begin_leaves_no_folder(settings, tmp_path, more, error):
    with pytest.raises(error):
        runs.evaluate(settings(**more), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_methods_that_know_no_network_are_nothing_to_compare(settings, tmp_path):
    with pytest.raises(OptionError, match=r"random, edges know no network.*--method grad-cam"):
        runs.evaluate(settings(methods=["random", "edges"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_refused_folder_stays_as_it_is(settings, tmp_path):
    (tmp_path / "run/maps").mkdir(parents=True)
    (tmp_path / "run/maps/part-x.parquet").write_bytes(b"somebody's")
    with pytest.raises(DataError, match=r"holds maps, but no run\.json"):
        runs.evaluate(settings(), tmp_path / "run")
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.glob("run/**/*"))] == [
        "run/maps", "run/maps/part-x.parquet",
    ]  # fmt: skip


# --- one at a time ---------------------------------------------------------------------------------------------------


def test_only_one_process_works_on_a_run(settings, kept, tmp_path):
    with open_place(kept).alone("shard-1"):
        with pytest.raises(OptionError, match=r"another process works on .*kept; wait for it"):
            runs.evaluate(settings(), kept)
        with pytest.raises(OptionError, match=r"another process works on .*kept"):
            runs.measure(kept, thresholds=4)


# --- elsewhere -------------------------------------------------------------------------------------------------------


class Slow(MemoryFileSystem):
    """A file system of another kind, which keeps listings."""

    protocol = "elsewhere"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]


@pytest.mark.parametrize(
    "address",
    ["memory://runs/one", "elsewhere://bucket/run", "local://{tmp}/run", "file://{tmp}/run"],
)
def test_a_run_at_an_address(settings, look, plain, tmp_path, address, watch):
    fsspec.register_implementation("elsewhere", Slow, clobber=True)
    address = address.format(tmp=tmp_path)

    with pytest.raises(KeyboardInterrupt):
        runs.evaluate(settings(), address, watch=watch("measure", 4))
    outcome = runs.evaluate(settings(), address)
    assert (outcome.address, outcome.done) == (address.removeprefix("file://"), 12)
    look.same(address, plain)
    with pytest.raises(OptionError, match="holds another run: size was"):
        runs.evaluate(settings(size="48"), address)
    runs.measure(address, protocols=["cam2016:threshold=0.4"])
    assert set(runs.open_run(address).boxes["protocol"]) == {"cam2016:threshold=0.4", "box"}
    runs.evaluate(settings(methods=["cam"]), address, overwrite=True)
    assert set(runs.open_run(address).maps["spec"]) == {"cam", "random", "centre", "edges"}


# --- in memory -------------------------------------------------------------------------------------------------------


def test_data_in_memory_is_measured_in_this_process(settings, photos, tmp_path, monkeypatch):
    """It may not pickle; other processes are for those who ask for them."""
    monkeypatch.setattr(measurement, "_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(measurement, "cores", lambda: 8)
    whole = open_data(f"folder:{photos}", "all")
    data = {
        "all": Listing("mine", "all", whole.classes, whole.ids, whole.labels, lambda i: whole[i])
    }
    assert runs.evaluate(settings(), tmp_path / "run", data=data).done == 12
    assert runs.measure(tmp_path / "run", data=data, thresholds=3).done == 12
    with pytest.raises(
        OptionError, match="a network or data set given in memory cannot be sent to other processes"
    ):
        runs.evaluate(settings(workers=2), tmp_path / "other", data=data)


def test_empty_data_is_an_empty_run(settings, tmp_path):
    data = {
        "all": Listing("mine", "all", ("a", "b", "c"), [], [], lambda i: Sample("", b"", 0, "all"))
    }
    assert runs.evaluate(settings(), tmp_path / "run", data=data).done == 0
    run = runs.open_run(tmp_path / "run")
    assert (run.missing, len(run.maps), len(run.scores)) == (0, 0, 0)


def test_one_image_of_one_class(settings, photos, tmp_path):
    for name in ("cat", "red fox"):
        shutil.rmtree(photos / name)
    for number in (1, 2, 3):
        (photos / f"owl/p{number}.png").unlink()
    outcome = runs.evaluate(
        settings(num_classes=1, target="both", data=f"folder:{photos}"), tmp_path / "run"
    )
    assert outcome.done == 1
    assert runs.open_run(tmp_path / "run").maps["rank"].to_list() == [0] * 5
