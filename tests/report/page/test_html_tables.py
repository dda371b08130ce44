import math

import pytest

from saliscope.report.html_tables import page_table
from saliscope.report.sections import Column, Table


def cell(kind, row, **more):
    table = Table("t", "T", (Column("v", "V", kind, **more),), [row])
    (found,) = page_table(table).rows[0].cells
    return found.text, found.order


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "CAM <b>", ("CAM <b>", "cam <b>")),
        ("number", 0.12349, ("0.123", "0.12349")),
        ("number", -0.5, ("−0.500", "-0.5")),
        ("number", -0.0001, ("0.000", "-0.0001")),
        ("number", "n/a", ("n/a", "n/a")),
        ("count", 12345, ("12,345", "12345.0")),
        ("p", 0.0004, ("< 0.001", "0.0004")),
        ("p", 0.0312, ("0.031", "0.0312")),
        ("flag", True, ("yes", "yes")),
        ("flag", False, ("no", "no")),
        ("number", math.nan, ("undefined", "")),
        ("p", math.nan, ("undefined", "")),
        ("number", None, ("–", "")),
        ("text", None, ("–", "")),
    ],
)
def test_values(kind, value, expected):
    text, order = cell(kind, {"v": value})
    assert text == expected[0]
    assert order == expected[1]


def test_intervals():
    row = {"v": 0.5544, "v_low": 0.5312, "v_high": 0.5771}
    assert cell("interval", row) == ("0.554 [0.531,\u00a00.577]", "0.5544")
    assert cell("interval", row | {"v_low": -0.5}, digits=1)[0] == "0.6 [−0.5,\u00a00.6]"
    assert cell("interval", row | {"v_low": math.nan})[0] == "0.554"
    assert cell("interval", {"v": 0.5})[0] == "0.500"
    assert cell("interval", {"v": math.nan, "v_low": 0.1, "v_high": 0.2})[0] == "undefined"


def test_marks_and_headings():
    columns = (
        Column("m", "Method"),
        Column("v", "IoU", "number", better="higher", note="what it is"),
    )
    rows = [
        {"m": "cam", "v": 1, "reference": True},
        {"m": "edges", "v": 0, "trivial": True},
        {"m": "x", "v": 0},
    ]
    found = page_table(Table("t", "T", columns, rows))
    assert [row.marks for row in found.rows] == [("reference",), ("no network",), ()]
    assert [(h.text, h.numeric, h.better, h.note) for h in found.headings] == [
        ("Method", False, "", ""),
        ("IoU", True, "higher", "what it is"),
    ]


def test_long_tables_say_what_is_left_out():
    rows = [{"v": i} for i in range(730)]
    found = page_table(Table("t", "T", (Column("v", "V", "count"),), rows))
    assert (len(found.rows), found.left_out) == (500, 230)
