"""A browser, a page of a report that is on disk, and hands that use it."""

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from saliscope.report.gallery import choose
from saliscope.report.html import Album, render
from saliscope.report.image_rows import make_rows
from saliscope.report.material import Material
from saliscope.report.payload import make_payload
from saliscope.report.sections import Chart, Column, Findings, Section, Table
from saliscope.report.study.primary import find_primary, find_reference
from saliscope.report.study.together import study_of
from saliscope.report.thumbnails import Photographs
from saliscope.runs import open_run

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    """Chromium; tests that ask for it are skipped where it, or Playwright, is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def make_run(folder, *words, **more):
    file = Path(__file__).parents[1] / "made_runs.py"
    spec = importlib.util.spec_from_file_location("made_runs", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_run(folder, *words, **more)


def draw():
    figure = Figure(figsize=(7, 3))
    figure.add_subplot().plot([1, 3, 2])
    return figure


def findings(sources):
    columns = (
        Column("method", "Method"),
        Column("iou", "IoU (yang2025)", "interval", better="higher", note="Mean IoU."),
        Column("n", "images", "count"),
    )
    rows = [
        {"method": s.label, "iou": [0.5, 0.6, np.nan, 0.2][i % 4], "iou_low": 0.4, "iou_high": 0.7, "n": 1000 - 100 * i,
         "reference": i == 0, "trivial": s.trivial}
        for i, s in enumerate(sources)
    ]  # fmt: skip
    section = Section(
        "methods", "Methods compared", "What was found.", (Table("main", "Scores of all methods", columns, rows, "A note."),),
        (Chart("curve", "IoU at every threshold", draw, "A curve that rises and falls."),), ("Few images.",),
    )  # fmt: skip
    return Findings(
        "Four methods on made images",
        "grad-cam@layer2 has the highest IoU.",
        (section,),
        ("Exploratory.",),
        {"run": {"hash": "ab" * 32}},
    )


@pytest.fixture(scope="session")
def content(tmp_path_factory):
    """The album of a made run with crops, and its page on disk."""
    folder = tmp_path_factory.mktemp("page")
    run = open_run(make_run(folder, crop=True))
    study = study_of([run])
    material = Material(study, find_primary(study), find_reference(study))
    groups = choose(material)
    payload = make_payload(material, groups, [Photographs(run.settings)])
    pictures = {image["id"]: number for number, image in enumerate(payload.images)}
    del pictures["fox/p0005.png"]  # one that the sample left out
    album = Album(groups, payload, make_rows(material, pictures))
    file = folder / "report.html"
    file.write_text(
        render(
            findings(material.sources),
            album,
            facts={"Run": str(folder)},
            files=["tables/main.csv", "figures/curve.svg"],
        ),
        encoding="utf-8",
    )
    return SimpleNamespace(file=file, album=album, material=material, findings=findings)


@pytest.fixture
def visit(browser, content):
    """Open the page: `visit(width, height, scheme=)`; afterwards nothing was asked for, and nothing went wrong."""
    contexts, asked, failures = [], [], []

    def open_page(width=1280, height=800, file=content.file, **more):
        context = browser.new_context(
            offline=True, viewport={"width": width, "height": height}, **more
        )
        contexts.append(context)
        context.on("request", lambda request: asked.append(request.url))
        context.route(
            lambda url: not url.startswith(("file:", "data:", "blob:")), lambda route: route.abort()
        )
        page = context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on(
            "console",
            lambda message: (
                failures.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        page.goto(file.as_uri())
        page.wait_for_function("document.documentElement.dataset.ready")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)
    assert failures == []


def settled(page):
    """Wait for the frames in which pictures are drawn."""
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 120))))"
    )


def card(page, group, number=0):
    found = page.locator(f"#group-{group} button.card").nth(number)
    found.scroll_into_view_if_needed()
    settled(page)
    return found


def rows_of(page):
    page.locator("#rows").scroll_into_view_if_needed()
    page.wait_for_selector("#rows tbody tr[aria-rowindex]")
    return page.locator("#rows")


def shown_rows(home, column=0):
    return home.locator("tbody tr[aria-rowindex]").evaluate_all(
        f"(rows) => rows.map((r) => r.cells[{column}].textContent)"
    )


@pytest.fixture(scope="session")
def hand():
    """What a test does with a page: `settled(page)`, `card(page, group, number)`, `rows_of(page)`, `shown_rows(home, column)`."""
    return SimpleNamespace(settled=settled, card=card, rows_of=rows_of, shown_rows=shown_rows)
