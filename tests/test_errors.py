import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saliscope import errors

BUILT_IN = {
    "ImageError": ValueError,
    "DataError": ValueError,
    "ModelError": RuntimeError,
    "LayerError": LookupError,
    "TargetError": ValueError,
    "MethodError": ValueError,
    "OptionError": ValueError,
    "DependencyError": ImportError,
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_error_is_ours_and_the_built_in(name):
    with pytest.raises(BUILT_IN[name], match="what and why"):
        raise getattr(errors, name)("what and why")
    assert issubclass(getattr(errors, name), errors.SaliscopeError)


def test_the_module_docstring_prints_the_whole_tree():
    classes = {n for n in errors.__all__ if isinstance(getattr(errors, n), type)}
    assert classes == {*BUILT_IN, "SaliscopeError"}
    for name, base in BUILT_IN.items():
        assert f"{name}({base.__name__})" in errors.__doc__
        assert getattr(builtins, base.__name__) is base


@pytest.mark.parametrize(
    ("given_name", "known", "said"),
    [
        ("layer5", ["layer1", "layer4", "fc"], 'nearest: "layer4", "layer1"'),
        ("GRAD-CAM", ["cam", "grad-cam"], 'nearest: "grad-cam", "cam"'),
        ("zzz", ["a", "b"], 'known: "a", "b"'),
        ("dog", ["golden dog", "cat"], 'nearest: "golden dog"'),
        ("x", [], "known: "),
    ],
)
def test_nearest_phrases(given_name, known, said):
    assert errors.nearest(given_name, known) == said


def test_nearest_shows_twelve_and_counts_the_rest():
    said = errors.nearest("~~~~", [f"name{i}" for i in range(30)])
    assert said.count('"') == 24
    assert said.endswith("and 18 more")


@given(st.text(), st.lists(st.text(min_size=1), max_size=20), st.integers(1, 5))
def test_nearest_never_exceeds_its_limit_and_names_only_what_is_known(given_name, known, limit):
    said = errors.nearest(given_name, known, limit=limit)
    if said.startswith("nearest: "):
        listed = said.removeprefix("nearest: ")
        options = {f'"{name}"' for name in known}
        shown = [name for name in dict.fromkeys(known) if f'"{name}"' in listed]
        assert shown
        assert any(listed.startswith(option) for option in options)
        if not any('"' in name or "," in name for name in known):
            assert 1 <= listed.count('"') // 2 <= limit
            assert set(listed.split(", ")) <= options


@given(st.lists(st.text("abc", min_size=1), min_size=1, max_size=10))
def test_a_known_name_is_its_own_nearest(known):
    assert errors.nearest(known[0], known).startswith('nearest: "')
    assert f'"{known[0]}"' in errors.nearest(known[0], known, limit=10)
