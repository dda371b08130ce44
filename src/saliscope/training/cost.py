"""What a training will cost, from a few steps timed on a copy of the network."""

from __future__ import annotations

import copy
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from saliscope.models.outputs import logits_of

if TYPE_CHECKING:
    from saliscope.training.images import Images
    from saliscope.training.module import Training
    from saliscope.training.recipes import Recipe

__all__ = ["Cost", "duration", "time_steps"]


@dataclass(frozen=True)
class Cost:
    """Seconds of a step with the reading of its images, and of validating one image."""

    step: float
    image: float

    def seconds(self, epochs: int, steps: int, validated: int) -> float:
        """What so many epochs take."""
        return epochs * (steps * self.step + validated * self.image)


def time_steps(module: Training, images: Images, recipe: Recipe, *, bfloat16: bool) -> Cost:
    """Time whole training steps on the CPU: one to warm up, then as many as three seconds hold, three at most.

    Nothing that counts is touched: the network is copied, and the random numbers are put back.
    """
    rows = [(0, row % len(images)) for row in range(recipe.batch_size)]
    twin = _twin(module)
    optimizer: Any = twin.configure_optimizers()["optimizer"]
    precision = torch.autocast("cpu", torch.bfloat16) if bfloat16 else nullcontext()
    times: list[float] = []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        while len(times) < 2 or (len(times) < 4 and sum(times[1:]) < 3):
            start = time.perf_counter()
            pictures, labels = images.__getitems__(rows)
            inputs = twin.normalise(pictures)
            with precision:
                loss = F.cross_entropy(logits_of(twin.network(inputs)).float(), labels)
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter() - start)
        step = min(times[1:])
        start = time.perf_counter()
        with precision, torch.no_grad():
            twin.network.eval()(inputs)
    return Cost(step, (time.perf_counter() - start) / len(inputs))


def _twin(module: Training) -> Training:
    """The same training of a copy of the network, but for the images, which are shared."""
    twin = type(module)(
        copy.deepcopy(module.network),
        module.recipe,
        normalise=module.normalise,
        still=module.still,
        head=module.head,
        steps=module.steps,
    )
    return twin.train()


def duration(seconds: float) -> str:
    """Say a time as a person would: "40 seconds", "12 minutes", "3.5 hours"."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} second{'s' * (round(seconds) > 1)}"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 86400:.1f} days"
