"""Losses, groups, schedule, running average and still parts of a training."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from saliscope.errors import ModelError
from saliscope.training.callbacks import Epoch, is_better
from saliscope.training.module import Averages, Training, follow, learning_rate_factor, warm_decay


def normalise(pictures):
    return pictures.permute(0, 3, 1, 2).float() / 255


def made(toy, *, still=(), head=(), steps=10, **fields):
    torch.manual_seed(0)
    network = toy.Net(3)
    return Training(
        network, toy.recipe(**fields), normalise=normalise, still=still, head=head, steps=steps
    )


def batch(count=6):
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (count, 20, 20, 3), dtype=torch.uint8, generator=generator)
    return pictures, torch.arange(count) % 3


# --- schedule --------------------------------------------------------------------------------------------------------


def test_the_rate_rises_straight_and_falls_by_half_a_cosine():
    factors = [learning_rate_factor(i, steps=12, warmup=4, schedule="cosine") for i in range(13)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[8] == pytest.approx(0.5)
    assert factors[6] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert factors[12] == pytest.approx(0)
    assert learning_rate_factor(500, steps=12, warmup=4, schedule="cosine") == pytest.approx(0)


def test_a_constant_rate_only_warms_up():
    factors = [learning_rate_factor(i, steps=6, warmup=2, schedule="constant") for i in range(6)]
    assert factors == [0.5, 1, 1, 1, 1, 1]
    assert learning_rate_factor(0, steps=6, schedule="constant") == 1


def test_the_schedule_moves_by_step_over_all_epochs(toy):
    module = made(toy, steps=5, epochs=4, warmup_epochs=0.4, learning_rate=0.1, head_learning_rate=1.0, head=("fc.weight",))  # fmt: skip
    found = module.configure_optimizers()
    optimizer, schedule = found["optimizer"], found["lr_scheduler"]
    assert schedule["interval"] == "step"
    rates = []
    for _ in range(20):
        rates.append({group["lr"] for group in optimizer.param_groups})
        optimizer.step()
        schedule["scheduler"].step()
    assert rates[0] == {0.05, 0.5}
    assert rates[1] == {0.1, 1.0}
    middle = 0.1 * 0.5 * (1 + math.cos(math.pi * 9 / 18))
    assert sorted(rates[11]) == pytest.approx([middle, 10 * middle])


# --- groups ----------------------------------------------------------------------------------------------------------


def test_the_head_has_its_own_rate_and_biases_no_decay(toy):
    module = made(toy, head=("fc.weight", "fc.bias"), learning_rate=0.1, head_learning_rate=0.3)
    names = {id(p): name for name, p in module.network.named_parameters()}
    groups = {
        (g["lr"], g["weight_decay"]): {names[id(p)] for p in g["params"]} for g in module.groups()
    }
    assert groups == {
        (0.1, 0.01): {"conv1.weight", "conv2.weight"},
        (0.1, 0.0): {"bn1.weight", "bn1.bias", "conv2.bias"},
        (0.3, 0.01): {"fc.weight"},
        (0.3, 0.0): {"fc.bias"},
    }


def test_without_a_rate_of_its_own_the_head_has_that_of_the_rest(toy):
    module = made(toy, head=("fc.weight",), learning_rate=0.1)
    assert {group["lr"] for group in module.groups()} == {0.1}


def test_what_needs_no_gradient_is_in_no_group(toy):
    module = made(toy)
    module.network.conv1.requires_grad_(False)
    assert sum(len(group["params"]) for group in module.groups()) == 6


def test_nothing_to_train_is_an_error(toy):
    module = made(toy, freeze="fc")
    module.network.requires_grad_(False)
    with pytest.raises(ModelError, match='freeze "fc" leaves nothing to train'):
        module.configure_optimizers()


@pytest.mark.parametrize(
    ("fields", "kind", "momentum"),
    [
        ({"optimizer": "sgd", "momentum": 0.9}, torch.optim.SGD, 0.9),
        ({"optimizer": "sgd"}, torch.optim.SGD, 0),
        ({"optimizer": "adamw"}, torch.optim.AdamW, None),
    ],
)
def test_the_optimizer_is_the_recipes(toy, fields, kind, momentum):
    optimizer = made(toy, **fields).configure_optimizers()["optimizer"]
    assert type(optimizer) is kind
    assert optimizer.param_groups[0].get("momentum") == momentum


# --- steps -----------------------------------------------------------------------------------------------------------


def test_the_loss_is_smoothed_in_training_and_plain_in_validation(toy):
    module = made(toy, label_smoothing=0.1, ema=None).eval()
    pictures, labels = batch()
    logits = module.network(normalise(pictures))
    probable = logits.log_softmax(1)
    right = probable[torch.arange(6), labels].mean()
    smoothed = -(0.9 * right + 0.1 * probable.mean())
    assert module.training_step((pictures, labels), 0).item() == pytest.approx(smoothed.item())
    module.validation_step((pictures, labels), 0)
    assert module.validated.read()[0] == pytest.approx(-right.item())


def test_losses_are_float32_under_autocast(toy):
    module = made(toy)
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(batch(), 0)
    assert loss.dtype == torch.float32


def test_padding_does_not_count(toy):
    module = made(toy).eval()
    pictures, labels = batch()
    module.validation_step((pictures[:4], labels[:4]), 0)
    expected = module.validated.read()
    module.validated = Averages()
    module.validation_step((pictures, torch.cat([labels[:4], torch.tensor([-1, -1])])), 0)
    assert module.validated.read() == pytest.approx(expected)
    assert int(module.validated.count) == 4
    module.validation_step((pictures, torch.full((6,), -1)), 0)
    assert int(module.validated.count) == 4


def test_averages_weigh_batches_by_their_size():
    sums = Averages()
    assert all(map(math.isnan, sums.read()))
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    sums.add(torch.tensor(1.0), logits[:1], torch.tensor([0]))
    sums.add(torch.tensor(4.0), logits[1:], torch.tensor([0, 0]))
    assert sums.read() == (3.0, pytest.approx(2 / 3))
    assert sums.read(lambda values: values * 2) == (3.0, pytest.approx(2 / 3))


def test_still_parts_stay_in_eval_mode(toy):
    module = made(toy, still=("bn1",))
    module.train()
    assert module.network.training
    assert module.network.dropout.training
    assert not module.network.bn1.training
    assert not any(part.training for part in module.averaged.modules())
    before = module.network.bn1.running_mean.clone()
    module.training_step(batch(), 0)
    assert torch.equal(module.network.bn1.running_mean, before)


def test_an_epochs_random_numbers_depend_on_seed_and_epoch(toy, monkeypatch):
    def drawn(epoch, **fields):
        module = made(toy, **fields)
        monkeypatch.setattr(type(module), "current_epoch", epoch)
        monkeypatch.setattr(type(module), "global_rank", 0)
        torch.rand(epoch + 3)
        module.on_train_epoch_start()
        return torch.rand(4).tolist()

    assert drawn(2) == drawn(2)
    assert drawn(2) != drawn(3)
    assert drawn(2) != drawn(2, seed=4)


# --- running average -------------------------------------------------------------------------------------------------


def test_the_average_follows_floats_and_copies_whole_numbers(toy):
    first, second = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    second.weight.data.fill_(5.0)
    second.running_var.fill_(3.0)
    second.num_batches_tracked.fill_(7)
    follow(first, second, decay=0.75)
    assert first.weight.tolist() == [2.0, 2.0]
    assert first.running_var.tolist() == [1.5, 1.5]
    assert first.num_batches_tracked.item() == 7
    assert first.weight.requires_grad
    assert second.weight.tolist() == [5.0, 5.0]


def test_the_decay_is_short_at_first():
    assert [warm_decay(0.9, n) for n in (1, 8, 100)] == [pytest.approx(2 / 11), 0.5, 0.9]
    assert warm_decay(0.1, 1) == 0.1


def test_the_average_is_what_is_validated_and_kept(toy):
    module = made(toy, ema=0.9)
    assert module.kept is module.averaged
    assert not any(p.requires_grad for p in module.averaged.parameters())
    with torch.no_grad():
        module.averaged.fc.bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    pictures, labels = batch()
    module.validation_step((pictures, labels), 0)
    assert module.validated.read()[1] == pytest.approx(1 / 3)
    expected = F.cross_entropy(module.averaged(normalise(pictures)), labels)
    assert module.validated.read()[0] == pytest.approx(expected.item())
    assert made(toy, ema=None).averaged is None


def test_the_average_is_not_trained(toy):
    module = made(toy)
    before = copy.deepcopy(module.averaged.state_dict())
    module.train()
    module.training_step(batch(), 0).backward()
    optimizer = module.configure_optimizers()["optimizer"]
    optimizer.step()
    for name, value in module.averaged.state_dict().items():
        assert torch.equal(value, before[name])


# --- which epoch is kept ---------------------------------------------------------------------------------------------


def row(loss, accuracy, *, kept):
    return Epoch(1, 1, 0.1, 1.0, 0.5, loss, accuracy, 1.0, 1.0, kept)


def test_the_best_epoch_is_kept_and_the_first_of_equals():
    history = [row(2.0, 0.5, kept=True), row(1.0, 0.4, kept=True), row(1.5, 0.9, kept=False)]
    assert is_better("best-validation-loss", 0.9, 0.1, history)
    assert not is_better("best-validation-loss", 1.0, 0.99, history)
    assert not is_better("best-validation-loss", math.nan, 0.99, history)
    assert is_better("best-validation-accuracy", 9.0, 0.6, history)
    assert not is_better("best-validation-accuracy", 0.1, 0.5, history)
    assert not is_better("best-validation-accuracy", 0.1, math.nan, [])
    assert is_better("last", math.nan, math.nan, history)
