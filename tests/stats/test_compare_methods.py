import math

import numpy as np
import pytest

from saliscope.errors import DataError, OptionError
from saliscope.stats import (
    ENDPOINTS,
    Endpoint,
    compare_methods,
    find_endpoint,
    friedman,
    holm,
    mcnemar,
    mean_interval,
    paired_difference,
    wilson_interval,
)

DRAW = np.random.default_rng(0)
N = 120
CAM = DRAW.beta(4, 3, N)
SCORES = {
    "CAM": CAM,
    "Grad-CAM": CAM + DRAW.normal(0, 1e-9, N),
    "LayerCAM": CAM + DRAW.normal(0.003, 0.005, N),
    "edges": CAM - DRAW.normal(0.1, 0.1, N),
    "HiResCAM": CAM + DRAW.normal(0, 0.2, N),
}
STRATA = np.arange(N) % 4


@pytest.fixture(scope="module")
def found():
    return compare_methods(SCORES, "iou", reference="CAM", strata=STRATA, replicates=1000, seed=3)


def test_estimates_and_differences_are_those_of_their_own_functions(found):
    options = {"strata": STRATA, "replicates": 1000, "seed": 3}
    for row in found.rows:
        alone = mean_interval(SCORES[row.method], **options)
        assert row.estimate.low == pytest.approx(alone.low)
        assert row.estimate.high == pytest.approx(alone.high)
    for name in ("LayerCAM", "edges"):
        pair, alone = found.pair(name), paired_difference(SCORES[name], CAM, **options)
        assert pair.difference.low == pytest.approx(alone.interval.low)
        assert pair.pvalue == pytest.approx(alone.wilcoxon.pvalue)
        assert pair.effect == pytest.approx(alone.wilcoxon.effect)
        assert pair.test == "Wilcoxon signed-rank, normal"
        assert pair.largest == pytest.approx(np.abs(SCORES[name] - CAM).max())
    assert [r.method for r in found.rows] == list(SCORES)
    assert (found.reference, found.images, found.seed) == ("CAM", N, 3)


def test_holm_counts_only_what_was_tested(found):
    tested = ["LayerCAM", "edges", "HiResCAM"]
    expected = holm([found.pair(name).pvalue for name in tested])
    assert [found.pair(name).adjusted for name in tested] == pytest.approx(expected)
    assert found.corrected.rule == "Holm"
    assert math.isnan(found.pair("Grad-CAM").adjusted)


def test_identical_methods_are_named_and_not_tested(found):
    pair = found.pair("Grad-CAM")
    assert pair.identical
    assert pair.test == "none: identical"
    assert math.isnan(pair.pvalue)
    assert math.isnan(pair.effect)
    assert not pair.significant
    assert pair.sentence == (
        f"Grad-CAM and CAM are identical in mean IoU on 120 images (largest difference {pair.largest:.3g}, "
        "tolerance 1e-06): no test is needed."
    )
    strict = compare_methods(SCORES, "iou", reference="CAM", tolerance=0, replicates=100).pair(
        "Grad-CAM"
    )
    assert not strict.identical
    assert strict.pvalue < 1


def test_verdicts_and_their_sentences(found):
    small, worse = found.pair("LayerCAM"), found.pair("edges")
    assert small.significant
    assert small.equivalence.verdict == "within"
    assert small.equivalence.interval.level == pytest.approx(0.9)
    d = small.difference
    assert small.sentence == (
        f"LayerCAM's boxes overlap more than CAM's by {d.estimate:.3f} [{d.low:.3f}, {d.high:.3f}]; p (Holm) < 0.001; "
        "within the margin of 0.01: yes. LayerCAM is better, by too little to matter."
    )
    d = worse.difference
    assert d.estimate < 0
    assert worse.equivalence.verdict == "beyond"
    assert worse.sentence == (
        f"edges' boxes overlap less than CAM's by {-d.estimate:.3f} [{-d.high:.3f}, {-d.low:.3f}]; p (Holm) < 0.001; "
        "within the margin of 0.01: no. CAM is better."
    )
    unclear = found.pair("HiResCAM")
    assert not unclear.significant
    assert unclear.sentence.endswith(
        "within the margin of 0.01: not settled. No difference is shown; these images cannot say that there is none."
    )


