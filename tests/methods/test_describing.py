"""The facts that methods state, and the page made of them."""

from dataclasses import fields
from pathlib import Path

import pytest

from saliscope.methods import METHODS, Method, by_family, facts_of, page_of
from saliscope.methods.describing import has_picture

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is_and_when_to_use_it(name):
    facts = facts_of(METHODS[name])
    assert facts["name"] == name
    for word in ("title", "family", "passes", "memory", "equation", "paper", "use", "avoid"):
        assert len(facts[word]) >= 3, word
        assert not facts[word].endswith("."), word
    assert isinstance(facts["class_discriminative"], bool)
    assert isinstance(facts["signed"], bool)


def test_options_are_a_methods_own():
    common = {f.name for f in fields(Method)}
    assert common == {"smooth", "noise", "seed"}
    assert not common & set(facts_of(METHODS["grad-cam"])["options"])
    assert facts_of(METHODS["grad-cam"])["options"] == {"relu": "true", "sign": "positive"}


def test_the_page_is_what_the_methods_say():
    assert (DOCS / "methods.md").read_text() == page_of(), (
        "write it again: saliscope methods --markdown > docs/methods.md"
    )


def test_the_page_has_a_picture_of_every_method_it_can_draw():
    drawn = {p.stem for p in (DOCS / "images/methods").glob("*.jpg")}
    assert drawn == {name for name in METHODS if has_picture(name)}


def test_the_page_has_every_method_once_and_families_together():
    page = page_of()
    assert [line[5:-1] for line in page.splitlines() if line.startswith("### ")] == by_family()
    families = [line for line in page.splitlines() if line.startswith("## ")]
    assert len(families) == len(set(families))
    assert page.count("![") == sum(map(has_picture, METHODS))
