import io

import matplotlib as mpl
import numpy as np
import pytest

from saliscope.metrics import linkage_of
from saliscope.report.charts.area import legend_height, short
from saliscope.report.charts.bands import Band, Panel, band_panels
from saliscope.report.charts.classes import Dot, class_dots, outside_chart
from saliscope.report.charts.curves import Curve, Mark, threshold_curves
from saliscope.report.charts.dots import Series, grouped_dots, layer_lines, paired_dots
from saliscope.report.charts.forest import Entry, forest
from saliscope.report.charts.matrix import likeness_matrix
from saliscope.report.charts.style import looks_of, own_settings
from saliscope.report.page import figure_bytes, measured
from saliscope.stats import Interval

LONG = [f"grad-cam@features.denseblock{i}.denselayer{i}.conv2" for i in range(1, 15)]
METHODS = [("cam", "cam", False), *((n, n, False) for n in LONG)] + [
    (s, s, True) for s in ("random", "centre", "edges", "shuffled", "full-box", "centre-box")
]
LOOKS = looks_of(METHODS)


def interval(value):
    return Interval(value, value - 0.05, value + 0.04, 10)


def texts(figure):
    return [t for axes in figure.axes for t in axes.texts if t.get_text()]


def words(figure):
    return [t.get_text() for t in texts(figure)]


def shown_labels(axis):
    low, high = sorted(axis.get_view_interval())
    labels = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [label for place, label in labels if low <= place <= high and label.get_text()]


