"""How many critters one core draws a second: `python benchmarks/critters.py [COUNT]`.

At 160 pixels, with one thread; the median of five rounds over different samples, for the pictures with their boxes and for
pictures with all masks.
"""

import statistics
import sys
import time

import cv2

from saliscope.bench import machine
from saliscope.data import DataSet, open_data


def rate(data: DataSet, start: int, count: int, *, masks: bool) -> float:
    begin = time.perf_counter()
    for i in range(start, start + count):
        sample = data[i]
        if masks:
            sample.masks()
    return count / (time.perf_counter() - begin)


def main() -> None:
    cv2.setNumThreads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    data = open_data("critters:count=100000", "train")
    rate(data, 0, 20, masks=True)
    print(machine())
    for name, masks in (("pictures and boxes", False), ("with all masks", True)):
        rates = [rate(data, 1000 * r, count, masks=masks) for r in range(5)]
        print(
            f"{name:20s} {statistics.median(rates):6.0f} a second ({min(rates):.0f} to {max(rates):.0f})"
        )


if __name__ == "__main__":
    main()
