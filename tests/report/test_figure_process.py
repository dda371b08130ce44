import subprocess

import pytest
from matplotlib.figure import Figure

from saliscope.report import figure_process
from saliscope.report.figure_process import FigureJob, figures_beside, figures_here


@pytest.fixture
def jobs():
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([1, 3, 2], label="a × b")
    return [
        FigureJob(f"figures/a.{kind}", figure, kind, 80, "Three points")
        for kind in ("png", "svg", "pdf")
    ]


def test_the_other_process_makes_the_same_files(jobs):
    here = figures_here(jobs)
    assert [data[:4] for data in here] == [b"\x89PNG", b"<?xm", b"%PDF"]
    assert all(b"Three points" in data for data in here[:2])
    assert figures_beside(jobs).result(timeout=120) == here


@pytest.mark.parametrize(
    "failure",
    [
        OSError("cannot fork"),
        subprocess.CalledProcessError(-9, "python"),
        subprocess.CompletedProcess("python", 0, b"cut sho"),
        subprocess.CompletedProcess("python", 0, b""),
    ],
    ids=["no process", "killed", "garbage", "nothing"],
)
def test_where_the_process_fails_they_are_made_in_this_one(jobs, monkeypatch, failure):
    def run(*_, **__):
        if isinstance(failure, Exception):
            raise failure
        return failure

    monkeypatch.setattr(figure_process.subprocess, "run", run)
    assert figures_beside(jobs).result(timeout=120) == figures_here(jobs)


def test_what_is_wrong_with_a_figure_is_told_as_it_is_without_a_process(jobs):
    odd = FigureJob("figures/a.gif", jobs[0].figure, "gif", 80, "")
    with pytest.raises(Exception, match="gif") as told:
        figures_here([odd])
    with pytest.raises(type(told.value), match="gif"):
        figures_beside([odd]).result(timeout=120)