def assert_readable(figure):
    """Every text is 8 points or more, lies on the page, and touches no other."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    ticks = [
        t
        for axes in figure.axes[1:]
        for axis in (axes.xaxis, axes.yaxis)
        for t in shown_labels(axis)
    ]
    found = [(t, t.get_window_extent(renderer)) for t in texts(figure)]
    for text, box in [*found, *((t, t.get_window_extent(renderer)) for t in ticks)]:
        assert text.get_fontsize() >= 8, text.get_text()
        assert box.x0 >= -1, text.get_text()
        assert box.x1 <= figure.bbox.x1 + 1, text.get_text()
        assert box.y0 >= -1, text.get_text()
        assert box.y1 <= figure.bbox.y1 + 1, text.get_text()
    for i, (one, a) in enumerate(found):
        for two, b in found[:i]:
            apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 2 or b.y1 <= a.y0 + 2
            assert apart, (one.get_text(), two.get_text())


def entries(methods=METHODS):
    return [
        Entry(n, LOOKS[n], interval(0.1 + 0.03 * i), None if not i else interval(0.02 * i - 0.2))
        for i, (n, _, _) in enumerate(methods)
    ]


CURVES = [
    Curve(n, LOOKS[n], np.arange(50) / 50, 0.5 + 0.3 * np.sin(np.arange(50) / 12 + i), 3 + i, 5 + i)
    for i, (n, _, _) in enumerate(METHODS[:-2])
]
CURVES += [
    Curve(n, LOOKS[n], np.empty(0), np.array([v]))
    for n, v in (("full-box", 0.53), ("centre-box", 0.54))
]
MARKS = [
    Mark(0.05, "yang2025"),
    Mark(0.06, "yang2025:threshold=0.06"),
    Mark(0.98, "own:threshold=0.98"),
]
SERIES = [
    Series(n, LOOKS[n], [interval(0.02 * i + 0.1 * g) for g in range(5)])
    for i, (n, _, _) in enumerate(METHODS)
]
PAIRS = [
    Series(n, LOOKS[n], [interval(0.4), interval(0.02 * i)]) for i, (n, _, _) in enumerate(METHODS)
]
GROUPS = [f"{a} %\nn = 1,{a}00" for a in range(10, 60, 10)]
DOTS = [
    Dot(f"class of a very long name, number {i}", i / 100, i / 100 - 0.1, i / 100 + 0.1)
    for i in range(60)
]
STEPS = np.linspace(0, 1, 9)
PANELS = [
    Panel(
        f"Deletion of kind {p}: the hottest pixels go first", "share of the pixels removed",
        [Band(n, LOOKS[n], STEPS, [interval(0.9 - 0.04 * i * s) for s in STEPS]) for i, (n, _, _) in enumerate(METHODS)],
    )
    for p in range(3)
]  # fmt: skip


def likeness(count):
    """A table of correlations (count, count), neighbours alike."""
    places = np.arange(count)
    return 1 - np.abs(places[:, None] - places) / count * 1.2


def matrix(count, *, tree=True):
    names = [n for n, _, _ in METHODS[:count]]
    table = likeness(count)
    return likeness_matrix(
        "Likeness", names, [t for _, _, t in METHODS[:count]], table,
        tree=linkage_of(table) if tree else None, note="256 images, all maps on the smallest grid, 7 × 7",
    )  # fmt: skip


FIGURES = {
    "bands": lambda: band_panels("Deletion and insertion", PANELS),
    "one panel": lambda: band_panels("Deletion", PANELS[:1]),
    "matrix": lambda: matrix(len(METHODS)),
    "small matrix": lambda: matrix(6),
    "matrix without a tree": lambda: matrix(9, tree=False),
    "forest": lambda: forest("Mean IoU", entries(), score="mean IoU (yang2025)", against=LONG[3], line=(0.6, "centred box"), margin=0.01),
    "forest of one": lambda: forest("Mean IoU", entries()[:1], score="mean IoU"),
    "curves": lambda: threshold_curves("Curves", CURVES, MARKS, score="mean IoU", axis="threshold"),
    "sizes": lambda: grouped_dots("Sizes", GROUPS, SERIES, score="mean IoU", axis="share of the picture"),
    "pairs": lambda: paired_dots("Right and wrong", PAIRS, names=("right", "wrong"), score="mean IoU"),
    "layers": lambda: layer_lines("Layers", LONG, [("IoU", [Series("grad-cam", LOOKS["cam"], [interval(0.1 * i) for i in range(14)])])] * 3),
    "few layers": lambda: layer_lines("Layers", ["layer1", "layer2"], [("IoU", [Series("cam", LOOKS["cam"], [interval(0.1), None])])]),
    "classes": lambda: class_dots("Classes", DOTS, score="mean IoU", overall=0.3, colour="#0072b2"),
    "outside": lambda: outside_chart(
        "Outside", [f"class {i}" for i in range(30)], np.linspace(0.2, 0.8, 30), np.linspace(0.1, 0.9, 30) ** 2, [i % 3 == 0 for i in range(30)],
        colour="#0072b2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_charts_are_readable_with_fifteen_methods_of_long_names(name):
    assert_readable(FIGURES[name]())


@pytest.mark.parametrize("name", ["forest", "curves", "classes", "bands", "matrix"])
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_chart_gives_the_same_bytes(name, kind):
    one, two = (figure_bytes(FIGURES[name](), kind, dpi=40) for _ in range(2))
    assert one == two


def test_methods_keep_their_looks_and_differ():
    pairs = [(look.colour, look.marker) for look in LOOKS.values() if not look.trivial]
    assert len(set(pairs)) == 15
    assert LOOKS["cam"].colour == "#0072b2"
    assert LOOKS[LONG[0]].colour == "#009e73"
    assert all(look.face == "white" for look in LOOKS.values() if look.trivial)
    assert looks_of(METHODS) == LOOKS


def test_a_forest_shows_what_it_is_given():
    figure = FIGURES["forest"]()
    left, right = figure.axes[1:3]
    assert "0.100 [0.050, 0.140]" in words(figure)
    assert "centred box" in words(figure)
    drawn = [line for line in left.lines if len(line.get_xdata()) == 1]
    assert [float(line.get_xdata()[0]) for line in drawn] == pytest.approx(
        [e.estimate.estimate for e in entries()]
    )
    assert [float(line.get_ydata()[0]) for line in drawn] == list(range(21))
    assert right.patches[0].get_x() == -0.01
    assert len([line for line in right.lines if len(line.get_xdata()) == 1]) == 20


def test_undefined_values_are_written_not_drawn():
    nothing = Interval(np.nan, np.nan, np.nan, 0, 4)
    figure = forest(
        "F", [Entry("cam", LOOKS["cam"], nothing), *entries()[1:2]], score="s", against="cam"
    )
    assert "undefined" in words(figure)
    assert len([line for line in figure.axes[1].lines if len(line.get_xdata()) == 1]) == 1


def test_curves_mark_their_thresholds():
    figure = FIGURES["curves"]()
    axes = figure.axes[1]
    marks = sorted(float(line.get_xdata()[0]) for line in axes.lines if line.get_linewidth() == 0.9)
    assert marks == [0.05, 0.06, 0.98]
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    first = next(line for line in points if line.get_markerfacecolor() == LOOKS["cam"].colour)
    assert float(first.get_xdata()[0]) == 5 / 50
    assert float(first.get_ydata()[0]) == pytest.approx(CURVES[0].means[5])


def test_bands_lie_around_their_means():
    figure = FIGURES["one panel"]()
    axes = figure.axes[1]
    (own,) = [line for line in axes.lines if line.get_color() == LOOKS["cam"].colour]
    np.testing.assert_allclose(own.get_ydata(), 0.9)
    heights = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
    assert len(heights) == len(METHODS)
    assert any((h.min(), h.max()) == pytest.approx((0.85, 0.94)) for h in heights)


def test_a_matrix_names_its_rows_and_numbers_its_cells():
    figure = FIGURES["small matrix"]()
    said = words(figure)
    assert "cam  1" in said
    assert said.count("1.00") == 6
    assert "−.00" not in said
    tree = figure.axes[2]
    assert len(tree.lines) == 5
    assert max(float(np.max(line.get_xdata())) for line in tree.lines) == pytest.approx(linkage_of(likeness(6))[-1, 2])  # fmt: skip
    assert "1.00" not in words(FIGURES["matrix"]()), "too small for numbers"


def test_what_cannot_be_compared_has_no_number():
    table = likeness(3)
    table[0, 1] = table[1, 0] = np.nan
    table[0, 2] = table[2, 0] = -0.004
    said = words(likeness_matrix("L", ["a", "b", "c"], [False] * 3, table, note=""))
    assert said.count("–") == 2
    assert said.count(".00") == 2


def test_many_classes_show_their_ends():
    figure = FIGURES["classes"]()
    assert "16 classes in between" in words(figure)
    axes = figure.axes[1]
    means = [float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]
    assert means == pytest.approx([i / 100 for i in [*range(22), *range(38, 60)]])


def test_layers_that_do_not_fit_are_numbered():
    said = words(FIGURES["layers"]())
    assert "14" in said
    assert any("14 features" in word or "14 grad-cam" in word for word in said)
    assert "layer2" in words(FIGURES["few layers"]())


def test_names_are_cut_in_the_middle():
    assert short("cam", 1.0) == "cam"
    cut = short(LONG[12], 2.0)
    assert cut.startswith("grad-cam@…")
    assert cut.endswith("13.conv2")
    assert measured(cut, 8.5) <= 2.0
    assert measured(short("features.denseblock13.conv2", 1.0), 8.5) <= 1.0
    assert legend_height({}, 3.0) == 0.0


def test_the_settings_of_the_user_change_nothing(monkeypatch):
    def picture():
        buffer = io.BytesIO(figure_bytes(FIGURES["few layers"](), "png", dpi=40))
        return buffer.getvalue()

    before = picture()
    with mpl.rc_context(
        {"lines.linewidth": 9, "axes.facecolor": "red", "xtick.direction": "in", "axes.grid": True}
    ):
        assert mpl.rcParams["lines.linewidth"] == 9
        with own_settings():
            assert mpl.rcParams["lines.linewidth"] == mpl.rcParamsDefault["lines.linewidth"]
        assert mpl.rcParams["lines.linewidth"] == 9
        assert picture() == before
