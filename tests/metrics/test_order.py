import pytest
import torch

from saliscope.errors import OptionError
from saliscope.metrics.order import removal_ranks, share_removed, step_counts, tied_share

IMAGES = torch.randn(3, 3, 10, 12, generator=torch.Generator().manual_seed(1))


def relu_maps():
    """Three maps of which 70 % are zero."""
    maps = torch.rand(2, 3, 120, generator=torch.Generator().manual_seed(2))
    low = maps.argsort(-1)[..., :84]
    return maps.scatter(-1, low, 0.0).reshape(2, 3, 10, 12)


@pytest.mark.parametrize("ties", ["random", "raster"])
def test_a_relu_map_removes_exactly_the_asked_share_at_every_step(ties):
    ranks = removal_ranks(relu_maps(), IMAGES, ties=ties)
    assert ranks.dtype == torch.int32
    for percent in range(0, 101, 5):
        removed = share_removed(ranks, percent / 100).flatten(-2).sum(-1)
        assert (removed == round(1.2 * percent)).all()
    # Every pixel has one place.
    assert (ranks.flatten(-2).sort(-1).values == torch.arange(120)).all()


def test_hotter_pixels_go_first_and_equals_by_reading_order():
    heat = torch.tensor([[[1.0, 5.0, 1.0], [-2.0, 1.0, 5.0]]])
    ranks = removal_ranks(heat, IMAGES[:1, :, :2, :3], ties="raster")
    assert ranks.tolist() == [[[2, 0, 3], [5, 4, 1]]]


def test_minus_zero_is_zero():
    heat = torch.tensor([[[-0.0, 0.0], [-0.0, 1.0]]])
    assert removal_ranks(heat, IMAGES[:1], ties="raster").tolist() == [[[1, 2], [3, 0]]]


def test_the_draw_belongs_to_the_image_and_is_shared_by_its_maps():
    maps = relu_maps()
    whole = removal_ranks(maps, IMAGES, seed=3)
    for i in range(3):
        alone = removal_ranks(maps[:, i : i + 1], IMAGES[i : i + 1], seed=3)
        assert torch.equal(alone, whole[:, i : i + 1])
    # A positive factor is the same map, and a constant map is the draw itself.
    assert torch.equal(removal_ranks(maps * 7, IMAGES, seed=3), whole)
    flat = removal_ranks(torch.zeros(2, 3, 10, 12), IMAGES)
    assert torch.equal(flat[0], flat[1])
    assert not torch.equal(flat[0, 0], flat[0, 1])


def test_the_draw_is_even_and_hangs_on_the_seed():
    maps = torch.zeros(1, 1, 10, 12)
    places = torch.cat([removal_ranks(maps, IMAGES[:1], seed=s) for s in range(400)]).double()
    assert (
        abs(places.mean(0) - 59.5).max() < 12
    )  # 7 standard errors; raster leaves 59.5 at a corner
    assert not torch.equal(places[0], places[1])


def test_only_ties_are_drawn():
    maps = relu_maps()
    one, other = (removal_ranks(maps, IMAGES, seed=s) for s in (0, 1))
    hot = maps > 0
    assert torch.equal(one[hot], other[hot])
    assert not torch.equal(one[~hot], other[~hot])
    assert one[hot].max() < 36 <= one[~hot].min()


def test_share_of_ties():
    assert tied_share(relu_maps()).tolist() == [[0.7] * 3] * 2
    assert tied_share(torch.zeros(4, 4)).item() == 1
    holed = torch.tensor([[[0.0, float("nan")]], [[1.0, 1.0]], [[0.0, float("inf")]]])
    assert str(tied_share(holed).tolist()) == "[nan, 1.0, nan]"
    assert tied_share(torch.arange(6.0).reshape(2, 3)).item() == 0
    assert tied_share(torch.tensor([[1.0, 2.0, 2.0], [1.0, 3.0, 2.0]])).item() == pytest.approx(
        5 / 6
    )


def test_steps():
    assert step_counts(4, 4) == [0, 1, 2, 3, 4]
    assert step_counts(7, 2) == [0, 4, 7]
    counts = step_counts(224 * 224, 28)
    assert counts == [k * 8 * 224 for k in range(29)]  # RISE's 8 rows a step
    for wrong in (0, 5, -1):
        with pytest.raises(OptionError, match=rf"from 1 to the number of pixels, 4; got {wrong}"):
            step_counts(4, wrong)


def test_unknown_rule():
    with pytest.raises(OptionError, match=r'tie rule "rand" is unknown; nearest: "random"'):
        removal_ranks(relu_maps(), IMAGES, ties="rand")
