"""Runs that no network made: folders as `evaluate` writes them, small or large, with every kind of trouble in them."""

import numpy as np
from PIL import Image

from saliscope.boxes import Box, iou
from saliscope.frames import Frame
from saliscope.localization import find_box, has_no_box, status_of
from saliscope.runs.place import open_place
from saliscope.runs.record import Record
from saliscope.runs.settings import make_run_settings
from saliscope.runs.store import MEASURED
from saliscope.runs.tables import TABLES, frame_of, to_bytes

SIZES = [(120, 160), (160, 120), (90, 240), (200, 200), (48, 64), (480, 640)]
CLASSES = ["fox", "owl <b>of</b> snow", "tabby & co", "Ωmega dog"]
METHODS = ["cam", "grad-cam@layer4", "grad-cam@layer3", "grad-cam@layer2"]
TRIVIAL = ["random", "centre", "edges"]
GRIDS = {
    "cam": (7, 7),
    "grad-cam@layer4": (7, 7),
    "grad-cam@layer3": (14, 14),
    "grad-cam@layer2": (28, 28),
    "centre": (56, 56),
    "edges": (56, 56),
}
PROTOCOLS = ("yang2025", "cam2016")


def make_run(
    folder, images=24, *, methods=METHODS, seed=0, photos=True, wrong=4, failed=2, odd=True,
    crop=False, part=8, data=None, ids=None, classes=CLASSES, finished=True, exact=True, several=False, **settings,
):  # fmt: skip
    """Write a run and, with `photos`, the data set that it is of; returns the folder as text.

    Of `images` the last `failed` could not be read, the first `wrong` are classified wrongly. With `odd` some maps are not "ok".
    `exact`: boxes are those that the protocols find, else rough ones, for runs of thousands of images. `several`: each image has
    two classes of its own, as those of VOC and COCO do.
    """
    own = [i * len(classes) // images for i in range(images)]
    maker = _Maker(
        np.random.default_rng(seed), [*methods, *TRIVIAL], classes, own, odd, crop, exact
    )
    maker.several = several
    names = ids or [f"{classes[c].split()[0]}/p{i:04d}.png" for i, c in enumerate(own)]
    root = folder / "photos"
    if photos and data is None:
        maker.paint(root, names, bad=images - failed)
    chosen = make_run_settings(
        model="tests-net", data=data or f"folder:{root}", split="all", methods=methods,
        target="both", protocols=PROTOCOLS, pointing=("torchray",), thresholds=0, **settings,
    )  # fmt: skip
    place = open_place(folder / "run")
    for start in range(0, images, part):
        rows = {name: [] for name in TABLES}
        for i in range(start, min(start + part, images)):
            if i >= images - failed:
                maker.fail(rows, i, names[i])
            else:
                maker.add(rows, i, names[i], wrong=i < wrong)
        for name in ("maps", *MEASURED):
            measured = "" if name == "maps" else ".0000000000ab"
            if finished or name == "maps" or start == 0:
                file = f"{name}/part-all-{start:08d}-0123456789{measured}.parquet"
                place.write(file, to_bytes(frame_of(rows[name], TABLES[name])))
    _record(chosen, images + (0 if finished else 5), maker.specs).save(place)
    return str(folder / "run")


def _record(settings, count, specs):
    return Record(
        explain=settings.explaining(),
        resolved={"model": "a made network", "weights": "ab" * 32, "methods": {s: s for s in specs}, "classes": 4, "data": {"all": "cd" * 32}},
        declared=settings.declared(),
        measure=settings.measuring(),
        hash="0123456789ab",
        measured="0000000000ab",
        versions={"python": "3.11", "saliscope": "0.1.0"},
        started="2026-01-01T00:00:00+00:00",
        ended="2026-01-01T01:00:00+00:00",
        selected={"all": count},
        available={"all": count},
    )  # fmt: skip


class _Maker:
    def __init__(self, random, specs, classes, own, odd, crop, exact):
        self.random, self.specs, self.classes, self.own = random, specs, classes, own
        self.odd, self.crop, self.exact = odd, crop, exact

    def paint(self, root, names, *, bad):
        for i, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if i >= bad:
                path.write_bytes(b"no picture")
                continue
            height, width = self.size(i)
            y, x = np.mgrid[:height, :width]
            grain = self.random.normal(0, 6, (height, width, 1))
            ramp = np.stack([90 + 100 * x / width, 80 + 90 * y / height, 60 + 0 * x], axis=2)
            box = self.truth(i)
            ramp[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] += 55
            Image.fromarray(np.clip(ramp + grain, 0, 255).astype(np.uint8)).save(path)

    def size(self, i):
        return SIZES[i % len(SIZES)]

    def truth(self, i):
        height, width = self.size(i)
        dice = np.random.default_rng(1000 + i)
        x0, y0 = dice.uniform(0.05, 0.4) * width, dice.uniform(0.05, 0.4) * height
        return Box(*np.round([x0, y0, x0 + width * dice.uniform(0.3, 0.5), y0 + height * 0.45]))

    def frame(self, i):
        size = self.size(i)
        return (
            Frame.crop(size, (224, 224), shorter=256)
            if self.crop
            else Frame.squash(size, (224, 224))
        )

    def grid(self, spec, i, target):
        height, width = GRIDS.get(spec, (7, 7))
        if spec == "centre":
            y, x = np.mgrid[:height, :width]
            return np.exp(-((x - width / 2) ** 2 + (y - height / 2) ** 2) / 90).astype(np.float32)
        if self.odd and spec == "grad-cam@layer2":
            flat = {1: 0.0, 2: 3.0, 3: np.nan}
            if i in flat:
                return np.full((height, width), flat[i], np.float32)
        box, (h, w) = self.truth(i), self.size(i)
        y, x = np.mgrid[:height, :width] + 0.5
        cx, cy = (box.x0 + box.x1) / 2 / w * width, (box.y0 + box.y1) / 2 / h * height
        spread = width / (4 + 2 * self.specs.index(spec))
        shift = self.random.normal(0, 0.06 * width, 2)
        heat = np.exp(-((x - cx - shift[0]) ** 2 + (y - cy - shift[1]) ** 2) / (2 * spread**2))
        return (
            heat * 5 - 0.2 + self.random.normal(0, 0.04 * (1 + self.specs.index(spec)), heat.shape)
        ).astype(np.float32)

    def fail(self, rows, i, name):
        key = {
            "id": name,
            "index": i,
            "split": "all",
            "status": "failed",
            "message": f"{name} is not a picture that can be read <{i}>",
        }
        rows["maps"].append(dict(key))
        rows["images"].append(key | {"class": self.classes[self.own[i]]})

    def add(self, rows, i, name, *, wrong):
        own = self.own[i]
        predicted = (own + 1) % len(self.classes) if wrong else own
        box, frame = self.truth(i), self.frame(i)
        base = {"id": name, "index": i, "split": "all"}
        single = {"class": self.classes[own], "truth": own, "correct": not wrong}
        rows["images"].append(
            base | ({} if self.several else single) | {"predicted": predicted, "status": "ok",
                    "height": frame.source[0], "width": frame.source[1], "instances": 1, "share": 0.2, "boxes": list(box), "masks": []}
        )  # fmt: skip
        second = [(own + 2) % len(self.classes)] if self.several else []
        for target in dict.fromkeys([own, *second, predicted]):
            key = base | {
                "target": target,
                "rank": int(target != predicted),
                "is_truth": target in (own, *second),
            }
            whole = Box(0, 0, frame.source[1], frame.source[0])
            self.score(rows, key | {"spec": "full-box"}, {"iou": iou(whole, box)}, "box")
            for spec in self.specs:
                self.map(rows, key | {"spec": spec}, i, frame, box, predicted)

    def map(self, rows, key, i, frame, box, predicted):
        grid = self.grid(key["spec"], i, key["target"])
        status = status_of(grid)
        rows["maps"].append(
            key | {"method": key["spec"].partition("@")[0], "layer": key["spec"].partition("@")[2] or None,
                   "label": self.classes[key["target"]], "space": "logit", "logit": 4.0, "probability": round(0.9 - 0.02 * (i % 20), 3),
                   "truth": self.own[i], "predicted": predicted, "status": status, "map": grid.ravel(),
                   "height": grid.shape[0], "width": grid.shape[1], "source_height": frame.source[0], "source_width": frame.source[1],
                   "region": list(frame.region), "input_height": 224, "input_width": 224, "seconds": 0.01}
        )  # fmt: skip
        for protocol in PROTOCOLS:
            found = self.box(grid, frame, status, protocol, box)
            corners = dict(zip(("x0", "y0", "x1", "y1"), found or (None,) * 4, strict=True))
            rows["boxes"].append(key | {"protocol": protocol, **corners})
            value = 0.0 if found is None else iou(found, box)
            self.score(rows, key, {"iou": value}, protocol)
        dull = status != "ok"
        share = float("nan") if dull else float(self.random.beta(4, 4))
        self.score(rows, key, {"energy": share, "enrichment": share * 4}, "boxes")
        self.score(rows, key, {"pointing": 0.0 if dull else float(share > 0.4)}, "torchray-15px")

    def box(self, grid, frame, status, protocol, truth):
        if has_no_box(status):
            return None
        if self.exact:
            return find_box(frame.map_to_source(grid), protocol)
        moved = np.array(list(truth)) + self.random.normal(0, 12, 4)
        return Box(*moved[:2], *np.maximum(moved[2:], moved[:2] + 1)).clip(frame.source)

    def score(self, rows, key, values, protocol):
        rows["scores"] += [
            key | {"metric": m, "protocol": protocol, "value": v} for m, v in values.items()
        ]
