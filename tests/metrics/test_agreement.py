"""Agreement against published numbers, twins in loops, and scikit-learn."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.cluster.hierarchy import fcluster

from saliscope.errors import DataError, OptionError
from saliscope.metrics.agreement import (
    AGREEMENT_METRICS,
    krippendorff_alpha,
    linkage_of,
    pairwise,
    rank_methods,
    seed_noise,
    separation,
    top_overlap,
)

X = math.nan
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units, missing data.
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3],
    [X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X],
]


def alpha_by_pairs(table, level):
    """1 - D_o / D_e over all pairs of ratings, one by one."""
    units = [[v for v in column if not math.isnan(v)] for column in np.asarray(table, float).T]
    units = [u for u in units if len(u) > 1]
    everything = sorted(v for u in units for v in u)

    def squared(a, b):
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        low, high = min(a, b), max(a, b)
        between = sum(low <= v <= high for v in everything)
        return (between - (everything.count(a) + everything.count(b)) / 2) ** 2 if a != b else 0.0

    n = len(everything)
    observed = sum(
        squared(a, b) / (len(u) - 1) for u in units for a, b in itertools.permutations(u, 2)
    )
    expected = sum(squared(a, b) for a, b in itertools.permutations(everything, 2)) / (n - 1)
    return 1 - observed / expected


@pytest.mark.parametrize(
    ("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_the_published_example(level, value):
    assert krippendorff_alpha(PUBLISHED, level) == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(3))
def test_alpha_equals_its_twin(level, seed):
    r = np.random.default_rng(seed)
    table = r.integers(0, 5, (4, 9)).astype(float)
    table[r.random(table.shape) < 0.2] = X
    assert krippendorff_alpha(table, level) == pytest.approx(
        alpha_by_pairs(table, level), abs=1e-10
    )


def test_alpha_at_its_ends():
    assert krippendorff_alpha([[1, 2, 3], [1, 2, 3]]) == 1
    assert krippendorff_alpha([[1, 2], [2, 1]], "nominal") == pytest.approx(-0.5)
    r = np.random.default_rng(0)
    assert abs(krippendorff_alpha(r.random((6, 300)), "interval")) < 0.05
    monotone = np.array([[1, 2, 3, 4.0], [1, 2, 3, 4.0], [1, 2, 4, 3.0]])
    assert krippendorff_alpha(monotone**5, "ordinal") == pytest.approx(
        krippendorff_alpha(monotone, "ordinal")
    )
    for nothing in ([[1, 1], [1, 1]], [[1, X], [X, 2]], [[1, 2, 3]], np.empty((0, 3))):
        assert math.isnan(krippendorff_alpha(nothing))


def overlap_by_fractions(one, other, share):
    """Spread the last places over the tied cells, cell by cell."""
    weights = []
    for values in (one.ravel().tolist(), other.ravel().tolist()):
        left, found = share * len(values), {}
        for value in sorted(set(values), reverse=True):
            tied = [i for i, v in enumerate(values) if v == value]
            take = min(left, len(tied))
            found.update(dict.fromkeys(tied, take / len(tied)))
            left -= take
        weights.append(found)
    cells = range(one.size)
    a, b = weights
    return sum(min(a[i], b[i]) for i in cells) / sum(max(a[i], b[i]) for i in cells)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.77])
def test_top_overlap_equals_its_twin(share):
    r = np.random.default_rng(1)
    one = r.integers(0, 6, (6, 7)).astype(np.float32)
    other = one + r.integers(-2, 3, (6, 7))
    found = top_overlap(one, other, share=share)
    assert found.value == pytest.approx(overlap_by_fractions(one, other, share), abs=1e-9)
    assert 0 <= found.ties <= 1
    assert top_overlap(other, one, share=share) == found


def test_known_overlaps():
    one = np.arange(100.0).reshape(10, 10)
    assert top_overlap(one, one**3) == (top_overlap(one, one))
    assert top_overlap(one, one).value == 1
    assert top_overlap(one, one).ties == 0
    assert top_overlap(one, -one).value == 0
    assert top_overlap(one, np.roll(one.ravel(), 5).reshape(10, 10)).value == pytest.approx(5 / 15)
    cut = np.maximum(
        one - 94, 0
    )  # a ReLU map: five cells, and 95 zeros that share the other five places
    found = top_overlap(cut, one)
    assert found.ties == pytest.approx(0.5)
    assert found.value == pytest.approx((5 + 5 * 5 / 95) / (10 + 5 - 5 * 5 / 95))
    assert top_overlap(cut, cut).value == 1
    r = np.random.default_rng(0)
    assert top_overlap(
        r.random((300, 300)), r.random((300, 300)), share=0.2
    ).value == pytest.approx(0.2 / 1.8, abs=0.01)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.full((4, 4), np.inf)]
)
def test_a_map_that_says_nothing_has_no_top(bad):
    found = top_overlap(bad, np.arange(16.0).reshape(4, 4))
    assert math.isnan(found.value)
    assert math.isnan(found.ties)


def test_pairwise_is_symmetric_with_gaps_for_maps_that_say_nothing():
    r = np.random.default_rng(0)
    maps = [r.normal(size=(5, 6)) for _ in range(2)] + [np.ones((5, 6))]
    table = pairwise(maps)
    expected = stats.spearmanr(maps[0].ravel(), maps[1].ravel()).statistic
    assert table[0, 1] == table[1, 0] == pytest.approx(expected)
    assert table[0, 0] == table[1, 1] == 1
    assert np.isnan(table[2]).all()
    assert np.isnan(table[:, 2]).all()
    top = pairwise(maps, "top", share=0.3)
    assert top[0, 1] == top_overlap(maps[0], maps[1], share=0.3).value
    assert top[0, 0] == 1


def test_metrics_rank_methods_by_their_direction():
    found = rank_methods([[0.1, 0.9, 0.5], [3, 1, X], [2, 2, 0]], ["higher", "lower", "higher"])
    assert found[0].tolist() == [3, 1, 2]
    assert found[1, :2].tolist() == [2, 1]
    assert math.isnan(found[1, 2])
    assert found[2].tolist() == [1.5, 1.5, 3]
    agreed = rank_methods([[1, 2, 3], [0.3, 0.2, 0.1]], ["higher", "lower"])
    assert krippendorff_alpha(agreed) == 1


def test_the_tree_joins_what_is_alike_first():
    table = np.array([[1, 0.9, 0.1], [0.9, 1, 0.3], [0.1, 0.3, 1]])
    tree = linkage_of(table)
    assert tree[0].tolist() == pytest.approx([0, 1, 0.1, 2])
    assert tree[1, 2] == pytest.approx((0.9 + 0.7) / 2)
    assert len(set(fcluster(tree, 0.5, "distance")[:2])) == 1
    assert linkage_of(np.ones((2, 2)))[0, 2] == 0
    assert linkage_of(-np.ones((2, 2)) + 2 * np.eye(2))[0, 2] == 2


def test_separation_equals_its_twin_and_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    r = np.random.default_rng(0)
    good, bad = r.integers(0, 6, 40).astype(float), r.integers(0, 5, 40).astype(float)
    found = separation(good, bad, "higher")
    assert found.wins == pytest.approx(
        np.mean([1.0 if g > b else 0.5 if g == b else 0.0 for g, b in zip(good, bad, strict=True)])
    )
    theirs = metrics.roc_auc_score([1] * 40 + [0] * 40, [*good, *bad])
    assert found.auroc == pytest.approx(theirs, abs=1e-12)
    turned = separation(good, bad, "lower")
    assert (turned.wins, turned.auroc) == (pytest.approx(1 - found.wins), pytest.approx(1 - theirs))


def test_pairs_and_pooled_scores_part_ways():
    base = np.arange(10.0) * 10
    found = separation(base + 1, base, "higher")
    assert found.wins == 1
    assert found.auroc < 0.6
    blind = separation(base, base, "lower")
    assert (blind.wins, blind.auroc) == (0.5, 0.5)


def test_undefined_pairs_count_for_neither_side():
    found = separation([1, X, 3, 5], [0, 0, X, 9], "higher")
    assert (found.wins, found.n, found.undefined) == (0.5, 2, 2)
    none = separation([X], [1], "higher")
    assert math.isnan(none.wins)
    assert math.isnan(none.auroc)
    assert (none.n, none.undefined) == (0, 1)


def test_seed_noise():
    table = np.array([[1.0, 2.0, 3.0], [1.2, 2.0, 3.0], [1.1, 2.0, 3.0]])
    variances = [np.var(table[:, k], ddof=1) for k in range(3)]
    expected = math.sqrt(sum(variances) / 3) / np.std(table.mean(0), ddof=1)
    assert seed_noise(table) == pytest.approx(expected)
    assert seed_noise(np.hstack([table, [[X], [1], [1]]])) == pytest.approx(expected)
    assert seed_noise(np.repeat([[1.0, 2.0]], 3, axis=0)) == 0
    for nothing in ([[1.0, 2.0]], [[1.0], [2.0]], [[1.0, 1.0], [1.0, 1.0]], [[X, X], [1.0, 2.0]]):
        assert math.isnan(seed_noise(nothing))


def test_what_cannot_be_compared_is_refused():
    one = np.arange(12.0).reshape(3, 4)
    for share in (0, 1, math.nan):
        with pytest.raises(OptionError, match=r"share is a share of the cells, in \(0, 1\)"):
            top_overlap(one, one, share=share)
    with pytest.raises(
        DataError, match=r"one shape \(H, W\) are compared; got \(3, 4\) and \(4, 3\)"
    ):
        top_overlap(one, one.T)
    with pytest.raises(
        OptionError, match=r'level "ordinary" of alpha is unknown; nearest: "ordinal"'
    ):
        krippendorff_alpha(PUBLISHED, "ordinary")
    with pytest.raises(
        DataError, match=r"ratings are \(raters, units\), NaN where missing; got \(3,\)"
    ):
        krippendorff_alpha([1, 2, 3])
    with pytest.raises(
        DataError, match=r"with a direction for each metric; got \(3, 4\) and 1 directions"
    ):
        rank_methods(one, ["higher"])
    with pytest.raises(OptionError, match=r'direction "up" is unknown'):
        rank_methods(one[:1], ["up"])
    with pytest.raises(
        DataError, match=r"correlations of methods are \(m, m\), m at least 2; got \(1, 1\)"
    ):
        linkage_of(np.ones((1, 1)))
    for bad in (np.array([[1, X], [X, 1]]), np.array([[1, 0.2], [0.3, 1]])):
        with pytest.raises(DataError, match=r"are finite and symmetric; leave out the methods"):
            linkage_of(bad)
    with pytest.raises(DataError, match=r"of the same images, \(n,\) each; got \(2,\) and \(3,\)"):
        separation([1, 2], [1, 2, 3], "higher")
    with pytest.raises(DataError, match=r"scores are \(seeds, methods\); got \(2,\)"):
        seed_noise([1, 2])


def test_rows_call_their_functions():
    one = np.arange(12.0).reshape(3, 4)
    values = {
        "top-overlap": (one, -one),
        "alpha": (PUBLISHED,),
        "separation": ([1, 2], [0, 3], "higher"),
        "separation-auroc": ([1, 2], [0, 3], "higher"),
        "seed-noise": ([[1.0, 2.0], [1.5, 2.0]],),
    }
    assert set(values) == set(AGREEMENT_METRICS)
    expected = [0, 0.815, 0.5, 0.5, math.sqrt(0.0625) / np.std([1.25, 2], ddof=1)]
    for (name, given), value in zip(values.items(), expected, strict=True):
        assert AGREEMENT_METRICS[name](*given) == pytest.approx(value, abs=1e-3)
        low, high = AGREEMENT_METRICS[name].bounds
        assert low <= AGREEMENT_METRICS[name](*given) <= high
