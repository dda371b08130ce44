import pytest

from saliscope.pictures import fonts
from saliscope.pictures.fonts import drawable, fallback_family, font


def test_latin_greek_and_cyrillic_need_no_other_font():
    text = "Löwchen − Ω Пудель ×≥…"
    assert drawable(text) == text
    assert fallback_family(text) is None
    assert font(12, text).getname()[0] == "DejaVu Sans"


def test_letters_no_font_holds_become_squares(monkeypatch):
    monkeypatch.setattr(fonts, "_best_family", lambda lost: None)
    assert drawable("치와와 (#151)") == "□□□ (#151)"


@pytest.mark.parametrize("control", ["\n", "\t", "\x00", "\udc80"])
def test_control_characters_become_spaces(control):
    assert drawable(f"a{control}b") == "a b"


def test_an_installed_family_that_holds_the_letters_is_chosen(monkeypatch):
    held = {"some.ttf": frozenset(map(ord, "치와")), "more.ttf": frozenset(map(ord, "치와犬"))}
    monkeypatch.setattr(
        fonts, "_installed", lambda: {"NanumGothic": "some.ttf", "Unifont": "more.ttf"}
    )
    plain = fonts._charmap
    monkeypatch.setattr(fonts, "_charmap", lambda path: held[path] if path in held else plain(path))
    fonts._best_family.cache_clear()
    try:
        assert fallback_family("치와") == "NanumGothic"
        assert fallback_family("치와犬") == "Unifont"
        assert drawable("치와犬ꙮ") in {"치와犬□", "치와犬ꙮ"}
    finally:
        fonts._best_family.cache_clear()
