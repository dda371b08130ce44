"""What an inquiry says that it answers is what it answers."""

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
