"""Make docs/images/critters.jpg: `python scripts/critters_picture.py`."""

from pathlib import Path

import numpy as np
from PIL import Image

from saliscope.data import open_data

CHOSEN = (25, 46, 34, 3, 38, 22, 8, 12)
GAP = 6


def main() -> None:
    data = open_data("critters:size=224", "train")
    pictures = [
        np.pad(data[i].photo().pixels, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255)
        for i in CHOSEN
    ]
    rows = [np.hstack(pictures[at : at + 4])[:, GAP:] for at in (0, 4)]
    target = Path(__file__).parents[1] / "docs" / "images" / "critters.jpg"
    sheet = Image.fromarray(np.vstack(rows)[GAP:])
    sheet.save(target, quality=88, subsampling=0)


if __name__ == "__main__":
    main()
