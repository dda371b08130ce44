import re
from importlib.resources import files

import pytest

from saliscope.report import scripts
from saliscope.report.scripts import linked, static_text

STATIC = files("saliscope.report") / "static"
MODULES = sorted(p.name.removesuffix(".js") for p in STATIC.iterdir() if p.name.endswith(".js"))


def test_modules_come_after_what_they_need():
    text = linked("main")
    order = re.findall(r"^modules\.(\w+) = ", text, re.MULTILINE)
    assert order[-1] == "main"
    assert sorted(order) == MODULES
    for name in order:
        needed = re.findall(r'from "\./(\w+)\.js"', static_text(f"{name}.js"))
        assert all(order.index(other) < order.index(name) for other in needed)


def test_imports_become_constants(monkeypatch):
    made = {
        "one.js": 'import { a as b,\n  c } from "./two.js";\n\nexport function f() {\n  return b + c;\n}\n',
        "two.js": "export const a = 1;\nexport class c {}\n",
    }
    monkeypatch.setattr(scripts, "static_text", made.__getitem__)
    assert linked("one") == (
        'const modules = {};\nmodules.two = (() => {\n"use strict";\nconst a = 1;\nclass c {}\nreturn { a, c };\n})();\n'
        'modules.one = (() => {\n"use strict";\nconst { a: b, c } = modules.two;\n\nfunction f() {\n  return b + c;\n}\n'
        "return { f };\n})();\n"
    )


@pytest.mark.parametrize("name", MODULES)
def test_files_can_stand_in_a_page(name):
    text = static_text(f"{name}.js")
    assert text.startswith("/**"), "says what it is about"
    assert len(text.splitlines()) <= 400
    assert "</script" not in text.lower()
    assert "<!--" not in text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), (
        "data never becomes HTML"
    )
    addresses = set(re.findall(r"https?://[^\"'` ]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}, "the name of SVG is no address"
    assert not re.search(r"\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", text)


def test_styles_load_nothing():
    for name in ("report.css", "pictures.css"):
        text = static_text(name)
        assert "url(" not in text
        assert "@import" not in text
        assert "http" not in text
