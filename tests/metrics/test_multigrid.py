import itertools

import numpy as np
import pytest
import torch

from saliscope.metrics.imputation import _write_stencil
from saliscope.metrics.multigrid import (
    Coarse,
    Layout,
    Neighbours,
    Prolongation,
    Restriction,
    Scratch,
    Stencil,
)

SIZES = [(6, 9), (7, 4), (5, 5), (2, 3), (12, 17)]
CPU = torch.device("cpu")


def laid_out(layout, pictures):
    values = layout.zeros(len(pictures), CPU)
    layout.pictures(values).copy_(pictures)
    return values


def weight(dy, dx):
    return 0 if dy == dx == 0 else 2 if dy * dx == 0 else 1


@pytest.mark.parametrize("size", SIZES)
def test_neighbours_against_loops(size):
    layout, pictures = Layout(*size), torch.randn(3, *size)
    values, sums = laid_out(layout, pictures), layout.zeros(3, CPU)
    Neighbours(layout, values, sums, Scratch(CPU))()
    for i, y, x in np.ndindex(3, *size):
        expected = sum(
            weight(v - y, u - x) * float(pictures[i, v, u])
            for v, u in itertools.product(range(y - 1, y + 2), range(x - 1, x + 2))
            if 0 <= v < size[0] and 0 <= u < size[1]
        )
        assert layout.pictures(sums)[i, y, x].item() == pytest.approx(expected, abs=1e-5)


def bilinear(size):
    """Every pixel of functions given at every second point: (h w, coarse points), by loops."""
    coarse = Layout(*size).coarser
    table = np.zeros((*size, coarse.height, coarse.width))
    for y, x, v, u in np.ndindex(*table.shape):
        table[y, x, v, u] = max(0, 1 - abs(y - 2 * v) / 2) * max(0, 1 - abs(x - 2 * u) / 2)
    return table.reshape(size[0] * size[1], -1)


@pytest.mark.parametrize("size", SIZES)
def test_a_coarse_grid_is_linear_between_its_points_and_back(size):
    layout, table = Layout(*size), bilinear(size)
    coarse_layout = layout.coarser
    coarse = torch.randn(2, coarse_layout.height, coarse_layout.width)
    field, values = laid_out(coarse_layout, coarse), layout.zeros(2, CPU)
    Prolongation(layout, coarse_layout.pictures(field), values, Scratch(CPU))()
    expected = coarse.flatten(1).numpy() @ table.T
    np.testing.assert_allclose(layout.pictures(values).flatten(1).numpy(), expected, atol=1e-6)
    fine, seen = torch.randn(2, *size), coarse_layout.zeros(2, CPU)
    Restriction(layout, laid_out(layout, fine), coarse_layout.pictures(seen), Scratch(CPU))()
    expected = fine.flatten(1).numpy() @ table
    np.testing.assert_allclose(coarse_layout.pictures(seen).flatten(1).numpy(), expected, atol=1e-5)


def test_weights_are_one_grid_for_all_channels():
    layout = Layout(6, 8)
    field = laid_out(layout.coarser, torch.ones(4, 4, 5))
    weights, values = torch.rand(2, 6, 8), layout.zeros(4, CPU)
    coarse = layout.coarser.pictures(field)
    Prolongation(layout, coarse, values, Scratch(CPU), laid_out(layout, weights))()
    torch.testing.assert_close(layout.pictures(values), weights.repeat_interleave(2, 0))


def dense(hole):
    """The system on the missing pixels by loops, zero rows elsewhere: (h w, h w)."""
    size = hole.shape
    matrix = np.zeros((*size, *size))
    for y, x in np.argwhere(hole):
        for v, u in itertools.product(range(y - 1, y + 2), range(x - 1, x + 2)):
            if 0 <= v < size[0] and 0 <= u < size[1]:
                matrix[y, x, y, x] += weight(v - y, u - x)
                matrix[y, x, v, u] -= weight(v - y, u - x) * hole[v, u]
    return matrix.reshape(hole.size, hole.size)


def table_of(stencil):
    height, width = stencil.shape[1:]
    matrix = np.zeros((height, width, height, width))
    for k, (dy, dx) in enumerate([(0, 0), (0, 1), (1, -1), (1, 0), (1, 1)]):
        for y, x in np.ndindex(height, width):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                matrix[y, x, y + dy, x + dx] = matrix[y + dy, x + dx, y, x] = stencil[k, y, x]
    return matrix.reshape(height * width, -1)


@pytest.mark.parametrize("size", SIZES)
def test_a_coarse_system_is_what_the_fine_one_does_to_its_functions(size):
    hole = torch.rand(2, *size) < 0.7
    layout = Layout(*size)
    fine = Stencil(layout, 2, CPU)
    _write_stencil(hole.float(), fine.values)
    found = fine.coarser()
    coarser = Stencil(layout.coarser, 2, CPU)
    coarser.values.copy_(found)
    twice = coarser.coarser()
    for i in range(2):
        system, down = dense(hole[i].numpy()), bilinear(size)
        np.testing.assert_allclose(table_of(fine.values[i].numpy()), system, atol=1e-6)
        system = down.T @ system @ down
        np.testing.assert_allclose(table_of(found[i].numpy()), system, atol=1e-5)
        down = bilinear((layout.coarser.height, layout.coarser.width))
        np.testing.assert_allclose(table_of(twice[i].numpy()), down.T @ system @ down, atol=1e-5)


@pytest.mark.parametrize("size", [(30, 41), (9, 12)])
def test_a_cycle_is_symmetric_and_near_the_inverse(size):
    layout = Layout(*size)
    stencil = Stencil(layout, 1, CPU)
    _write_stencil((torch.rand(1, *size) < 0.9).float(), stencil.values)
    exists = stencil.values[0, 0] > 0
    coarse = Coarse(layout, 1, 2, CPU)
    coarse.load(stencil.values)
    system = torch.from_numpy(table_of(stencil.values[0].numpy())).float()
    right = torch.randn(2, *size) * exists
    coarse.given.copy_(right)
    coarse.solve()
    found = coarse.found * exists
    torch.testing.assert_close((right[0] * found[1]).sum(), (right[1] * found[0]).sum(), rtol=1e-3, atol=1e-3)  # fmt: skip
    for _ in range(12):
        left = right - (found.flatten(1) @ system).view(right.shape)
        coarse.given.copy_(left * exists)
        coarse.solve()
        found = found + coarse.found * exists
    left = right - (found.flatten(1) @ system).view(right.shape)
    assert left.norm() < 1e-2 * right.norm()
