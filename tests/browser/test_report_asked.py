"""The chapters of what the network was asked, in a browser: nothing is wider than the screen, everything can be read."""

import pytest

import asked_runs
from made_runs import make_run
from saliscope.report.chapters.evidence import evidence_of
from saliscope.report.findings import findings_of
from saliscope.report.html import render
from saliscope.report.study.together import study_of
from saliscope.runs import open_run
from saliscope.stats.counts import counts_kept

pytestmark = pytest.mark.browser

KEYS = ("faithfulness", "sanity", "robustness", "agreement")


@pytest.fixture(scope="module")
def asked_page(tmp_path_factory):
    """A report without pictures of a run with eight methods that answered everything."""
    folder = tmp_path_factory.mktemp("asked")
    methods = ["cam", *(f"grad-cam@layer{i}" for i in (4, 3, 2)), *(f"hires-cam@features.denseblock{i}.conv2" for i in range(4))]  # fmt: skip
    run = open_run(make_run(folder, 12, methods=methods, photos=False))
    asked_runs.ask_everything(run, specs=[*methods, "random", "centre", "edges"])
    with counts_kept():
        found = findings_of(evidence_of(study_of([run], replicates=100), None))
    file = folder / "report.html"
    file.write_text(render(found), encoding="utf-8")
    return file


@pytest.mark.parametrize("size", [(360, 740), (1280, 800)])
def test_nothing_is_wider_than_the_screen(visit, asked_page, size):
    page = visit(*size, file=asked_page)
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    for key in KEYS:
        assert page.locator(f"#{key} svg.chart, #{key} table").first.is_visible()
        assert page.locator(f"nav a[href='#{key}']").count() == 1


def test_the_best_is_bold_and_said(visit, asked_page):
    page = visit(file=asked_page)
    best = page.locator("#table-faithfulness-removal td.best")
    assert best.count() == 6
    assert int(best.first.evaluate("(e) => getComputedStyle(e).fontWeight")) >= 700
    assert best.first.text_content().endswith("(best)")


def test_names_of_rows_leave_room_on_a_phone(visit, asked_page):
    page = visit(360, 740, file=asked_page)
    wide = page.locator("#agreement tbody th").evaluate_all(
        "(all) => Math.max(...all.map((e) => e.getBoundingClientRect().width))"
    )
    assert wide <= 0.45 * 360
