"""What an inquiry says that it answers is what it answers."""

from dataclasses import replace

import pytest
import torch

from saliscope.metrics import INQUIRIES
from saliscope.metrics.panel_answers import ASKERS


def test_each_inquiry_has_its_function():
    assert list(ASKERS) == list(INQUIRIES)


@pytest.mark.parametrize("name", INQUIRIES)
def test_the_answers_are_the_scores_of_the_inquiry(nets, panel_of, name):
    """Metric and protocol are written where the inquiry is named, and where it is asked."""
    inquiry = INQUIRIES[name]
    panel = panel_of(nets.gap("inplace"), "cpu")
    with torch.no_grad():
        every = inquiry.ask(panel, frozenset(inquiry.metrics), 0)
        one = inquiry.ask(panel, frozenset(inquiry.metrics[:1]), 0)
    assert set(every.values) == set(inquiry.combos)
    assert set(one.values) == set(inquiry.combos[:1])
    for combo, values in every.values.items():
        assert (values.dtype, values.shape) == (torch.float64, (2, 3))
        assert values.isfinite().any(), combo
    assert set(every.curves) <= set(inquiry.metrics)


@pytest.mark.parametrize(
    ("name", "metric"), [(n, m) for n, i in INQUIRIES.items() for m in i.metrics]
)
def test_a_score_asked_for_alone_is_that_of_all_together(nets, panel_of, name, metric):
    inquiry = INQUIRIES[name]
    panel = panel_of(nets.gap("inplace"), "cpu")
    with torch.no_grad():
        every = inquiry.ask(panel, frozenset(inquiry.metrics), 0)
        alone = inquiry.ask(panel, frozenset({metric}), 0)
    ((combo, values),) = alone.values.items()
    torch.testing.assert_close(values, every.values[combo], equal_nan=True)


def test_only_coherency_explains_what_was_kept(nets, panel_of):
    """It may cost as much as all maps did."""
    panel = panel_of(nets.gap("inplace"), "cpu")

    def never(*args):
        raise AssertionError("a method was asked")

    cheap = set(INQUIRIES["kept"].metrics) - {"coherency", "adcc"}
    with torch.no_grad():
        INQUIRIES["kept"].ask(replace(panel, explain=never), frozenset(cheap), 0)
        with pytest.raises(AssertionError, match=r"a method was asked"):
            INQUIRIES["kept"].ask(replace(panel, explain=never), frozenset({"adcc"}), 0)
