import pytest

from saliscope.options import option_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("0.5", 0.5),
        ("-1e-3", -0.001),
        ("true", True),
        ("FALSE", False),
        ("none", None),
        ("(1, 2)", (1, 2)),
        ("same", "same"),
        ("a.b", "a.b"),
        ("C/d", "C/d"),
        ("[1", "[1"),
    ],
)
def test_values_are_literals_or_text(text, value):
    found = option_value(text)
    assert found == value
    assert type(found) is type(value)
