"""The sanity checks: known answers, a twin written out, and that the network is as it was afterwards."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

import saliscope as sc
from saliscope.engine import reinitialised
from saliscope.errors import DataError, OptionError, TargetError
from saliscope.metrics import randomisation
from saliscope.metrics.likeness import similarity
from saliscope.metrics.randomisation import (
    chance_similarity,
    data_randomisation,
    random_logit,
    randomisation_curve,
    randomised,
    stages,
)
from saliscope.metrics.survival import lasting, sanity_verdict, surviving

RANKS = ("spearman-abs", "spearman")


def grad_cam(net, pictures, classes):
    return sc.attribute(net, pictures, classes, method="grad-cam", layer="conv2", relu=False)


def edges(net, pictures, classes):
    return sc.attribute(net, pictures, classes, method="edges")


def noise(net, pictures, classes):
    return torch.rand(len(pictures), 224, 224)


@pytest.fixture
def pictures():
    return torch.randn(3, 3, 48, 64, generator=torch.Generator().manual_seed(8))


def test_the_unchanged_network_is_exactly_alike_and_edges_always_are(nets, pictures):
    net = nets.gap()
    found = randomisation_curve(grad_cam, net, pictures, seeds=(0, 1))
    assert found.stages == ("original", "fc", "conv2", "bn1", "conv1")
    for likeness, values in found.values.items():
        assert values.shape == (5, 2, 3)
        assert (values[0] == 1).all(), likeness
        assert (values[1:] < 1).all(), likeness
    found = randomisation_curve(edges, net, pictures, seeds=(0, 1))
    assert all((values == 1).all() for values in found.values.values())


def test_independent_noise_is_unlike_at_every_stage(nets, pictures):
    found = randomisation_curve(
        noise, nets.gap(), pictures[:2], seeds=(0,), depth=1, likenesses=RANKS
    )
    for values in found.values.values():
        assert np.abs(values).max() < 0.01


@pytest.mark.parametrize("how", ["cascading", "independent"])
def test_a_curve_equals_its_twin(nets, pictures, how):
    net = nets.gap()
    found = randomisation_curve(grad_cam, net, pictures, seeds=(3, 5), how=how, batch_size=2)
    classes = net(pictures).argmax(1)
    assert found.classes.tolist() == classes.tolist()
    top_down = ["fc", "conv2", "bn1", "conv1"]
    for s, seed in enumerate((3, 5)):
        for k in range(5):
            forgotten = top_down[:k] if how == "cascading" else top_down[max(k - 1, 0) : k]
            fresh = reinitialised(net, forgotten, seed=seed)
            for i in range(3):
                one, other = (
                    grad_cam(n, pictures[i : i + 1], classes[i : i + 1])[0].double().numpy()
                    for n in (net, fresh)
                )
                expected = {
                    "spearman-abs": stats.spearmanr(abs(one).ravel(), abs(other).ravel()).statistic,
                    "spearman": stats.spearmanr(one.ravel(), other.ravel()).statistic,
                }
                for likeness, value in expected.items():
                    assert found.values[likeness][k, s, i] == pytest.approx(value, abs=1e-4)
                big = [
                    F.interpolate(torch.tensor(m)[None, None], (48, 64), mode="bilinear")[
                        0, 0
                    ].numpy()
                    for m in (one, other)
                ]
                for likeness in ("ssim", "hog"):
                    value = similarity(*big, likeness)
                    assert found.values[likeness][k, s, i] == pytest.approx(value, abs=2e-3)


def test_the_class_is_fixed_whatever_a_randomised_network_says(nets, pictures):
    seen = []

    def spy(net, x, classes):
        seen.append((classes.tolist(), net(x).argmax(1).tolist()))
        return torch.rand(len(x), 4, 4)

    net = nets.gap(classes=30)
    randomisation_curve(spy, net, pictures, seeds=(0, 1, 2), likenesses=RANKS)
    expected = net(pictures).argmax(1).tolist()
    assert all(given == expected for given, _ in seen)
    assert any(said != expected for _, said in seen)
    assert len(seen) == 2 + 3 * 4  # the base, the unchanged copy once, and each stage and seed
    seen.clear()
    given = torch.tensor([4, 5, 6])
    randomisation_curve(spy, net, pictures, classes=given, seeds=(0,), likenesses=RANKS)
    assert all(classes == [4, 5, 6] for classes, _ in seen)


def test_the_network_is_as_it_was_also_after_an_error(nets, pictures, unchanged):
    net = nets.gap("inplace").train()

    def careless(given, x, classes):
        with torch.no_grad():
            for parameter in given.parameters():
                parameter.zero_()
            given.bn1.running_mean.fill_(9)
        raise RuntimeError("by design")

    with unchanged(net, pictures):
        randomisation_curve(grad_cam, net, pictures, seeds=(0,), likenesses=RANKS)
        random_logit(grad_cam, net, pictures, likenesses=RANKS)
        for function in (randomisation_curve, random_logit):
            with pytest.raises(RuntimeError, match="by design"):
                function(careless, net, pictures)


def test_it_works_in_any_mode(nets, pictures):
    net = nets.gap()
    plain = randomisation_curve(grad_cam, net, pictures, seeds=(0,), likenesses=RANKS)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = randomisation_curve(grad_cam, net, pictures, seeds=(0,), likenesses=RANKS)
        assert np.array_equal(found.values["spearman"], plain.values["spearman"])


def test_stages_can_be_chosen_and_grouped(nets, pictures):
    net = nets.deep_head()
    order = stages(net, pictures[:1], read=lambda out: out, depth=1)

    def explain(net, x, c):
        return sc.attribute(net, x, c, layer="features.2", relu=False)

    grouped = randomisation_curve(explain, net, pictures, order=order, seeds=(0,), likenesses=RANKS)
    assert grouped.stages == ("original", "classifier", "features")
    same = randomisation_curve(explain, net, pictures, depth=1, seeds=(0,), likenesses=RANKS)
    assert np.array_equal(same.values["spearman"], grouped.values["spearman"])
    fine = randomisation_curve(explain, net, pictures, seeds=(0,), likenesses=RANKS)
    assert np.array_equal(fine.values["spearman"][[0, 2, 4]], grouped.values["spearman"])
    copies = list(randomised(net, order[1:], seed=0, how="independent"))
    assert len(copies) == 2
    assert torch.equal(copies[1].classifier[0].weight, net.classifier[0].weight)


def test_a_batch_equals_its_pictures(nets, pictures):
    net = nets.gap()
    whole = randomisation_curve(grad_cam, net, pictures, seeds=(0,), likenesses=RANKS)
    alone = randomisation_curve(grad_cam, net, pictures[1:2], seeds=(0,), likenesses=RANKS)
    assert alone.values["spearman"][:, :, 0] == pytest.approx(
        whole.values["spearman"][:, :, 1], abs=1e-3
    )
    assert math.isnan(alone.chance["spearman"][0])
    logit = random_logit(grad_cam, net, pictures, likenesses=RANKS)
    assert random_logit(grad_cam, net, pictures[1:2], likenesses=RANKS).others == logit.others[1:2]


def test_maps_that_say_nothing_are_undefined(nets, pictures):
    def fading(net, x, classes):
        return grad_cam(net, x, classes) * (not net.fc.bias.eq(0).all())

    found = randomisation_curve(fading, nets.gap(), pictures, seeds=(0,), likenesses=RANKS)
    assert (found.values["spearman"][0] == 1).all()
    assert np.isnan(found.values["spearman"][1:]).all()


def test_random_logits(nets, pictures):
    net = nets.gap(classes=40)
    found = random_logit(grad_cam, net, pictures, likenesses=("spearman", "ssim"))
    predicted = net(pictures).argmax(1)
    assert found.classes.tolist() == predicted.tolist()
    assert (found.others != found.classes).all()
    for i in range(3):
        one, other = (
            grad_cam(net, pictures[i : i + 1], torch.tensor([int(c[i])]))[0].numpy()
            for c in (found.classes, found.others)
        )
        expected = stats.spearmanr(one.ravel(), other.ravel()).statistic
        assert found.values["spearman"][i] == pytest.approx(expected, abs=1e-4)
    blind = random_logit(edges, net, pictures, likenesses=("spearman", "hog"))
    assert all((v == 1).all() for v in blind.values.values())
    draws = {
        tuple(random_logit(noise, net, pictures, seed=s, likenesses=()).others) for s in range(6)
    }
    assert len(draws) > 3


def test_two_networks_are_compared_as_by_hand(nets, pictures, unchanged):
    """The twin: each picture alone, ranks by scipy, the class that the first network predicts."""
    one, other = nets.gap(), reinitialised(nets.gap(), ["fc", "conv2"], seed=4)
    with unchanged(one, pictures), unchanged(other, pictures):
        found = data_randomisation(grad_cam, one, other, pictures, batch_size=2)
    assert found.n == 3
    assert found.classes.tolist() == one(pictures).argmax(1).tolist()
    assert set(found.values) == set(found.chance) == {"spearman-abs", "spearman", "ssim", "hog"}
    maps = []
    for i, chosen in enumerate(found.classes):
        x, c = pictures[i : i + 1], torch.tensor([chosen])
        a, b = (grad_cam(net, x, c)[0].double().numpy() for net in (one, other))
        maps.append(a)
        expected = stats.spearmanr(a.ravel(), b.ravel()).statistic
        assert found.values["spearman"][i] == pytest.approx(expected, abs=1e-4)
        expected = stats.spearmanr(abs(a).ravel(), abs(b).ravel()).statistic
        assert found.values["spearman-abs"][i] == pytest.approx(expected, abs=1e-4)
    chance = chance_similarity(np.stack(maps), "spearman")
    assert found.chance["spearman"] == pytest.approx(chance, abs=1e-4)


def test_known_answers_of_two_networks(nets, pictures):
    one, other = nets.gap(), reinitialised(nets.gap(), ["fc", "conv2"], seed=4)
    same = data_randomisation(grad_cam, one, one, pictures)
    blind = data_randomisation(edges, one, other, pictures)
    for values in [*same.values.values(), *blind.values.values()]:
        assert (values == 1).all()
    opposed = reinitialised(one, (), seed=0)
    with torch.no_grad():
        opposed.fc.weight.neg_()
    found = data_randomisation(grad_cam, one, opposed, pictures, likenesses=RANKS)
    assert found.values["spearman"] == pytest.approx([-1] * 3)
    assert found.values["spearman-abs"] == pytest.approx([1] * 3)
    given = torch.tensor([4, 0, 2])
    assert data_randomisation(
        grad_cam, one, other, pictures, classes=given, likenesses=()
    ).classes.tolist() == [4, 0, 2]


def test_networks_of_other_grids_cannot_be_compared(nets, pictures):
    def half(net, x, classes):
        return torch.rand(len(x), 4, 4 if net.fc.bias.eq(0).all() else 8)

    with pytest.raises(DataError, match=r"two maps of one shape .* got \(4, 8\) and \(4, 4\)"):
        data_randomisation(
            half, nets.gap(), reinitialised(nets.gap(), ["fc"], seed=0), pictures, likenesses=RANKS
        )


def test_the_lowest_class_is_never_the_one_explained(nets, pictures):
    net = nets.gap()
    lowest = net(pictures).argmin(1)
    found = random_logit(noise, net, pictures, other="lowest", likenesses=())
    assert found.others.tolist() == lowest.tolist()
    found = random_logit(noise, net, pictures, classes=lowest, other="lowest", likenesses=())
    assert (found.others != lowest.numpy()).all()


def test_every_other_class_is_drawn():
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.tensor([[0.0, 2.0, 1.0, 0.0]]).expand(len(x), -1)

    x = torch.randn(60, 1, 2, 2)
    found = random_logit(lambda n, x, c: torch.rand(len(x), 2, 2), Fixed(), x, likenesses=())
    assert set(found.others.tolist()) == {0, 2, 3}


def test_chance_is_the_likeness_of_maps_of_different_pictures():
    bell = np.exp(-(np.linspace(-2, 2, 12) ** 2))
    r = np.random.default_rng(0)
    centred = np.outer(bell, bell) + 0.05 * r.random((6, 12, 12))
    assert (chance_similarity(centred, "spearman") > 0.8).all()
    assert np.abs(chance_similarity(r.random((6, 100, 100)), "spearman")).max() < 0.05
    found = chance_similarity(centred, "spearman")
    assert found[1] == pytest.approx(
        stats.spearmanr(centred[1].ravel(), centred[4].ravel()).statistic
    )
    assert np.isfinite(chance_similarity(centred[:, :4, :4], "ssim", size=(20, 20))).all()


def test_what_survives():
    alike = np.array([[1.0, 0.2, np.nan, np.nan], [1.0, 0.4, 0.6, np.nan]])
    chance = np.array([0.1, 0.3, np.nan, 0.2])  # mean .2
    found = surviving(alike, chance)
    assert found[:3] == pytest.approx([1, 0.125, 0.5])
    assert math.isnan(found[3])
    assert surviving(np.array([[0.2], [0.2]]), np.array([0.2])) == pytest.approx([0])
    for hopeless in (np.full(4, np.nan), np.ones(4)):
        assert np.isnan(surviving(alike, hopeless)).all()


def test_what_lasts():
    chance = np.array([0.5, 0.5, 0.5])
    at = np.linspace(
        1, 0, 101
    )  # the share above chance, from the unchanged network to the last stage
    shares = np.stack([np.ones(101), at, np.where(at > 0.9, at, 0)], axis=1)
    curve = np.repeat((0.5 + 0.5 * shares)[:, None], 2, axis=1)
    curve[60:, :, 2] = -1  # less than nothing does not make up for anything
    assert lasting(curve, chance) == pytest.approx([1, 0.495, np.sum(at[1:10]) / 100])
    curve[3:, 0, 0] = np.nan  # one seed is enough
    assert lasting(curve, chance)[0] == pytest.approx(1)
    curve[1:, :, 0] = np.nan
    curve[4, :, 1] = np.nan
    found = lasting(curve, chance)
    assert math.isnan(found[0])
    assert found[1] == pytest.approx((at[1:].sum() - at[4]) / 99)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0, 0.49, "passes"),
        (-0.4, -0.1, "passes"),
        (0.2, 0.5, "undecided"),
        (0.49, 0.7, "undecided"),
        (0.5, 0.7, "fails"),
        (1.0, 1.0, "fails"),
        (math.nan, 0.1, "undefined"),
        (0.1, math.nan, "undefined"),
    ],
)
def test_verdicts(low, high, verdict):
    assert sanity_verdict(low, high) == verdict


def test_a_limit_moves_the_verdict():
    assert sanity_verdict(0.2, 0.3, limit=0.25) == "undecided"
    assert sanity_verdict(0.2, 0.3, limit=0.1) == "fails"


def test_what_makes_no_sense_is_refused(nets, pictures):
    net = nets.gap()
    with pytest.raises(
        OptionError, match=r'randomisation "cascade" is unknown; nearest: "cascading"'
    ):
        next(randomised(net, (), seed=0, how="cascade"))
    for seeds in ((), (1, 1)):
        with pytest.raises(OptionError, match=r"seeds are different numbers, three or more"):
            randomisation_curve(noise, net, pictures, seeds=seeds)
    with pytest.raises(OptionError, match=r"batch_size is at least 1; got 0"):
        randomisation_curve(noise, net, pictures, batch_size=0)
    with pytest.raises(DataError, match=r"one class each, \(n,\); got \(3, 3, 48, 64\) and \(2,\)"):
        randomisation_curve(noise, net, pictures, classes=torch.tensor([0, 1]))
    with pytest.raises(DataError, match=r"one map for each of 3 pictures"):
        randomisation_curve(lambda n, x, c: torch.rand(3, 4), net, pictures)
    with pytest.raises(OptionError, match=r'other class "worst" is unknown'):
        random_logit(noise, net, pictures, other="worst")
    with pytest.raises(TargetError, match=r"the network has one class"):
        random_logit(noise, nets.gap(classes=1), pictures)
    with pytest.raises(
        DataError, match=r"\(seeds, n\) and those of chance \(n,\); got \(3,\) and \(3,\)"
    ):
        surviving(np.ones(3), np.ones(3))
    with pytest.raises(DataError, match=r"got \(2, 3\) and \(2,\)"):
        surviving(np.ones((2, 3)), np.ones(2))
    for shape in ((1, 3, 4), (3, 4)):
        with pytest.raises(DataError, match=r"a curve is \(stages, seeds, n\) with the unchanged"):
            lasting(np.ones(shape), np.ones(4))
    for limit in (0, 1, math.nan):
        with pytest.raises(OptionError, match=r"limit is a share of similarity, in \(0, 1\)"):
            sanity_verdict(0.1, 0.2, limit=limit)
    with pytest.raises(OptionError, match=r"an interval goes from low to high; got 0.3 to 0.2"):
        sanity_verdict(0.3, 0.2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_forgets_to_the_same_values(nets, pictures):
    net = nets.gap()
    classes = net(pictures).argmax(1)
    here = randomisation_curve(grad_cam, net, pictures, classes=classes, likenesses=RANKS)
    there = randomisation_curve(
        grad_cam, net.cuda(), pictures.cuda(), classes=classes.cuda(), likenesses=RANKS
    )
    assert (there.values["spearman"][0] == 1).all()
    assert there.values["spearman"] == pytest.approx(here.values["spearman"], abs=1e-2)
    drawn = random_logit(grad_cam, net, pictures.cuda(), likenesses=RANKS).others
    assert (drawn == random_logit(grad_cam, net.cpu(), pictures, likenesses=RANKS).others).all()


def test_all_names_are_there():
    assert all(hasattr(randomisation, name) for name in randomisation.__all__)
