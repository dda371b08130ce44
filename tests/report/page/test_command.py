import csv
import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from saliscope.cli.app import main
from saliscope.errors import DataError, OptionError
from saliscope.report.command import write_report
from saliscope.runs.place import open_place

FEW = {"replicates": 100, "figures": False}


def data_of(page):
    return {
        name: json.loads(text)
        for name, text in re.findall(
            r'<script type="application/json" id="([^"]+)">(.*?)</script>', page, re.DOTALL
        )
    }


@pytest.fixture(scope="module")
def written(folder, tmp_path_factory):
    """The report of the made run, in a folder of its own."""
    said = []
    target = tmp_path_factory.mktemp("out")
    return write_report(folder, target, replicates=100, say=said.append), target, said


def test_all_files_are_there(written):
    report, target, said = written
    assert report.page == f"{target}/report.html"
    assert report.size == (target / "report.html").stat().st_size
    page = (target / "report.html").read_text(encoding="utf-8")
    assert report.answer.replace(" %", "\u00a0%") in page.replace("&#39;", "'").replace("&lt;", "<")
    linked = set(re.findall(r'href="((?:tables|figures)/[^"]+)"', page))
    on_disk = {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()}
    assert linked == on_disk - {"report.html"}
    assert {"tables/main.csv", "tables/images.parquet", "figures/main.svg"} <= linked
    assert [words.split()[0] for words in said] == ["reading", "reading", "writing"]


