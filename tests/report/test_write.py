import json

import numpy as np
import pytest
from PIL import Image

from saliscope.errors import DataError
from saliscope.report.findings import findings
from saliscope.report.page import Page
from saliscope.report.sections import Chart, Column, Findings, Section, Table
from saliscope.report.write import write_figures, write_tables
from saliscope.runs import read_run_settings


def drawn():
    page = Page(2, 1)
    page.write(0.1, 0.1, "words")
    return page.figure


@pytest.fixture
def found():
    table = Table("a:b", "T", (Column("x", "x"),), ({"x": "1"},))
    empty = Table("empty", "T", (Column("x", "x"),), ())
    chart = Chart("c", "A chart", drawn, "alt")
    section = Section("s", "S", "lead", (table, empty), (chart,))
    return Findings(
        "title", "answer", (section,), (), {"runs": [{"hash": "abc123", "settings": "model = 1\n"}]}
    )


def test_files_lie_in_two_folders(found, tmp_path):
    names = write_tables(found, tmp_path) + write_figures(found, str(tmp_path), dpi=50)
    assert names == [
        *(f"tables/a-b.{s}" for s in ("csv", "parquet", "md", "tex")),
        "tables/settings.toml", "tables/provenance.json",
        *(f"figures/c.{s}" for s in ("png", "svg", "pdf")),
    ]  # fmt: skip
    there = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert there == sorted(names)
    assert (tmp_path / "tables/a-b.csv").read_text() == "x\n1\n"
    assert (
        json.loads((tmp_path / "tables/provenance.json").read_text())["runs"][0]["hash"] == "abc123"
    )


def test_figures_say_what_they_are_of(found, tmp_path):
    write_figures(found, tmp_path, dpi=50)
    with Image.open(tmp_path / "figures/c.png") as picture:
        assert picture.size == (100, 50)
        assert picture.info["Description"] == "A chart. title. Runs: abc123"
    assert "Runs: abc123" in (tmp_path / "figures/c.svg").read_text()
    assert b"Runs: abc123" in (tmp_path / "figures/c.pdf").read_bytes()


def test_the_same_findings_give_the_same_files(found, tmp_path):
    write_figures(found, tmp_path / "one", dpi=50)
    write_figures(found, tmp_path / "two", dpi=50)
    for name in ("c.png", "c.svg", "c.pdf"):
        assert (tmp_path / "one/figures" / name).read_bytes() == (
            tmp_path / "two/figures" / name
        ).read_bytes()


def test_a_place_that_cannot_be_written_is_named(found, tmp_path):
    (tmp_path / "tables").write_text("in the way")
    with pytest.raises(DataError, match="tables"):
        write_tables(found, tmp_path)


def test_the_settings_of_a_run_can_be_read_back(make_run, tmp_path):
    runs = [make_run("a", n=8, seed=1), make_run("b", n=8, seed=2, data="other")]
    made = findings(runs, replicates=100)
    names = write_tables(made, tmp_path / "out")
    assert {"tables/settings-1.toml", "tables/settings-2.toml"} <= set(names)
    assert read_run_settings(tmp_path / "out/tables/settings-2.toml") == runs[1].settings
    assert (
        made.provenance["commands"][0]
        == f"saliscope evaluate tables/settings-1.toml -o {runs[0].place.address}"
    )
    figures = write_figures(made, tmp_path / "out", dpi=40)
    assert len(figures) == 3 * sum(len(s.charts) for s in made.sections)
    assert np.asarray(Image.open(tmp_path / "out/figures/main.png")).std() > 0
