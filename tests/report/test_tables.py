import io
import math

import polars as pl
import pytest

from saliscope.report.sections import Column, Table
from saliscope.report.tables import (
    best_rows,
    cell_text,
    file_name,
    table_csv,
    table_latex,
    table_markdown,
    table_parquet,
)

TABLE = Table(
    "main",
    "Methods by mean IoU (50 % of a_b)",
    (
        Column("method", "method"),
        Column("value", "mean IoU", "interval", better="higher"),
        Column("n", "images", "count"),
        Column("effect", "effect", "number", 2),
        Column("p", "p (Holm)", "p"),
        Column("same", "identical", "flag"),
    ),
    (
        {"method": "cam", "value": 0.5541, "value_low": 0.531, "value_high": 0.5774, "n": 8580, "effect": None,
         "p": None, "same": None, "reference": True, "trivial": False, "extra": 1},
        {"method": "grad_cam|x", "value": -0.0, "value_low": -0.25, "value_high": 0.1, "n": 12, "effect": -0.456,
         "p": 0.0004, "same": True, "trivial": False, "extra": 2.5},
        {"method": "full-image box", "value": math.nan, "value_low": math.nan, "value_high": math.nan, "n": 0, "effect": math.nan,
         "p": 0.0312, "same": False, "trivial": True},
    ),
    "Grey rows: ±0.01 & more.",
)  # fmt: skip

MARKDOWN = """\
**Methods by mean IoU (50 % of a\\_b)**

| method | mean IoU | images | effect | p (Holm) | identical |
| --- | ---: | ---: | ---: | ---: | --- |
| cam (reference) | 0.554 [0.531, 0.577] | 8,580 | – | – | – |
| grad\\_cam\\|x | 0.000 [−0.250, 0.100] | 12 | −0.46 | \\< 0.001 | yes |
| *full-image box* | undefined | 0 | undefined | 0.031 | no |

Grey rows: ±0.01 & more.
"""

LATEX = r"""% needs \usepackage{booktabs}
\begin{table}
\centering
\caption{Methods by mean IoU (50 \% of a\_b). Grey rows: $\pm$0.01 \& more.}
\label{tab:main}
\begin{tabular}{lr@{ }lrrrl}
\toprule
method & \multicolumn{2}{c}{mean IoU} & images & effect & p (Holm) & identical \\
\midrule
cam & 0.554 & [0.531, 0.577] & 8,580 & -- & -- & -- \\
grad\_cam$|$x & 0.000 & [$-$0.250, 0.100] & 12 & $-$0.46 & $<$ 0.001 & yes \\
\midrule
full-image box & undefined & & 0 & undefined & 0.031 & no \\
\bottomrule
\end{tabular}
\end{table}
"""

CSV = """\
method,value,value_low,value_high,n,effect,p,same,reference,trivial,extra
cam,0.5541,0.531,0.5774,8580,,,,true,false,1.0
grad_cam|x,-0.0,-0.25,0.1,12,-0.456,0.0004,true,,false,2.5
full-image box,NaN,NaN,NaN,0,NaN,0.0312,false,,true,
"""


def test_markdown():
    assert table_markdown(TABLE).decode() == MARKDOWN


def test_latex():
    assert table_latex(TABLE).decode() == LATEX


def test_csv_holds_all_values():
    assert table_csv(TABLE).decode() == CSV


def test_parquet_holds_the_same_typed():
    frame = pl.read_parquet(io.BytesIO(table_parquet(TABLE)))
    assert frame.columns == CSV.splitlines()[0].split(",")
    assert frame.schema["n"] == pl.Int64
    assert frame.schema["same"] == pl.Boolean
    assert frame["value"].is_nan().to_list() == [False, False, True]
    assert frame["p"].to_list() == [None, 0.0004, 0.0312]


def test_columns_of_nothing_keep_their_place():
    table = Table(
        "t", "T", (Column("a", "a"), Column("b", "b", "number")), ({"a": None, "b": None},)
    )
    assert table_csv(table).decode() == "a,b\n,\n"


def test_a_long_latex_table_goes_over_pages():
    table = Table("long", "Long", (Column("a", "a"),), tuple({"a": str(i)} for i in range(46)))
    text = table_latex(table).decode()
    assert text.startswith(
        "% needs \\usepackage{booktabs} and \\usepackage{longtable}\n\\begin{longtable}{l}\n\\caption{Long.}\n"
    )
    assert "\\endhead\n0 \\\\\n" in text
    assert text.endswith("45 \\\\\n\\bottomrule\n\\end{longtable}\n")


@pytest.mark.parametrize(
    ("letters", "expected"),
    [("a\\b", r"a\textbackslash{}b"), ("{$#^~}", r"\{\$\#\textasciicircum{}\textasciitilde{}\}"), ("“x” – y…", r"``x'' -- y\ldots{}"), ("7 × 7 ≥ 1", r"7 $\times$ 7 $\geq$ 1")],
)  # fmt: skip
def test_latex_escapes(letters, expected):
    table = Table("t", "T", (Column("a", "a"),), ({"a": letters},))
    assert f"\n{expected} \\\\\n" in table_latex(table).decode()


def test_an_interval_without_ends_is_its_value():
    assert (
        cell_text(Column("v", "v", "interval"), {"v": 0.25, "v_low": math.nan, "v_high": math.nan})
        == "0.250"
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [("boxes-yang2025:threshold=0.1", "boxes-yang2025-threshold-0.1"), ("../up", "up"), ("mask:Katze ä", "mask-Katze"), ("", "unnamed")],
)  # fmt: skip
def test_file_names(text, name):
    assert file_name(text) == name


BEST = Table(
    "best",
    "Best",
    (
        Column("method", "method"),
        Column("low", "low", "interval", better="lower", best=True),
        Column("high", "high", "number", 2, better="higher", best=True),
        Column("plain", "plain", "number", better="higher"),
    ),
    (
        {"method": "a", "low": 0.2, "low_low": 0.1, "low_high": 0.3, "high": 0.5, "plain": 1.0},
        {"method": "b", "low": math.nan, "high": 0.7, "plain": 2.0},
        {"method": "c", "low": 0.4, "high": 0.7, "plain": None, "trivial": True},
    ),
)


def test_the_best_of_a_column_is_marked_in_its_direction():
    found = [best_rows(column, BEST.rows) for column in BEST.columns]
    assert found == [frozenset(), {0}, {1, 2}, frozenset()]
    assert best_rows(BEST.columns[1], BEST.rows[:2]) == frozenset(), "one alone is not the best"


def test_files_mark_the_best_too():
    text = table_markdown(BEST).decode()
    assert "| a | **0.200 [0.100, 0.300]** | 0.50 | 1.000 |" in text
    assert "| b | undefined | **0.70** | 2.000 |" in text
    assert r"a & \textbf{0.200} & [0.100, 0.300] & 0.50 & 1.000" in table_latex(BEST).decode()
    assert "0.2,0.1,0.3,0.5" in table_csv(BEST).decode()
