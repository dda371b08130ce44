"""Filling in what ROAD removes: all masks in one batched solve, against one scipy.sparse.linalg.spsolve a mask.

    python benchmarks/road.py [--rounds 5] [--size 224] [--images 2] [--device cuda] [--json FILE]

Two kinds of heat, smooth blobs as class activation maps are and independent noise, hottest 10 % to 90 % of the pixels
removed, three channels. The direct solve assembles its matrix without loops and factorises once for all channels. Both
sides run in turn, medians of rounds; each share also alone. The largest difference is relative to the values' range.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from saliscope.bench import interleaved, machine
from saliscope.metrics.imputation import impute
from saliscope.metrics.order import removal_ranks, share_removed
from saliscope.metrics.road_curves import SHARES

NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def direct(image: NDArray[np.float64], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The same system by SuperLU."""
    ys, xs = np.nonzero(missing)
    height, width = missing.shape
    number = np.full(missing.shape, -1)
    number[ys, xs] = np.arange(len(ys))
    diagonal, known = np.zeros(len(ys)), np.zeros((len(ys), len(image)))
    rows, columns, values = [], [], []
    for dy, dx in NEIGHBOURS:
        weight = 1 / 6 if dy * dx == 0 else 1 / 12
        y, x = ys + dy, xs + dx
        inside = np.flatnonzero((y >= 0) & (y < height) & (x >= 0) & (x < width))
        y, x = y[inside], x[inside]
        diagonal[inside] += weight
        gone = missing[y, x]
        rows.append(inside[gone])
        columns.append(number[y[gone], x[gone]])
        values.append(np.full(gone.sum(), -weight))
        known[inside[~gone]] += weight * image[:, y[~gone], x[~gone]].T
    every = np.arange(len(ys))
    place = (np.concatenate([*rows, every]), np.concatenate([*columns, every]))
    system = sparse.csc_matrix((np.concatenate([*values, diagonal]), place))
    filled = image.copy()
    filled[:, ys, xs] = spsolve(system, known).reshape(len(ys), -1).T
    return filled


def pictures(count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(count, 3, n, n, generator=generator) for n in (7, 28, size)]
    shown = [F.interpolate(p, (size, size), mode="bicubic") for p in parts]
    return shown[0] + 0.5 * shown[1] + 0.1 * shown[2]


def heat(kind: str, count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if kind == "noise":
        return torch.rand(count, size, size, generator=generator)
    cells = torch.rand(count, 1, 7, 7, generator=generator).square()
    return F.interpolate(cells, (size, size), mode="bilinear").squeeze(1)


def compare(kind: str, shares: list[float], options: argparse.Namespace) -> dict[str, object]:
    """Time and difference over images x shares masks of one kind."""
    images = pictures(options.images, options.size)
    ranks = removal_ranks(heat(kind, options.images, options.size), images)
    gone = torch.cat([share_removed(ranks, share) for share in shares])
    many = images.repeat(len(shares), 1, 1, 1)
    there = many.to(options.device), gone.to(options.device)
    exact, masks = many.double().numpy(), gone.numpy()

    def ours() -> Tensor:
        return impute(*there).cpu()

    def theirs() -> list[NDArray[np.float64]]:
        return [direct(image, mask) for image, mask in zip(exact, masks, strict=True)]

    difference = np.abs(ours().numpy() - np.stack(theirs())).max() / float(np.ptp(exact))
    one, all_ = interleaved({"scipy": theirs, "ours": ours}, rounds=options.rounds, warmup=1)
    each = {t.name: 1e3 * t.seconds / len(many) for t in (one, all_)}
    ratio = one.seconds / all_.seconds
    print(
        f"{kind:6s} {shares[0]:.0%} to {shares[-1]:.0%}: scipy {each['scipy']:7.1f} ms a mask, "
        f"ours {each['ours']:6.2f} ms, {ratio:6.1f} x, difference {difference:.1e}"
    )
    return {"kind": kind, "shares": shares, "ms": each, "ratio": ratio, "difference": difference}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine())
    found = []
    for kind in ("blobs", "noise"):
        found.append(compare(kind, list(SHARES), options))
        found += [compare(kind, [share], options) for share in (0.1, 0.5, 0.9)]
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": found}, indent=2))


if __name__ == "__main__":
    main()
