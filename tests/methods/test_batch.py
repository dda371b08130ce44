"""Many maps from one capture: together as alone, in any order, at the cost of one pass."""

import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.engine import Network, TopClasses, shadow, survey
from saliscope.methods import map_batch, parse_method
from saliscope.models import logits_of

SPECS = ["grad-cam@conv1", "cam@act2", "random", "grad-cam@act2:relu=false", "grad-cam@bn1:sign=negative",
         "edges", "centre", "grad-cam@conv1:relu=false"]  # fmt: skip


def network_of(net, x):
    return Network(shadow(net), read=logits_of, survey=survey(net, x, read=logits_of))


def run(net, x, specs, **options):
    return map_batch(network_of(net, x), x, [parse_method(s) for s in specs], **options)


def test_together_as_alone(nets, batch):
    net = nets.gap()
    together = run(net, batch, SPECS, target=torch.tensor([[0, 2]] * 3))
    assert together.several
    for i, spec in enumerate(SPECS):
        alone = run(net, batch, [spec], target=torch.tensor([[0, 2]] * 3))
        torch.testing.assert_close(together.signed[i], alone.signed[0])
        assert together.signed[i].shape[:2] == (3, 2)
        assert together.signed[i].dtype == torch.float32
    logits = net(batch).detach()
    torch.testing.assert_close(together.logits, logits)
    torch.testing.assert_close(together.scores, logits[:, [0, 2]])
    assert together.classes.tolist() == [[0, 2]] * 3


def test_batch_equals_singles_in_any_order(nets):
    net = nets.gap()
    x = torch.randn(5, 3, 24, 16)
    targets = torch.tensor([4, 1, 0, 3, 2])
    together = run(net, x, SPECS, target=targets)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = run(net, x[order], SPECS, target=targets[order])
    for j in range(len(SPECS)):
        torch.testing.assert_close(shuffled.signed[j], together.signed[j][order])
        for i in range(5):
            single = run(net, x[i : i + 1], [SPECS[j]], target=int(targets[i]))
            torch.testing.assert_close(
                single.signed[0][0], together.signed[j][i], rtol=1e-4, atol=1e-6
            )


def test_top_classes_are_those_of_each_image(nets, batch):
    net = nets.gap()
    found = run(net, batch, ["cam@act2"], target=TopClasses(3))
    assert torch.equal(found.classes, net(batch).topk(3).indices)
    for i in range(3):
        for k in range(3):
            c = int(found.classes[i, k])
            alone = run(net, batch[i : i + 1], ["cam@act2"], target=c)
            torch.testing.assert_close(
                alone.signed[0][0, 0], found.signed[0][i, k], rtol=1e-4, atol=1e-6
            )


def test_scores_of_functions_and_probabilities(nets, batch):
    net = nets.gap()
    logits = net(batch).detach()
    found = run(net, batch, ["grad-cam@conv1"], target=lambda o: o[:, 1] * 3)
    assert found.classes is None
    torch.testing.assert_close(found.scores[:, 0], logits[:, 1] * 3)
    found = run(net, batch, ["grad-cam@conv1"], target=2, space="probability")
    torch.testing.assert_close(found.scores[:, 0], logits.softmax(1)[:, 2])


class Counting(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.calls = net, []

    def forward(self, x):
        self.calls.append(len(x))
        return self.net(x)


def test_one_forward_pass_for_everything(nets, batch):
    net = Counting(nets.gap())
    network = network_of(net, batch)
    network.module.calls = []
    specs = [parse_method(s.replace("@", "@net.")) for s in SPECS]
    map_batch(network, batch, specs, target=torch.tensor([[0, 1, 2]] * 3))
    assert network.module.calls == [3]


def flip_equivariant():
    """A network whose features of a mirrored image are the mirrored features: kernels are their own mirror image."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 6, 3, padding=1),
        nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 4))  # fmt: skip
    with torch.no_grad():
        for i in (0, 2):
            net[i].weight.copy_((net[i].weight + net[i].weight.flip(3)) / 2)
    return net


@pytest.mark.parametrize(
    "method", ["grad-cam@0:relu=false", "grad-cam@2:relu=false", "edges", "centre"]
)
def test_flipping_the_image_flips_the_map(batch, method):
    net = flip_equivariant()
    plain = sc.attribute(net, batch, 1, method=method)
    flipped = sc.attribute(net, batch.flip(3), 1, method=method)
    torch.testing.assert_close(flipped, plain.flip(2), rtol=1e-4, atol=1e-6)
    if method != "centre":
        assert not torch.allclose(plain, plain.flip(2))
        assert not torch.allclose(plain, plain.flip(1))


# --- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["nope", "conv1", ["conv1", "act2"]])
def test_a_layer_for_a_method_that_has_none(nets, batch, layer):
    with pytest.raises(
        sc.MethodError, match=r"gradient is not read from a layer; leave out layer="
    ):
        sc.attribute(nets.gap(), batch, 1, method="gradient", layer=layer)


def test_a_space_for_a_target_that_decides_itself(nets, batch):
    with pytest.raises(
        sc.TargetError, match="target_space='probability' says nothing; leave it out"
    ):
        sc.attribute(nets.gap(), batch, lambda o: o[:, 1], target_space="probability")


def test_a_list_of_functions_is_no_target(nets, batch):
    with pytest.raises(sc.TargetError, match="are not all integers"):
        sc.attribute(nets.gap(), batch, [lambda o: o[:, 1]] * 3)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_network_with_a_scripted_part(batch):
    part = torch.jit.trace(nn.Conv2d(3, 4, 3), batch)
    net = nn.Sequential(part, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(sc.ModelError, match=r"holds a TorchScript module \(Conv2d\)"):
        sc.attribute(net, batch, 1, method="gradient")


def test_a_damaged_picture_says_nothing_of_the_network(nets, batch):
    net = nets.gap()
    plain = sc.attribute(net, batch, 1, method="cam")
    damaged = batch.clone()
    damaged[1, 0, 0, 0] = float("nan")
    found = sc.attribute(net, damaged, 1, method="cam")
    torch.testing.assert_close(found[[0, 2]], plain[[0, 2]])
    assert found[1].isnan().any()


def test_a_large_seed_is_a_seed(nets, batch):
    found = sc.attribute(nets.gap(), batch, 1, method="random", seed=10**30)
    assert not torch.equal(found, sc.attribute(nets.gap(), batch, 1, method="random"))
