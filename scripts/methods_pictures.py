"""Draw the pictures of docs/methods.md: `python scripts/methods_pictures.py`.

One critter, critternet, every method that applies at its recommended layer: photograph, and the map laid over it.
"""

from pathlib import Path

from PIL import Image

from saliscope import load_model, open_data
from saliscope.every import explain_every

FOLDER = Path(__file__).parents[1] / "docs/images/methods"
SIDE = 200


def main() -> None:
    sample = open_data("critters", split="test")[3]
    photo = sample.photo()
    every = explain_every(load_model("critternet"), photo, target=sample.label)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.jpg"):
        old.unlink()
    for found in every.found:
        rule = "percentile" if found.explanation.per_pixel else "min-max"
        pictures = [Image.fromarray(photo.pixels), found.explanation.overlay(normalise=rule)]
        sheet = Image.new("RGB", (2 * SIDE + 8, SIDE), "white")
        for place, picture in enumerate(pictures):
            sheet.paste(
                picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (place * (SIDE + 8), 0)
            )
        name = found.explanation.method.partition(":")[0]
        sheet.save(FOLDER / f"{name}.jpg", quality=85)


if __name__ == "__main__":
    main()
