import numpy as np
import pytest

from saliscope.explanation import Explanation, Target
from saliscope.frames import Frame
from saliscope.images import Photo

pytestmark = pytest.mark.browser


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture
def explanation():
    pixels = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
    target = Target(207, "golden <i>retriever</i> " + "very " * 30 + "golden", "logit", 9.25, 0.75)
    grid = np.arange(49, dtype=np.float32).reshape(7, 7)
    return Explanation(
        map=grid, frame=Frame.squash((375, 500), (224, 224)), target=target, status="saturated",
        method="grad-cam", layer="layer4", model="resnet50", photo=Photo(pixels, "x" * 200 + ".jpg"),
        predicted=target, seconds=0.5,
    )  # fmt: skip


@pytest.mark.parametrize("width", [360, 1000])
def test_notebook_view_shows_picture_and_table_offline(
    browser, explanation, tmp_path, scheme, width
):
    colours = {"light": ("white", "black"), "dark": ("#111", "#eee")}[scheme]
    style = f"background:{colours[0]};color:{colours[1]};margin:8px;font-family:sans-serif"
    page_file = tmp_path / "page.html"
    page_file.write_text(
        f'<!doctype html><meta charset="utf-8"><body style="{style}">{explanation._repr_html_()}</body>',
        encoding="utf-8",
    )
    context = browser.new_context(offline=True, viewport={"width": width, "height": 600})
    try:
        asked = []
        context.on("request", lambda request: asked.append(request.url))
        context.route(lambda url: url.startswith(("http:", "https:")), lambda route: route.abort())
        page = context.new_page()
        failures = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(page_file.as_uri())
        image = page.locator("img")
        image.evaluate("element => element.decode()")
        assert image.evaluate("element => element.naturalWidth") == 638
        rows = page.locator("tr").all_inner_texts()
        assert len(rows) == 5
        assert "grad-cam@layer4" in rows[0]
        assert "golden <i>retriever</i>" in rows[1]
        assert "logit 9.25" in rows[1]
        assert "7 × 7, 0 to 48 · status: saturated" in rows[3]
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(wide)
        ink = page.locator("td").first.evaluate("cell => getComputedStyle(cell).color")
        assert ink == {"light": "rgb(0, 0, 0)", "dark": "rgb(238, 238, 238)"}[scheme]
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert failures == []
    finally:
        context.close()