def test_the_answer_comes_in_a_sentence(found):
    best = max(found.rows, key=lambda r: r.estimate.estimate)
    assert found.sentence == (
        f"Endpoint mean IoU: {best.method} has the highest, {best.estimate}, over 120 images. After Holm correction, "
        "worse than CAM: edges; better, by too little to matter, than CAM: LayerCAM; identical to CAM: Grad-CAM; "
        "not told apart from CAM: HiResCAM."
    )


def test_friedman_ranks_identical_methods_alike(found):
    assert found.friedman.ranks[0] == found.friedman.ranks[1]
    table = np.column_stack([CAM, CAM, *(SCORES[n] for n in ("LayerCAM", "edges", "HiResCAM"))])
    assert found.friedman == friedman(table)
    pair = compare_methods({"a": CAM, "b": CAM + 1}, "x", reference="a", replicates=100)
    assert pair.friedman is None


def test_no_difference_within_the_margin_is_said_so():
    draw = np.random.default_rng(8)
    given = {"A": CAM, "B": CAM + np.round(draw.normal(0, 0.01, N), 3)}
    pair = compare_methods(given, "iou", reference="A", replicates=500).pair("B")
    assert pair.equivalence.verdict == "within"
    assert pair.sentence.endswith(": yes. No difference is shown, and any is too small to matter.")


def test_the_mean_and_the_ranks_may_disagree():
    # Most images gain a little, a few lose much: the ranks rise, the mean does not.
    gap = np.where(np.arange(N) % 10 == 0, -0.5, 0.05)
    comparison = compare_methods({"A": CAM, "B": CAM + gap}, "iou", reference="A", replicates=500)
    pair = comparison.pair("B")
    assert pair.significant
    assert not pair.consistent
    assert pair.sentence.endswith("but the mean does not settle which is better.")
    assert "different, without saying which is better, from A: B" in comparison.sentence


def test_lower_can_be_better():
    endpoint = Endpoint("deletion", better="lower", primary=True)
    given = {"A": CAM, "B": CAM + 0.1}
    found = compare_methods(given, endpoint, reference="A", replicates=200)
    assert found.pair("B").sentence.startswith(
        "B's deletion is higher than A's by 0.100 [0.100, 0.100]"
    )
    assert found.pair("B").sentence.endswith("p (Holm) < 0.001. A is better.")
    assert found.pair("B").equivalence is None
    assert found.sentence.startswith("Primary endpoint deletion: A has the lowest, ")
    assert "worse than A: B." in found.sentence


def test_proportions_are_counted():
    draw = np.random.default_rng(1)
    first = (draw.random(200) < 0.7).astype(float)
    second = np.where(draw.random(200) < 0.3, 0.0, first)
    first[3], second[9] = np.nan, np.nan
    found = compare_methods({"A": second, "B": first}, "pointing", reference="A")
    pair, alone = found.pair("B"), mcnemar(first, second)
    assert (pair.test, pair.pvalue) == ("McNemar, exact", alone.pvalue)
    assert pair.difference == alone.difference
    assert (pair.undefined, pair.difference.n) == (2, 198)
    assert pair.effect == 1.0
    assert found.rows[1].estimate == wilson_interval(int(np.nansum(first)), 199, undefined=1)
    assert pair.sentence.startswith("B's maps point at the object more often than A's by 0.")
    assert pair.sentence.endswith("B is better. Left out, without both scores: 2 images.")
    assert pair.equivalence.interval.by == "newcombe"
    # Any name will do where all scores are right or wrong; a mean stays a mean.
    assert (
        compare_methods({"A": first, "B": second}, "x", reference="A").pair("B").test[:3] == "McN"
    )
    asked = compare_methods({"A": first, "B": second}, "iou", reference="A", replicates=100)
    assert asked.pair("B").test.startswith("Wilcoxon")
    with pytest.raises(
        DataError, match="pointing accuracy is a proportion: scores are 0, 1 or NaN"
    ):
        compare_methods({"A": first / 2, "B": second}, "pointing", reference="A")


