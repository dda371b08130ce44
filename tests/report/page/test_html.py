import json
import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from saliscope.report.html import render
from saliscope.report.sections import Chart, Column, Findings, Section, Table

FILES = [
    "tables/main.csv",
    "tables/main.tex",
    "figures/curve.png",
    "figures/other-curve.pdf",
    "tables/images.csv",
]
NASTY = '<script>alert("x")</script> & </script> \u2028'


def draw():
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([1, 2, 3])
    return figure


def findings(text=NASTY):
    columns = (
        Column("method", "Method"),
        Column("iou", "IoU", "interval", better="higher", note=text),
    )
    rows = [
        {"method": text, "iou": 0.5, "iou_low": 0.4, "iou_high": 0.6, "reference": True},
        {"method": "edges", "iou": float("nan"), "trivial": True},
    ]
    section = Section(
        "methods", text, f"First {text}.\n\nSecond.", (Table("main", text, columns, rows, text),),
        (Chart("curve", text, draw, text, text), Chart("other curve", "o", draw, "a")), (text,),
    )  # fmt: skip
    return Findings(
        text,
        f"The answer: {text}",
        (section,),
        (text,),
        {
            "data": {"name": text, "hash": "ab"},
            "sessions": [{"stage": text}],
            "n": [1, 2],
            "none": None,
        },
    )


class Reader(HTMLParser):
    """Every element with its attributes; void elements and SVG are left to the browser tests."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def read(page):
    reader = Reader()
    reader.feed(page)
    return reader.found


@pytest.fixture(scope="module")
def page(album):
    return render(
        findings(), album, facts={"Run": NASTY}, warnings=[NASTY], files=FILES, made="today"
    )


def test_text_is_never_markup(page):
    assert "alert(" in page
    assert "<script>alert" not in page
    scripts = [attributes for tag, attributes in read(page) if tag == "script"]
    assert {s["type"] for s in scripts} == {"application/json", "module"}


def test_policy_lets_nothing_be_asked_for(page):
    policy = next(
        a["content"] for t, a in read(page) if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith(
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )


def test_nothing_comes_from_elsewhere(page):
    for tag, attributes in read(page):
        for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
            value = attributes.get(name)
            if value is not None:
                assert re.match(r"#|data:|tables/|figures/", value), (tag, value)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_ids_are_unique(page):
    ids = [attributes["id"] for _, attributes in read(page) if "id" in attributes]
    assert sorted(ids) == sorted(set(ids))


def test_links_inside_the_page_lead_somewhere(page):
    found = read(page)
    ids = {attributes.get("id") for _, attributes in found}
    inside = {a["href"][1:] for t, a in found if t == "a" and a["href"].startswith("#")}
    assert inside <= ids
    assert {"answer", "methods", "images", "all-images", "provenance", "group-wrong"} <= inside


def test_files_beside_the_page_are_named(page, album):
    links = [a["href"] for t, a in read(page) if t == "a"]
    assert set(FILES) <= set(links)
    bare = render(findings(), album)
    assert not [a for t, a in read(bare) if t == "a" and not a["href"].startswith("#")]


def test_data_can_be_read(page, album):
    blocks = dict(
        re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page, re.DOTALL)
    )
    assert json.loads(blocks["data-meta"]) == json.loads(json.dumps(album.payload.meta))
    assert json.loads(blocks["data-image-3"])["id"] == album.payload.images[3]["id"]
    assert len(blocks) == 3 + len(album.payload.images)
    assert "\u2028" not in "".join(blocks.values())


def test_warnings_come_first(page):
    assert page.index('class="warnings"') < page.index("<main>")
    assert page.count("<strong>Warning</strong>") == 2, "what stands at the top is not repeated"


def test_rows_are_marked(page):
    assert '<tr class="reference">' in page
    assert '<tr class="trivial">' in page
    assert '<span class="chip">no network</span>' in page


def test_failed_images_stand_in_the_page(page):
    assert "Ωmega/p0022.png is not a picture that can be read &lt;22&gt;" in page


def test_a_page_without_pictures():
    page = render(findings("plain"))
    assert 'id="data-meta"' not in page
    assert 'id="images"' not in page
    assert "<h2" in page


def test_same_findings_same_page(album):
    assert render(findings(), album, made="x") == render(findings(), album, made="x")


def test_photographs_are_said_to_be_in_it(page, album):
    assert "small copies of photographs" in page
    assert "small copies of photographs" not in render(findings("plain"))
