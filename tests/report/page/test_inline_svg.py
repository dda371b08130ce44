import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from saliscope.report import inline_svg
from saliscope.report.inline_svg import inline_figure


@pytest.fixture
def figure():
    figure = Figure(figsize=(6, 3))
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [1, 0, 2], marker="o")
    axes.imshow(np.eye(3))
    axes.set_title("a < b")
    return figure


def test_svg_is_whole_and_speaks(figure):
    found = inline_figure(figure, "c1", title="Mean < IoU", alt='It "rises" & falls')
    root = ET.fromstring(str(found).replace("xlink:href", "href"))
    assert root.attrib["role"] == "img"
    assert root.attrib["viewBox"] == "0 0 432 216"
    named = [
        root.find(f".//*[@id='{name}']").text for name in root.attrib["aria-labelledby"].split()
    ]
    assert named == ["Mean < IoU", 'It "rises" & falls']


def test_ids_belong_to_one_chart(figure):
    ids = [
        set(re.findall(r'\bid="([^"]+)"', inline_figure(figure, name, title="t", alt="a")))
        for name in ("c1", "c2")
    ]
    assert ids[0] & ids[1] == set()
    text = inline_figure(figure, "c1", title="t", alt="a")
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    assert {a or b for a, b in used} <= ids[0]
    assert used


def test_nothing_leaks(figure):
    text = inline_figure(figure, "c1", title="t", alt="a")
    assert "http" not in text
    assert "<style" not in text
    assert "<metadata" not in text
    assert "DOCTYPE" not in text


def test_large_drawings_become_pixels(figure, monkeypatch):
    monkeypatch.setattr(inline_svg, "_MOST", 1000)
    text = inline_figure(figure, "c1", title="t <", alt='say "a"')
    assert text.startswith(
        '<img class="chart" width="576" alt="t &lt;. say &#34;a&#34;" src="data:image/png;base64,'
    )


def test_same_figure_same_text(figure):
    assert inline_figure(figure, "c", title="t", alt="a") == inline_figure(
        figure, "c", title="t", alt="a"
    )