def test_pairs_without_a_common_image_are_undefined():
    one, two = [0.1, math.nan], [math.nan, 0.4]
    found = compare_methods({"A": one, "B": two, "C": two}, "iou", reference="A", replicates=100)
    pair = found.pair("B")
    assert pair.sentence == "No image has a score for both B and A: nothing can be said."
    assert (pair.difference.n, pair.undefined, pair.identical) == (0, 2, False)
    assert (pair.test, pair.equivalence.verdict) == ("none: no common image", "undefined")
    assert math.isnan(pair.largest)
    assert "without a common image with A: B, C." in found.sentence
    empty = compare_methods(
        {"A": [math.nan], "B": [math.nan]}, "iou", reference="A", replicates=100
    )
    assert empty.sentence == "No method has a defined mean IoU."


def test_rows_of_one_image_are_one_unit():
    image = np.repeat(np.arange(6), 2)
    first, gap = np.zeros(12), np.array([1, -1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7.0])
    found = compare_methods(
        {"A": first, "B": first + gap, "C": first - 1}, "iou",
        reference="A", clusters=image, replicates=300,
    )  # fmt: skip
    assert found.pair("B").pvalue == 2 / 2**5  # five images on one side, one that cancels
    assert found.images == found.friedman.n == 6
    assert found.pair("B").difference.n == 12
    binary = compare_methods(
        {"A": first, "B": np.ones(12)}, "pointing", reference="A", clusters=image, replicates=100
    )
    assert binary.pair("B").test == "Wilcoxon signed-rank, exact"


def test_a_grid_that_was_searched_is_exploratory():
    found = compare_methods(SCORES, "iou", reference="CAM", label="exploratory", replicates=100)
    assert "p (Benjamini-Hochberg) < 0.001" in found.pair("edges").sentence
    assert "After Benjamini-Hochberg correction (exploratory), " in found.sentence


def test_the_table_is_flat(found):
    rows = found.table()
    assert [r["method"] for r in rows] == list(SCORES)
    assert len({tuple(r) for r in rows}) == 1
    assert rows[0]["difference"] is None
    assert rows[0]["p"] is None
    edges = rows[3]
    assert edges["difference"] == found.pair("edges").difference.estimate
    assert edges["p_adjusted"] == found.pair("edges").adjusted
    assert (edges["equivalence"], edges["margin"], edges["pairs"]) == ("beyond", 0.01, N)
    assert edges["sentence"] == found.pair("edges").sentence
    assert rows[1]["identical"] is True


def test_one_method_alone_has_an_estimate_and_no_pairs():
    found = compare_methods({"CAM": CAM}, "iou", reference="CAM", replicates=100)
    assert found.pairs == ()
    assert found.sentence.endswith("over 120 images.")


def test_wrong_calls_are_refused(found):
    with pytest.raises(OptionError, match='no scores of the reference "cam"; nearest: "CAM"'):
        compare_methods(SCORES, "iou", reference="cam")
    with pytest.raises(DataError, match=r"same images in the same order; got \{'A': 2, 'B': 3\}"):
        compare_methods({"A": [1, 2], "B": [1, 2, 3]}, "iou", reference="A")
    with pytest.raises(
        OptionError, match=r"alpha lies between 0 and 0\.5 and the tolerance is 0 or"
    ):
        compare_methods(SCORES, "iou", reference="CAM", tolerance=-1)
    with pytest.raises(OptionError, match='"edgs" was not compared with "CAM"; nearest: "edges"'):
        found.pair("edgs")
    with pytest.raises(OptionError, match="an endpoint has a name"):
        find_endpoint(" ")


def test_endpoints_by_name():
    assert find_endpoint("iou") is ENDPOINTS["iou"]
    assert find_endpoint("my score") == Endpoint("my score")
    assert Endpoint("x").words(-1) == "x is lower"
    assert all(e.margin and e.more and e.less for e in ENDPOINTS.values())
    assert Endpoint("x").is_better(0.1)
    assert not Endpoint("x", better="lower").is_better(0.1)


def test_equal_means_have_a_sentence_of_their_own():
    found = compare_methods(
        {"A": [0, 0, 0.5, 0.5], "B": [0.5, 0.5, 0, 0]}, "x", reference="A", replicates=200
    )
    assert found.pair("B").sentence.startswith(
        "B and A have the same x [-0.500, 0.500]; p (Holm) = 1.000."
    )