def test_rows_of_all_images_as_files(written, made):
    frame = pl.read_parquet(written[1] / "tables/images.parquet")
    assert frame["id"].to_list() == made.images["id"].to_list()
    wide = made.by_method("iou", "yang2025")
    assert frame["IoU (yang2025), cam"].to_list()[:22] == wide["cam"].to_list()
    with (written[1] / "tables/images.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 24


def test_pictures_and_rows_are_in_the_page(written):
    data = data_of((written[1] / "report.html").read_text(encoding="utf-8"))
    assert len(data["data-rows"]["ids"]) == 24
    assert data["data-image-0"]["photo"]


def test_into_the_run_itself(make_run, tmp_path):
    folder = make_run(tmp_path, 8, photos=False, failed=0)
    before = {p for p in Path(folder).rglob("*") if p.is_file()}
    report = write_report(folder, **FEW)
    assert report.page == f"{folder}/report.html"
    after = {p for p in Path(folder).rglob("*") if p.is_file()}
    assert before < after
    assert {str(p.relative_to(folder)).split("/")[0] for p in after - before} == {
        "report.html",
        "tables",
    }
    again = write_report(folder, **FEW)
    assert again.answer == report.answer, "a report can be made anew"


def test_data_that_is_gone(make_run, tmp_path):
    folder = make_run(tmp_path, 8, photos=False, failed=0)
    report = write_report(folder, **FEW)
    (warning,) = [w for w in report.warnings if "in this page" in w]
    assert warning.startswith(
        "No photograph is in this page: the data cannot be opened: there is no folder"
    )
    page = Path(report.page).read_text(encoding="utf-8")
    assert "The photographs are not in this page" in page
    assert "No photograph is in this page" in page
    assert "small copies of photographs" not in page


def test_data_that_has_moved(make_run, tmp_path):
    folder = make_run(tmp_path, 8, failed=0)
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    report = write_report(folder, tmp_path / "out", **FEW)
    assert any("No photograph" in w for w in report.warnings)


def test_without_photographs(folder, tmp_path):
    report = write_report(folder, tmp_path, photos=False, **FEW)
    data = data_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {v["photo"] for k, v in data.items() if k.startswith("data-image")} == {None}
    assert not any("in this page" in w for w in report.warnings)


def test_a_run_whose_maps_were_left_behind(make_run, tmp_path):
    folder = make_run(tmp_path, 8, photos=False, failed=0)
    whole = write_report(folder, tmp_path / "whole", **FEW)
    shutil.rmtree(Path(folder) / "maps")
    report = write_report(folder, tmp_path / "out", **FEW)
    assert [w for w in report.warnings if w.startswith("maps")] == [
        "maps/ is not in the folder of the run: no heatmap is drawn, and flat maps are not counted."
    ]
    assert report.answer == whole.answer
    for name in ("main", "boxes-yang2025", "heat-in-boxes"):
        one, other = (
            pl.read_csv(tmp_path / out / f"tables/{name}.csv", infer_schema=False)
            for out in ("whole", "out")
        )
        assert one.drop("flat", "maps", strict=False).equals(
            other.drop("flat", "maps", strict=False)
        )
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    pictures = [v for k, v in data_of(page).items() if k.startswith("data-image")]
    assert pictures
    assert not any(picture["maps"] for picture in pictures)


def test_what_was_never_measured_is_told_without_maps_too(make_run, tmp_path):
    folder = make_run(tmp_path, 16, photos=False, failed=0, finished=False)
    shutil.rmtree(Path(folder) / "maps")
    said = " ".join(write_report(folder, photos=False, **FEW).warnings)
    assert "13 selected images not explained yet" in said


def test_a_run_that_was_stopped_while_asking_warns(make_run, tmp_path):
    folder = make_run(tmp_path, 8, photos=False, failed=0)
    (Path(folder) / "answers").mkdir()
    (Path(folder) / "answers/part-test-00000000-abc.curves-1234567890ab.parquet").write_bytes(b"")
    said = " ".join(write_report(folder, photos=False, **FEW).warnings)
    assert "asking the network was stopped before the last map" in said
    assert "the same --ask continues" in said


def test_an_unfinished_run_warns(make_run, tmp_path):
    folder = make_run(tmp_path, 16, photos=False, failed=0, finished=False)
    report = write_report(folder, photos=False, **FEW)
    said = " ".join(report.warnings)
    assert "5 selected images not explained yet" in said
    assert "1 part of maps not measured yet" in said
    assert "asking the network" not in said
    assert "not explained yet" in Path(report.page).read_text(encoding="utf-8")


def test_runs_side_by_side(folder, make_run, tmp_path):
    other = make_run(
        tmp_path, 24, crop=True, seed=3, photos=False, methods=["cam", "grad-cam@layer3"]
    )
    write_report([folder, other], tmp_path / "out", **FEW)
    data = data_of((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    labels = [s["label"] for s in data["data-meta"]["sources"] if not s["trivial"]]
    assert len(labels) == 6
    assert len(set(labels)) == 6
    image = data["data-image-0"]
    own = {m["source"] for m in image["maps"] if image["targets"][m["target"]]["truth"]}
    assert set(range(6)) <= own, "the same image by the methods of both runs"


def test_images_with_several_classes(make_run, tmp_path):
    folder = make_run(tmp_path, 12, failed=1, several=True)
    write_report(folder, tmp_path / "out", **FEW)
    data = data_of((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    rows = data["data-rows"]
    assert rows["several"]
    assert len(rows["ids"]) == 23, "a row for each class, and one for the image that failed"
    keys = [g["key"] for g in data["data-meta"]["groups"]]
    assert "wrong" not in keys, "such an image has no single right answer"
    assert [t["truth"] for t in data["data-image-5"]["targets"]] == [True, True]
    for group in data["data-meta"]["groups"]:
        if group["key"] in ("best", "worst"):
            assert all(target is not None for _, target, _ in group["picks"])


def test_another_primary_score(folder, tmp_path):
    report = write_report(folder, tmp_path, primary="enrichment@boxes", photos=False, **FEW)
    data = data_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert data["data-meta"]["metrics"][0]["label"] == "enrichment (boxes)"
    assert "enrichment" in report.answer


def test_at_an_address(folder):
    report = write_report(folder, "memory://reports/one", photos=False, **FEW)
    assert report.page == "memory://reports/one/report.html"
    assert open_place("memory://reports/one").read("report.html").startswith(b"<!doctype html>")
    assert "main.csv" in open_place("memory://reports/one").names("tables")


def test_large_pages_warn(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("saliscope.report.command._LARGE", 1000)
    report = write_report(folder, tmp_path, **FEW)
    assert re.search(
        r"the page has \d+ MB: it opens slowly; --no-photos makes it smaller", report.warnings[-1]
    )


def test_what_is_no_run(tmp_path, folder):
    with pytest.raises(DataError, match=r"holds no run: there is no run\.json"):
        write_report(tmp_path)
    with pytest.raises(OptionError, match="a report needs the folder of a run"):
        write_report([])
    with pytest.raises(
        OptionError, match=r'"ioo@yang2025" was not measured; nearest: "iou@yang2025"'
    ):
        write_report(folder, tmp_path, primary="ioo@yang2025", **FEW)
    assert not list(tmp_path.iterdir()), "nothing is left of a report that failed"


def run(capsys, *words):
    code = main(["report", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_command(folder, tmp_path, capsys):
    code, out, err = run(capsys, folder, "-o", tmp_path, "--replicates", 100, "--no-figures")
    assert code == 0
    assert out.startswith("Primary endpoint mean IoU (yang2025), declared before the run: ")
    assert err.splitlines()[0] == f"reading {folder}"
    assert err.splitlines()[-1].startswith(f"the report is in {tmp_path}/report.html (")
    assert not (tmp_path / "figures").exists()


def test_command_as_json(folder, tmp_path, capsys):
    code, out, err = run(
        capsys,
        folder,
        "-o",
        tmp_path,
        "--replicates",
        100,
        "--no-figures",
        "--no-photos",
        "--json",
        "-q",
    )
    found = json.loads(out)
    assert (code, found["page"]) == (0, f"{tmp_path}/report.html")
    assert set(found) == {"page", "answer", "warnings", "size"}
    assert all(line.startswith("warning: ") for line in err.splitlines())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "report needs the folder of a run: saliscope report runs/dogs"),
        (["nowhere"], "nowhere holds no run: there is no run.json in it"),
        (
            ["RUN", "--primary", "iou@yang"],
            'the primary score "iou@yang" was not measured; nearest: "iou@yang2025"',
        ),
        (["RUN", "--replicates", "99"], "an interval needs 100 replicates or more; got 99"),
    ],
)
def test_command_says_what_is_wrong(folder, tmp_path, capsys, words, message):
    code, out, err = run(
        capsys, *[folder if w == "RUN" else w for w in words], *(["-o", tmp_path] if words else [])
    )
    assert (code, out) == (2, "")
    assert message in err
    assert len([line for line in err.splitlines() if line.startswith("saliscope: ")]) == 1
