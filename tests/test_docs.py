"""Whatever the documentation shows runs, parses, or leads somewhere.

Examples run without a network: `load_model` is made to build every network untrained, once. Only the numbers change by
that, and no example states a number that depends on weights.
"""

import ast
import doctest
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saliscope
from saliscope.models import load, sources

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "saliscope"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = [
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, *languages):
    """The fenced blocks of a page in one of `languages`, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start()) + 2, match[2])
        for match in BLOCK.finditer(text)
        if match[1] in languages
    ]


def commands(page):
    """Every command line of saliscope shown on a page, continued lines joined."""
    lines = "\n".join(code for _, code in blocks(page, "console", "sh", "bash"))
    for line in lines.replace("\\\n", " ").splitlines():
        command = line.strip().removeprefix("$ ")
        if command.startswith("saliscope "):
            yield command


def named(page):
    return str(page.relative_to(ROOT))


PYTHON_PAGES = [page for page in PAGES if blocks(page, "python")]
COMMANDS = [(page.name, command) for page in PAGES for command in commands(page)]


def photograph():
    """A made-up photograph: something round and warm before something green, with the grain of a camera."""
    y, x = np.mgrid[:240, :320]
    body = np.exp(-(((x - 130) / 70.0) ** 2 + ((y - 110) / 60.0) ** 2))
    grain = np.random.default_rng(0).normal(0, 6, (240, 320, 3))
    colours = np.stack([60 + 150 * body, 110 + 20 * body, 50 + 40 * body], axis=2)
    return Image.fromarray(np.clip(colours + grain, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def built():
    return {}


@pytest.fixture
def workplace(tmp_path, monkeypatch, built):
    """A folder with dog.jpg, in which networks are untrained and made once."""

    def build(name, weights="pretrained", *, num_classes=None):
        if ".py" in name:
            return sources.build(name, weights, num_classes=num_classes)
        if name not in built:
            built[name] = sources.build(name, "untrained", num_classes=num_classes)
        return built[name]

    monkeypatch.setattr(load, "build", build)
    monkeypatch.chdir(tmp_path)
    photograph().save(tmp_path / "dog.jpg")
    return tmp_path


def test_there_is_something_to_run():
    assert ROOT / "README.md" in PYTHON_PAGES
    assert ROOT / "docs" / "guide.md" in PYTHON_PAGES
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=named)
def test_python_examples_run(page, workplace):
    space = {"__name__": "__main__"}
    for line, code in blocks(page, "python"):
        program = compile("\n" * (line - 1) + code, named(page), "exec")
        exec(program, space)


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[c for _, c in COMMANDS])
def test_commands_parse(page, command, tmp_path, monkeypatch):
    from saliscope.cli.app import app

    monkeypatch.chdir(tmp_path)
    words = shlex.split(command, comments=True)[1:]
    if "|" in words:
        words = words[: words.index("|")]
    app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("name", MODULES)
def test_doctests_hold(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


def anchors(page):
    """The anchors of a page's headings, made the way code hosts make them."""
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    found = []
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        found.append(kept.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=named)
def test_relative_links_lead_somewhere(page):
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{target} in {page.name}"
        if anchor:
            assert anchor in anchors(place), f"{target} in {page.name}"


def messages():
    """Every piece of fixed text in the sources, the holes of f-strings as one ellipsis."""
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_troubleshooting_quotes_messages_that_exist():
    page = ROOT / "docs" / "troubleshooting.md"
    quoted = re.findall(r"^### `` ?(.*?) ?``$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(quoted) > 40
    texts = messages()
    patterns = {quote: re.compile(".*".join(map(re.escape, quote.split("…")))) for quote in quoted}
    missing = [quote for quote, p in patterns.items() if not any(map(p.search, texts))]
    assert not missing


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


# Written in two pieces, so that this file does not contain them.
PLACES = re.compile(
    "|".join(["/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/", "/Us" + "ers/", r"C:\\" + "Users"])
)
HOSTS = re.compile(
    "|".join(["py" + "pi.org", "python" + "hosted", "download.py" + "torch", "conda" + ".anaconda"])
)


def test_no_file_names_a_machine_or_a_registry():
    found = []
    for file in tracked():
        data = file.read_bytes()
        if b"\0" in data[:4096]:
            continue
        text = data.decode("utf-8", "replace")
        found += [f"{file.relative_to(ROOT)}: {m[0]}" for m in PLACES.finditer(text)]
        found += [f"{file.relative_to(ROOT)}: {m[0]}" for m in HOSTS.finditer(text)]
    assert not found


def test_the_readme_picture_is_small():
    picture = ROOT / "docs" / "images" / "compare.png"
    assert picture.stat().st_size < 300_000
    assert saliscope.load_image(picture).size[1] >= 800
