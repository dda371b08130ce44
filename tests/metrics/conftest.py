"""A question whose network is a function, for tests: it answers in small chunks and counts what it was asked."""

import pytest
import torch


class Asked:
    def __init__(self, function, batch, chunk=3, images_at_once=2):
        self.function, self.batch, self.chunk, self.at_once = (
            function, batch, chunk, images_at_once,
        )  # fmt: skip
        self.pictures = 0

    def answers(self, count, make):
        for start in range(0, count, self.chunk):
            variants = range(start, min(start + self.chunk, count))
            parts = []
            for first in range(0, self.batch, self.at_once):
                pictures = make(variants, slice(first, min(first + self.at_once, self.batch)))
                self.pictures += pictures.shape[0] * pictures.shape[1]
                scores = self.function(pictures.flatten(0, 1))
                scores = scores if scores.ndim == 2 else scores.unsqueeze(1)
                parts.append(scores.reshape(*pictures.shape[:2], -1))
            yield variants, torch.cat(parts, 1)


@pytest.fixture
def asked():
    return Asked
