"""The pictures of a page as data: photographs, maps, boxes and scores of the chosen images, each in a block of its own."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from saliscope.pictures import TRUTH_COLOUR, colour_table
from saliscope.report.gallery import Group, Pick
from saliscope.report.grids import pack_grid
from saliscope.report.material import Material
from saliscope.report.study.parts import read_parts
from saliscope.report.thumbnails import LONGEST, Photographs, thumbnail, thumbnail_size

__all__ = ["Payload", "make_payload"]


@dataclass(frozen=True)
class Payload:
    """What the page's script draws: `meta` for all pictures, `images` one by one, and the maps that several of them share.

    `problem` says why photographs are missing.
    """

    meta: dict[str, Any]
    images: list[dict[str, Any]]
    grids: list[dict[str, Any]]
    problem: str | None = None


def make_payload(
    material: Material,
    groups: Sequence[Group],
    photographs: Sequence[Photographs] | None,
    *,
    longest: int = LONGEST,
) -> Payload:
    """Gather the images of all groups, each once, in the order of the data. `photographs`, one a run, or None for none."""
    names = dict.fromkeys(pick.id for group in groups for pick in group.picks)
    rows = material.images.filter(pl.col("id").is_in(list(names)))
    maps = _maps(material, rows["id"].to_list(), longest)
    images = []
    for row in rows.iter_rows(named=True):
        image = _image(material, row, maps.get(row["id"], []), longest)
        if photographs is not None and row["status"] == "ok":
            pixels = photographs[row["run"]].read(row["split"], row["index"], row["id"])
            image["photo"] = None if pixels is None else thumbnail(pixels, longest)
        images.append(image)
    problem = next((p.problem for p in photographs or () if p.problem), None)
    meta = _meta(material) | {"groups": _groups(groups, images)}
    return Payload(meta, images, _share_grids(images), problem)


def _meta(material: Material) -> dict[str, Any]:
    return {
        "sources": [
            {
                "label": s.label,
                "colour": list(s.colour),
                "trivial": s.trivial,
                "drawn": s.drawn,
                "run": s.run,
            }
            for s in material.sources
        ],
        "reference": material.reference,
        "metrics": [{"label": m.label, "binary": m.binary} for m in material.metrics],
        "protocols": _protocols(material),
        "truthColour": list(TRUTH_COLOUR),
        "colours": b64encode(colour_table().tobytes()).decode(),
    }


def _groups(groups: Sequence[Group], images: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups, their picks as [number of the image, number of the class in it or None, number of the method or None]."""
    place = {image["id"]: number for number, image in enumerate(images)}

    def pick(one: Pick) -> list[int | None]:
        number = place[one.id]
        targets = [t["name"] for t in images[number].get("targets", ())]
        target = targets.index(one.target) if one.target in targets else None
        return [number, target, one.source]

    return [
        {
            "key": g.key,
            "panes": g.panes,
            "other": g.other,
            "lead": g.lead,
            "picks": list(map(pick, g.picks)),
        }
        for g in groups
    ]


def _protocols(material: Material) -> list[str]:
    """The box protocols, that of the primary score first."""
    known = dict.fromkeys(p for run in material.runs for p in run.settings.protocols)
    return sorted(known, key=lambda name: name != material.primary.protocol)


def _image(
    material: Material, row: Mapping[str, Any], maps: list[dict[str, Any]], longest: int
) -> dict[str, Any]:
    """What is known of an image; each of its `maps` brings the class that it is of, and there its number stays."""
    base: dict[str, Any] = {
        "id": row["id"],
        "class": row["class"],
        "status": row["status"],
        "message": row["message"],
        "photo": None,
    }
    if row["status"] != "ok":
        return base
    size = (row["height"], row["width"])
    corners = [round(v, 2) for v in row["boxes"] or ()]
    targets: dict[str, dict[str, Any]] = {}
    for one in maps:
        about = one.pop("about")
        target = targets.setdefault(
            about["name"], {"name": about["name"], "truth": False, "ranks": {}, "shares": {}}
        )
        target["truth"] |= about["truth"]
        target["ranks"][about["run"]] = about["rank"]
        target["shares"][about["run"]] = about["share"]
        one["target"] = list(targets).index(about["name"])
    return base | {
        "size": list(size),
        "thumb": list(thumbnail_size(size, longest)),
        "boxes": [corners[i : i + 4] for i in range(0, len(corners), 4)],
        "correct": row["correct"],
        "predicted": material.label(row["run"], row["predicted"]),
        "targets": list(targets.values()),
        "maps": maps,
    }


def _maps(
    material: Material, names: Sequence[str], longest: int
) -> dict[str, list[dict[str, Any]]]:
    """The maps of some images, by id, with boxes and scores; maps of true classes first."""
    place = {(s.run, s.spec): number for number, s in enumerate(material.sources) if s.drawn}
    boxes = _boxes(material, names)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in material.stored(material.maps.filter(pl.col("id").is_in(names))):
        key = (row["run"], row["spec"])
        if key not in place:  # another run's maps of a method that knows no network
            continue
        size = (row["source_height"], row["source_width"])
        small = thumbnail_size(size, longest)
        scale = (small[1] / size[1], small[0] / size[0]) * 2
        grid = np.array(row["map"], np.float32).reshape(row["height"], row["width"])
        share = row["probability"]
        found.setdefault(row["id"], []).append(
            {
                "source": place[key],
                "status": row["status"],
                "grid": pack_grid(grid),
                "region": [v * s for v, s in zip(row["region"], scale, strict=True)],
                "boxes": boxes.get((*key, row["id"], row["target"]), {}),
                "scores": material.scores_of(*key, row["id"], row["target"]),
                "about": {
                    "name": material.label(row["run"], row["target"]) or "target",
                    "truth": bool(row["is_truth"]),
                    "run": row["run"],
                    "rank": row["rank"],
                    "share": None if share is None or math.isnan(share) else round(share, 5),
                },
            }
        )
    for maps in found.values():
        maps.sort(key=lambda m: (not m["about"]["truth"], m["about"]["name"], m["source"]))
    return found


def _boxes(material: Material, names: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The boxes that protocols found, by run, method, image and class, then by protocol; None where there is no box."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    columns = ("id", "spec", "target", "protocol", "x0", "y0", "x1", "y1")
    for number, run in enumerate(material.runs):
        for part in read_parts(run, "boxes", (*columns, "split")):
            own = part.filter(pl.col("id").is_in(names), pl.col("split") == run.settings.split)
            for name, spec, target, protocol, *corners in own.select(columns).iter_rows():
                box = None if corners[0] is None else [round(v, 2) for v in corners]
                found.setdefault((number, spec, name, target), {})[protocol] = box
    return found


def _share_grids(images: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take out maps that several images have alike (those of "centre"), and put the number of the shared one in their place."""
    seen: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for image in images:
        for one in image.get("maps", ()):
            seen.setdefault(tuple(one["grid"].values()), []).append(one)
    shared: list[dict[str, Any]] = []
    for owners in seen.values():
        if len(owners) > 1:
            grid = owners[0]["grid"]
            for one in owners:
                one["grid"] = len(shared)
            shared.append(grid)
    return shared
