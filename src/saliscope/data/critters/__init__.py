"""Critters: generated animals of which it is known what makes their breed."""

from __future__ import annotations

from saliscope.data.catalog import DataKind
from saliscope.data.critters.breeds import BREEDS, Breed
from saliscope.data.critters.dataset import Critters, Variant, open_critters

__all__ = ["BREEDS", "KIND", "Breed", "Critters", "Variant", "open_critters"]

KIND = DataKind(
    name="critters",
    title="Generated animals with known evidence",
    opener=open_critters,
    splits=("train", "val", "test"),
    licence="Apache-2.0, as saliscope itself",
    num_classes=len(BREEDS),
    masks="body, 12 parts, evidence, twin, distractors",
    needs="",
)
