import numpy as np
import pytest

from saliscope.errors import DataError
from saliscope.stats import mean_interval, paired_difference, resample_means, unit_means


def test_infinite_scores_are_named():
    with pytest.raises(DataError, match="row 2 is infinite; a score that is undefined must be NaN"):
        mean_interval([1.0, np.nan, -np.inf])


@pytest.mark.parametrize("values", [3.0, [[1.0, 2.0]]])
def test_other_shapes_are_refused(values):
    with pytest.raises(DataError, match="scores have 1 axes, images first; got an array of"):
        mean_interval(values)


def test_pairs_belong_to_the_same_images():
    with pytest.raises(DataError, match="belong to the same images; got 2 and 3 of them"):
        paired_difference([1, 2], [1, 2, 3])


@pytest.mark.parametrize("what", ["strata", "clusters"])
def test_each_row_has_one_label(what):
    with pytest.raises(
        DataError, match=rf"{what} need one label a row: 3 rows, labels of shape \(2,\)"
    ):
        mean_interval([1.0, 2.0, 3.0], **{what: ["a", "b"]})


def test_labels_of_mixed_kinds_are_text():
    given = mean_interval([1.0, 2.0, 9.0], strata=np.array(["a", "a", 7], object))
    assert (given.low, given.high) == (pytest.approx(11 / 3), pytest.approx(13 / 3))


def test_the_mean_of_each_cluster():
    values = [1.0, 3.0, np.nan, np.nan, 5.0]
    found = unit_means(values, ["b", "b", "b", "c", "a"])
    assert np.array_equal(found, [5.0, 2.0, np.nan], equal_nan=True)


def test_columns_with_gaps_give_what_each_gives_alone():
    table = np.random.default_rng(0).normal(size=(30, 4))
    table[3, 1] = table[8, 1] = table[3, 2] = table[8, 2] = np.nan
    table[:, 3] = np.nan
    strata = np.arange(30) % 3
    found = resample_means(table, strata=strata, replicates=300, seed=4)
    for one, column in zip(found, table.T, strict=True):
        alone = mean_interval(column, strata=strata, replicates=300, seed=4)
        assert one.interval().n == alone.n
        if alone.n:
            assert one.interval().low == pytest.approx(alone.low, rel=1e-12)
            assert one.interval().high == pytest.approx(alone.high, rel=1e-12)
    # The same gaps, the same draws: what two columns share drops out of their difference.
    pair = resample_means(np.column_stack([table[:, 0], table[:, 0] + 2]), replicates=200)
    assert pair[1].replicates - pair[0].replicates == pytest.approx(2)
