"""What is asked about maps has the same answers on a GPU as on the CPU; run where there is one."""

import pytest
import torch

from saliscope.metrics import INQUIRIES, impute

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.usefixtures("exact"),
]
DEVICE = "cuda"


@pytest.mark.parametrize("name", INQUIRIES)
def test_answers_agree_with_the_cpu(nets, panel_of, name):
    inquiry, net = INQUIRIES[name], nets.gap("inplace")
    with torch.no_grad():
        here, there = (
            inquiry.ask(panel_of(net, device), frozenset(inquiry.metrics), 0)
            for device in ("cpu", DEVICE)
        )
    assert set(here.values) == set(there.values) == set(inquiry.combos)
    for combo, expected in here.values.items():
        assert expected.isfinite().any(), combo
        torch.testing.assert_close(
            there.values[combo].cpu(), expected, rtol=2e-3, atol=2e-3, equal_nan=True
        )
    for kind, (fractions, scores) in here.curves.items():
        torch.testing.assert_close(there.curves[kind][0].cpu(), fractions)
        torch.testing.assert_close(there.curves[kind][1].cpu(), scores, rtol=2e-3, atol=2e-3)


def test_what_is_removed_is_filled_in_alike():
    random = torch.Generator().manual_seed(3)
    images = torch.randn(20, 3, 61, 50, generator=random)
    gone = torch.rand(20, 61, 50, generator=random) < torch.linspace(0.05, 0.95, 20)[:, None, None]
    found = impute(images.to(DEVICE), gone.to(DEVICE)).cpu()
    torch.testing.assert_close(found, impute(images, gone), rtol=0, atol=2e-4)
