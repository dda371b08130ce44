"""One picture: who stands where before which background, and the masks of it all."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box
from saliscope.data.critters.anatomy import animal
from saliscope.data.critters.breeds import Breed
from saliscope.data.critters.clutter import Thing, draw_things, paint, thing_mask
from saliscope.data.critters.dice import Dice
from saliscope.data.critters.drawing import (
    FINE,
    Animal,
    Placement,
    extent,
    part_masks,
    rasterise,
)
from saliscope.data.critters.pose import Colours, Pose, draw_colours, draw_pose
from saliscope.data.critters.scene import Light, draw_light, draw_place, horizon_of, lit, textured
from saliscope.data.critters.tag import Tag, paint_tag, tag_mask

__all__ = ["Figure", "Scene", "box_of", "draw", "draw_scene", "masks_of", "with_twin"]

SMALLEST, LARGEST = 0.10, 0.70
"""The share of the image that the box of a single animal covers."""

Masks = dict[str, NDArray[np.bool_]]
Extent = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Figure:
    """One animal of a scene. `window` holds it and the twin that could stand in its place, x0, y0, x1, y1 in pixels."""

    breed: Breed
    pose: Pose
    colours: Colours
    place: Placement
    window: tuple[int, int, int, int]
    stream: str

    @cached_property
    def drawn(self) -> Animal:
        """The animal in its window, drawn when it is first asked for: the picture, the box and the masks share it."""
        shapes = animal(self.breed.kinds, self.pose)
        return rasterise(shapes, self.pose, self.colours, self.place, window=self.window)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "drawn"}


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that a picture shows, before it is drawn."""

    size: tuple[int, int]
    words: tuple[object, ...]
    figures: tuple[Figure, ...]
    things: tuple[Thing, ...]
    light: Light
    tag: Tag | None = None


def draw_scene(
    words: tuple[object, ...], breeds: tuple[Breed, ...], size: int, *, tag: Tag | None = None
) -> Scene:
    """Draw the scene that `words` (seed, split, number) name, with one animal or two of the given breeds.

    Nothing but the part itself depends on which of two twins is asked for.
    """
    sides = (size, size)
    horizon = horizon_of(Dice(*words, "place"), sides)
    figures = []
    for number, breed in enumerate(breeds):
        stream = f"animal {number}"
        room = _room(words, number, len(breeds), size)
        figures.append(
            _figure(Dice(*words, stream), breed, room, (size, horizon), stream, len(breeds))
        )
    things = tuple(draw_things(Dice(*words, "things"), sides, horizon))
    return Scene(sides, words, tuple(figures), things, draw_light(Dice(*words, "light")), tag)


def with_twin(scene: Scene) -> Scene:
    """The same scene with the first animal's twin in its place."""
    first = replace(scene.figures[0], breed=scene.figures[0].breed.twin)
    return replace(scene, figures=(first, *scene.figures[1:]))


def _room(words: tuple[object, ...], number: int, count: int, size: int) -> Extent:
    """Where an animal may stand: the whole image, or its own side of it."""
    if count == 1:
        return 1.0, 1.0, size - 1.0, size - 1.0
    side = number ^ int(Dice(*words, "sides").chance(0.5))
    middle = size / 2
    return (1.0, 1.0, middle, size - 1.0) if side == 0 else (middle, 1.0, size - 1.0, size - 1.0)


def _figure(
    dice: Dice, breed: Breed, room: Extent, ground: tuple[int, int], stream: str, count: int
) -> Figure:
    """Draw an animal that fits into `room`; `ground` is the side of the image and the row of its horizon."""
    size, horizon = ground
    pose, colours = draw_pose(dice), draw_colours(dice)
    # Both twins have to fit, and to keep to the shares, since the picture may not tell which it is.
    both = [extent(animal(b.kinds, pose), pose) for b in (breed, breed.twin)]
    (x0, y0), (x1, y1) = np.min(both, axis=0)[:2], np.max(both, axis=0)[2:]
    fits = min((room[2] - room[0]) / (x1 - x0), (room[3] - room[1]) / (y1 - y0))
    scale = _scale(dice, both, fits, size, count)
    x = dice.uniform(room[0] - scale * x0, room[2] - scale * x1)
    lowest = room[3] - scale * y1
    feet = scale * (max(y for _, y in pose.ankles) + pose.leg_width)
    y = dice.uniform(min(lowest, max(room[1] - scale * y0, horizon + 3 - feet)), lowest)
    window = (
        max(0, math.floor(x + scale * x0) - 1),
        max(0, math.floor(y + scale * y0) - 1),
        min(size, math.ceil(x + scale * x1) + 1),
        min(size, math.ceil(y + scale * y1) + 1),
    )
    return Figure(breed, pose, colours, Placement(scale, x, y), window, stream)


def _scale(dice: Dice, both: list[Extent], fits: float, size: int, count: int) -> float:
    """Pixels to a body length: any size between the smallest and the largest, or nearly what the room holds."""
    share = dice.unit()
    if count > 1:
        return fits * (0.75 + 0.25 * share)
    areas = [(e[2] - e[0]) * (e[3] - e[1]) for e in both]
    smallest = 1.03 * size * (SMALLEST / min(areas)) ** 0.5
    largest = min(fits, 0.97 * size * (LARGEST / max(areas)) ** 0.5)
    return float(min(fits, smallest + (largest - smallest) * share))


