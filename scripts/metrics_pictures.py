"""Draw the pictures of docs/metrics.md: `python scripts/metrics_pictures.py [NAME ...]`.

Each shows what a metric looks at, on generated critters with critternet; the numbers in them are computed as drawn.
"""

import sys
from pathlib import Path

from metric_drawings import agree, places, stays, truth
from metric_drawings.panels import DRAWINGS, save

FOLDER = Path(__file__).parents[1] / "docs/images/metrics"
PARTS = (places, truth, stays, agree)  # importing them fills DRAWINGS


def main() -> None:
    chosen = sys.argv[1:] or list(DRAWINGS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.png"):
        if old.stem not in DRAWINGS:
            old.unlink()
    for name in chosen:
        save(DRAWINGS[name](), FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
