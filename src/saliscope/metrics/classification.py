"""Localisation error with a class: what the ILSVRC challenge counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from saliscope.boxes import Box, best_iou
from saliscope.errors import OptionError
from saliscope.metrics.scores import Direction, Score

__all__ = ["ClsLoc", "ClsLocScores", "Guess", "classification_error", "localisation_error"]

Guess = tuple[int, Box | None]
"""One guess: the index of a class and one box for it."""


def localisation_error(
    guesses: Sequence[Guess], label: int, truth: Sequence[Box], *, top: int = 1
) -> float:
    """0 if one of the first `top` guesses names the class and its box fits an instance of it, else 1.

    Russakovsky et al. 2015 (ILSVRC), section 4.2: fitting is an IoU of .5 or more with any annotated box of the image's own
    class. The development kit reads corners as first and last pixel; made with `Box.from_inclusive`, half-open boxes give the same
    IoU. A guess without a box is wrong. NaN where nothing is annotated. Raises `OptionError` for `top` below 1.
    """
    _check_top(top)
    if not truth:
        return math.nan
    right = any(guess == label and best_iou(box, truth) >= 0.5 for guess, box in guesses[:top])
    return 0.0 if right else 1.0


def classification_error(guesses: Sequence[Guess], label: int, *, top: int = 1) -> float:
    """0 if one of the first `top` guesses names the class, else 1. Raises `OptionError` for `top` below 1."""
    _check_top(top)
    return 0.0 if any(guess == label for guess, _ in guesses[:top]) else 1.0


def _check_top(top: int) -> None:
    if top < 1:
        raise OptionError(f"top is how many guesses count, 1 or more; got {top}")


@dataclass(frozen=True)
class ClsLocScores:
    """Errors by the number of guesses that count, e.g. `localisation[5]`, and how many images were blacklisted."""

    localisation: dict[int, Score]
    classification: dict[int, Score]
    blacklisted: int


class ClsLoc:
    """Top-1 and top-5 localisation and classification error over a set of images.

    Blacklisted images (1,762 of the 50,000 of ILSVRC val) count for classification only: they leave the numerator and the
    denominator of localisation. Say whether a list was used: many papers use none.
    """

    direction: Direction = "lower"
    bounds = (0.0, 1.0)
    protocol = (
        "ILSVRC development kit: IoU >= .5 with any instance, blacklist left out of localisation"
    )

    def __init__(self, tops: Sequence[int] = (1, 5)) -> None:
        for top in tops:
            _check_top(top)
        self._missed = dict.fromkeys(tops, 0)
        self._wrong = dict.fromkeys(tops, 0)
        self._images = self._located = self._undefined = self._blacklisted = 0

    def update(
        self,
        guesses: Sequence[Guess],
        label: int,
        truth: Sequence[Box],
        *,
        blacklisted: bool = False,
    ) -> Self:
        """Count one image: its guesses, best first, its true class and the boxes of that class."""
        self._images += 1
        self._blacklisted += blacklisted
        counts = not blacklisted and bool(truth)
        self._located += counts
        self._undefined += not blacklisted and not truth
        for top in self._missed:
            self._wrong[top] += int(classification_error(guesses, label, top=top))
            if counts:
                self._missed[top] += int(localisation_error(guesses, label, truth, top=top))
        return self

    def compute(self) -> ClsLocScores:
        """The errors so far."""
        return ClsLocScores(
            {t: _share(k, self._located, self._undefined) for t, k in self._missed.items()},
            {t: _share(k, self._images, 0) for t, k in self._wrong.items()},
            self._blacklisted,
        )


def _share(count: int, n: int, undefined: int) -> Score:
    return Score(count / n if n else math.nan, n, undefined)
