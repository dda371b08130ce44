"""Make docs/images/compare.png: `python scripts/readme_picture.py [WEIGHTS]`.

The photograph is the portrait of Grace Hopper that matplotlib ships (a work of the US Navy, public domain). WEIGHTS is a
file of ImageNet weights for MobileNetV2 with "same" padding, trained on pixels in [-1, 1]; without it, timm's published
weights are downloaded.
"""

import sys
from pathlib import Path

from matplotlib.cbook import get_sample_data
from PIL import Image

import saliscope as sc
from saliscope.models import Preprocessing
from saliscope.report import save_figure

METHODS = ("cam", "grad-cam@blocks.4.2", "grad-cam@bn2", "centre")
# Uniform and cap, drawn by hand for this picture: half-open pixels of the 512 x 600 photograph.
UNIFORM = sc.Box(48, 30, 512, 600)
HALF = (0.5, 0.5, 0.5)


def load(weights: str | None) -> sc.Model:
    if weights is None:
        return sc.load_model("timm:mobilenetv2_100")
    preprocessing = Preprocessing((224, 224), HALF, HALF, "squash")
    return sc.load_model("timm:mobilenetv2_100:pad_type=same", weights, preprocessing=preprocessing)


def main() -> None:
    model = load(sys.argv[1] if len(sys.argv) > 1 else None)
    photograph = get_sample_data("grace_hopper.jpg", asfileobj=False)
    for _ in range(
        2
    ):  # the first call prepares the network; the seconds shown are those of the second
        comparison = sc.compare(
            model,
            photograph,
            METHODS,
            truth=UNIFORM,
            target="military uniform",
            protocol="cam2016:threshold=0.4",
        )
    target = Path(__file__).parents[1] / "docs" / "images" / "compare.png"
    target.parent.mkdir(exist_ok=True)
    save_figure(comparison.figure(), target, dpi=130)
    with Image.open(target) as picture:
        small = picture.convert("RGB").quantize(256, kmeans=3)  # a third of the bytes
    small.save(target, optimize=True)


if __name__ == "__main__":
    main()
