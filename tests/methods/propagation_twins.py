"""Shares by loops in float64 over the matrix of a linear function, straight from the papers."""

import numpy as np
import torch
from torch import nn


def matrix(run, shape):
    """The matrix of a linear function of inputs (1, *shape), found by asking it about each unit vector."""
    size = int(np.prod(shape))
    units = torch.eye(size, dtype=torch.float64).reshape(size, 1, *shape)
    return np.stack([run(unit).detach().numpy().ravel() for unit in units], 1)


def winners(m, a, up, down):
    """(a_i w_ij)+ for what raises a unit, (a_i w_ij)- for what lowers it; an input below 0 is asked what lowers it."""
    raised, lowered = np.zeros(a.size), np.zeros(a.size)
    for j in range(len(m)):
        for given, sign in ((up[j], 1), (down[j], -1)):
            parts = [max(0.0, sign * m[j, i] * a[i]) for i in range(a.size)]
            total = sum(parts)
            for i, part in enumerate(parts):
                if total > 0:
                    (raised if a[i] > 0 else lowered)[i] += given * part / total
    return raised, lowered


def epsilon(m, b, a, r, share):
    z = m @ a + b
    e = share * np.sqrt(np.mean(z**2))
    found = np.zeros(a.size)
    for j in range(len(m)):
        for i in range(a.size):
            found[i] += a[i] * m[j, i] * r[j] / (z[j] + (e if z[j] >= 0 else -e))
    return found


def favoured(m, b, a, r, count, favour, *, biased):
    """gamma (count 1, favour gamma, with bias) and z+ (count 0, favour 1, without) on units of either sign."""
    found = np.zeros(a.size)
    for j in range(len(m)):
        sign = 1 if m[j] @ a + b[j] >= 0 else -1

        def weighed(x, sign=sign):
            return count * x + favour * (max(x, 0.0) if sign > 0 else min(x, 0.0))

        total = sum(weighed(m[j, i] * a[i]) for i in range(a.size))
        total += weighed(b[j]) if biased else 0
        for i in range(a.size):
            if total != 0:
                found[i] += weighed(m[j, i] * a[i]) * r[j] / total
    return found


def by_weight(m, r):
    found = np.zeros(m.shape[1])
    for j in range(len(m)):
        for i in range(m.shape[1]):
            found[i] += m[j, i] * r[j] / m[j].sum()
    return found


def box(m, a, low, high, r):
    found = np.zeros(a.size)
    for j in range(len(m)):
        parts = [
            a[i] * m[j, i] - low[i] * max(m[j, i], 0) - high[i] * min(m[j, i], 0)
            for i in range(a.size)
        ]
        for i, part in enumerate(parts):
            found[i] += part * r[j] / sum(parts)
    return found


class Tiny(nn.Module):
    """Convolution, ReLU, max pooling, a residual block with batch norm, mean and two linear layers."""

    def __init__(self, *, bias: bool = True, norm: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, 1, 1, bias=bias)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 4, 3, 1, 1, bias=bias)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.fc1 = nn.Linear(4, 6, bias=bias)
        self.fc2 = nn.Linear(6, 3, bias=bias)

    def forward(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        y = self.norm(self.conv2(x))
        y += x
        return self.fc2(self.relu(self.fc1(self.relu(y).mean((2, 3)))))