def draw(scene: Scene) -> NDArray[np.uint8]:
    """Draw a scene: uint8 (H, W, 3), RGB."""
    picture = draw_place(Dice(*scene.words, "place"), scene.size)
    for thing in scene.things:
        paint(picture, thing)
    for figure in scene.figures:
        _shadow(picture, figure)
    for figure in scene.figures:
        _stand(picture, figure, scene)
    found = lit(picture, scene.light)
    if scene.tag is not None:
        paint_tag(found, scene.tag)
    return found


def _shadow(picture: NDArray[np.uint8], figure: Figure) -> None:
    pose, place = figure.pose, figure.place
    foot = place.y + place.scale * (max(y for _, y in pose.ankles) + pose.leg_width)
    axes = (round(place.scale * 0.62), max(2, round(place.scale * 0.10)))
    centre = (round(place.x + place.scale * 0.12 * figure.colours.light[0]), round(foot))
    x0, x1 = max(0, centre[0] - axes[0]), centre[0] + axes[0] + 1
    y0, y1 = max(0, centre[1] - axes[1]), centre[1] + axes[1] + 1
    part = picture[y0:y1, x0:x1]
    if part.size:
        shade = np.zeros(part.shape[:2], np.uint8)
        cv2.ellipse(shade, (centre[0] - x0, centre[1] - y0), axes, 0, 0, 360, 90, -1, cv2.LINE_AA)
        part[...] = (part * (255 - shade[..., None].astype(np.uint16)) // 255).astype(np.uint8)


def _stand(picture: NDArray[np.uint8], figure: Figure, scene: Scene) -> None:
    """Lay an animal over a picture, in place: fur and light first, then by how much of each pixel it covers."""
    drawn = figure.drawn
    fine = drawn.fine
    size = (fine.shape[1] // FINE, fine.shape[0] // FINE)
    cover = cv2.resize(
        (fine[..., 3] > 0).view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA
    )
    colour = np.ascontiguousarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA)[..., :3])
    textured(colour, Dice(*scene.words, figure.stream, "fur"), 0.28)
    _shade(colour, figure)
    part = picture[drawn.window]
    behind = part * (255 - cover[..., None].astype(np.uint16)) // 255
    part[...] = np.minimum(behind + colour, 255).astype(np.uint8)


def _shade(colour: NDArray[np.uint8], figure: Figure) -> None:
    """Brighten the side towards the light, darken the other, in place."""
    height, width = colour.shape[:2]
    dx, dy = figure.colours.light
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(0.30 * dx)
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(0.40 * dy)
    gain = np.rint((1 + across[None] + down[:, None]) * 128).astype(np.uint8)
    cv2.multiply(colour, cv2.merge([gain, gain, gain]), dst=colour, scale=1 / 128)


def box_of(figure: Figure, scene: Scene) -> Box:
    """The tight box of an animal: every pixel in which it is visible at all, before whatever tag."""
    drawn = figure.drawn
    height, width = (side // FINE for side in drawn.fine.shape[:2])
    points = drawn.fine[..., 3].reshape(height, FINE, width, FINE)
    seen: NDArray[np.bool_] = points.max(axis=(1, 3)).astype(np.bool_)
    if scene.tag is not None:
        seen &= ~tag_mask(scene.tag, scene.size)[drawn.window]
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    x, y = drawn.corner
    return Box(x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1)


def masks_of(scene: Scene) -> Masks:
    """All masks of a scene; see `Critters`."""
    covered = np.zeros(scene.size, np.bool_)
    over = tag_mask(scene.tag, scene.size) if scene.tag is not None else covered
    found: Masks = {}
    for number, figure in reversed(list(enumerate(scene.figures))):
        own = _figure_masks(figure, scene.size, ~over)
        covered |= own["body"]
        prefix = f"{number}/" if len(scene.figures) > 1 else ""
        found |= {prefix + name: mask for name, mask in own.items()}
        if number == 0 and prefix:
            found |= own
    free = ~(covered | over)
    found |= _thing_masks(scene, free)
    if scene.tag is not None:
        found["tag"] = over
    return found


def _figure_masks(figure: Figure, size: tuple[int, int], free: NDArray[np.bool_]) -> Masks:
    parts = part_masks(figure.drawn, size)
    twin = part_masks(replace(figure, breed=figure.breed.twin).drawn, size)
    slot = figure.breed.twin_slot
    found = {name: mask & free for name, mask in parts.items()}
    found["evidence"] = np.logical_or.reduce([found[s] for s, _ in figure.breed.evidence])
    found["twin"] = (parts[slot] | twin[slot]) & free
    return found


def _thing_masks(scene: Scene, free: NDArray[np.bool_]) -> Masks:
    found: Masks = {}
    everything = np.zeros(scene.size, np.bool_)
    for thing in reversed(scene.things):  # the nearest hides the others
        mask = thing_mask(thing, scene.size) & free & ~everything
        everything |= mask
        found[f"distractor/{thing.noun}"] = mask
    return found | {"distractors": everything}
