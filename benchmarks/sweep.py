"""The sweep against one contour search a threshold: `python benchmarks/sweep.py [--thresholds 1000] [--rounds 5]`.

Interleaved in one process with one thread. Both find, at every threshold, the largest part's box and how well it and the best
of all parts fit an annotated box. The loop takes OpenCV's outer contours, the largest by contour area (the sweep counts
pixels), and compares all boxes at once. Maps are random grids brought to the image, as heatmaps are, and plain noise.

`--check 10000` compares that many random maps (upsampled, noise, rounded, cropped) with OpenCV's connected components at 20
thresholds each instead: number of parts, pixels and box of the largest, best IoU of all. `--real FOLDER` compares the
heatmaps of the photographs in a folder so (`--model`, `--weights`, `--method` as in `saliscope explain`), normalised by
min-max and by the maximum, and says how long a whole sweep of one takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from saliscope.api import explain
from saliscope.bench import interleaved, machine
from saliscope.boxes import Box, best_iou
from saliscope.finding import find_images
from saliscope.frames import Frame
from saliscope.localization import even_grid, normalise, sweep_boxes
from saliscope.localization.components import largest_component
from saliscope.localization.normalise import finite_range, is_constant
from saliscope.models import Model, load_model

TRUTH = Box(40, 30, 170, 190)


def contour_loop(heat: NDArray[np.float32], thresholds: NDArray[np.float32]) -> list[float]:
    found = []
    truth = np.array(list(TRUTH))
    for threshold in thresholds:
        mask = (heat >= threshold).view(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if not outlines:
            found.append(0.0)
            continue
        boxes = np.array([cv2.boundingRect(outline) for outline in outlines], np.float64)
        boxes[:, 2:] += boxes[:, :2]
        max(outlines, key=cv2.contourArea)
        sides = np.minimum(boxes[:, 2:], truth[2:]) - np.maximum(boxes[:, :2], truth[:2])
        both = np.maximum(sides, 0).prod(axis=1)
        found.append(
            float((both / ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + TRUTH.area - both)).max())
        )
    return found


def heatmap(cells: int, size: tuple[int, int]) -> NDArray[np.float32]:
    random = np.random.default_rng(cells)
    if not cells:
        return random.random(size, dtype=np.float32)
    grid = random.random((cells, cells)).astype(np.float32)
    return normalise(Frame.squash(size, (224, 224)).map_to_source(grid))


def random_map(random: np.random.Generator) -> NDArray[np.float32]:
    size = (int(random.integers(1, 80)), int(random.integers(1, 80)))
    kind = random.integers(4)
    if kind == 0:
        return random.random(size, dtype=np.float32)
    cells = int(random.integers(2, 15))
    grid = random.standard_normal((cells, cells)).astype(np.float32)
    if kind == 1:
        frame = Frame.crop(size, (32, 32), shorter=36)
        return normalise(frame.map_to_source(grid))
    heat = normalise(Frame.squash(size, (32, 32)).map_to_source(grid), "max")
    return heat if kind == 2 else np.round(heat, 1)


def check(count: int) -> int:
    """How many of the random maps differ from OpenCV's connected components anywhere."""
    random = np.random.default_rng(0)
    truth = [TRUTH, Box(3, 4, 30, 21.5)]
    return sum(differs(random_map(random), np.sort(random.random(20)), truth) for _ in range(count))


def real_maps(
    model: Model, folder: str, methods: Sequence[str], images: int
) -> Iterator[tuple[NDArray[np.float32], bool]]:
    """Heatmaps of photographs, and whether they are compared strictly, as the protocols of that rule do."""
    paths = find_images([folder])
    for path in paths[:: max(len(paths) // images, 1)][:images]:  # from every class
        for method in methods:
            signed = explain(model, path, method).signed()
            yield normalise(signed, "min-max"), False
            yield normalise(signed, "max"), True


def check_real(maps: Iterator[tuple[NDArray[np.float32], bool]], count: int) -> str:
    """How many of the maps differ from OpenCV's connected components, and the time of a whole sweep."""
    random = np.random.default_rng(0)
    grid = even_grid(count).astype(np.float32)
    differing, seconds = 0, []
    for heat, strict in maps:
        height, width = heat.shape
        truth = [Box(0.2 * width, 0.1 * height, 0.7 * width, 0.9 * height), TRUTH]
        differing += differs(heat, np.sort(random.random(20)), truth, strict=strict)
        begin = time.perf_counter()
        sweep_boxes(heat, grid, truth=truth, strict=strict)
        seconds.append(time.perf_counter() - begin)
    return (
        f"{differing} of {len(seconds)} heatmaps differ from connected components; a sweep of {count} thresholds takes "
        f"{np.mean(seconds) * 1e3:.1f} ms on average, {np.median(seconds) * 1e3:.1f} ms in the median"
    )


def differs(
    heat: NDArray[np.float32],
    thresholds: NDArray[np.float64],
    truth: list[Box],
    *,
    strict: bool = False,
) -> bool:
    found = sweep_boxes(heat, thresholds, truth=truth, strict=strict)
    flat = is_constant(*finite_range(heat))
    for i, threshold in enumerate(thresholds.astype(np.float32)):
        above = heat > threshold if strict else heat >= threshold
        mask = above.astype(np.uint8) * (not flat)
        parts = cv2.connectedComponentsWithStats(mask, connectivity=8)[2][1:]
        largest = largest_component(mask, heat)
        best = max((best_iou(Box.from_xywh(*part[:4]), truth) for part in parts), default=0.0)
        expected = (
            len(parts),
            max(parts[:, cv2.CC_STAT_AREA], default=0),
            Box(*largest.bounds) if largest else None,
            best,
        )
        if expected != (found.components[i], found.pixels[i], found.box(i), found.best_iou[i]):
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thresholds", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", type=int, default=0)
    parser.add_argument("--real", metavar="FOLDER")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--model", default="critternet")
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--method", action="append", help="cam and grad-cam unless given; repeat")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.real:
        model = load_model(options.model, options.weights)
        methods = options.method or ["cam", "grad-cam"]
        print(machine())
        print(
            check_real(real_maps(model, options.real, methods, options.images), options.thresholds)
        )
        return
    if options.check:
        print(f"{check(options.check)} of {options.check} maps differ from connected components")
        return
    thresholds = even_grid(options.thresholds).astype(np.float32)
    print(f"{options.thresholds} thresholds a map; {machine()}")
    for size in ((224, 224), (375, 500)):
        seconds = {}
        for cells in (7, 14, 28, 56, 0):
            heat = heatmap(cells, size)
            ours, loop = interleaved(
                {
                    "sweep": lambda heat=heat: sweep_boxes(heat, thresholds, truth=[TRUTH]),
                    "contours": lambda heat=heat: contour_loop(heat, thresholds),
                },
                rounds=options.rounds,
                warmup=1,
            )
            seconds[cells] = ours.seconds
            name = f"{cells} x {cells} grid" if cells else "noise"
            print(
                f"{size[0]} x {size[1]}  {name:13s} {ours.seconds * 1e3:7.1f} ms  contour loop {loop.seconds * 1e3:8.1f} ms"
                f"  ratio {loop.ratio:5.1f} ({loop.spread[0]:.1f} to {loop.spread[1]:.1f})"
            )
        mean = np.mean([seconds[cells] for cells in (7, 7, 7, 14, 28, 56)])
        print(
            f"{size[0]} x {size[1]}  three 7 x 7, one each of 14, 28, 56: {mean * 1e3:.1f} ms a map"
        )


if __name__ == "__main__":
    main()
