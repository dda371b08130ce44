"""The breeds of critters: which parts make each, and which one part tells it from its twin."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BREEDS", "KINDS", "SLOTS", "Breed", "breed_named", "differing_slots"]

KINDS: dict[str, tuple[str, ...]] = {
    "ears": ("small", "prick", "lop", "hare", "round"),
    "tail": ("plain", "curl", "brush", "pompon", "lion"),
    "muzzle": ("soft", "long", "boxy", "trunk"),
    "coat": ("plain", "spots", "stripes", "saddle"),
    "horn": ("none", "one", "two", "antlers"),
    "collar": ("none", "band", "scarf", "ruff"),
    "back": ("smooth", "ridge", "mane"),
    "feet": ("bare", "socks", "rings"),
}
"""The slots of an animal and what can be in each; the first kind is the neutral one that no breed is known by."""

SLOTS = tuple(KINDS)


@dataclass(frozen=True)
class Breed:
    """One of the 24 breeds: the three parts it is known by; every other slot holds its neutral kind.

    `evidence` maps the three slots to their kinds. Together they occur in no other breed. The twin, `index ^ 1`, has the
    same three but for the slot `twin_slot`; any other breed differs in two of the three or in all.
    """

    index: int
    name: str
    family: str
    twin_slot: str
    evidence: tuple[tuple[str, str], ...]

    @property
    def twin(self) -> Breed:
        """The look-alike."""
        return BREEDS[self.index ^ 1]

    @property
    def kinds(self) -> dict[str, str]:
        """What is in every slot."""
        return {slot: kinds[0] for slot, kinds in KINDS.items()} | dict(self.evidence)


_ADJECTIVES = {
    ("ears", "prick"): "prick-eared",
    ("ears", "lop"): "lop-eared",
    ("ears", "hare"): "hare-eared",
    ("ears", "round"): "round-eared",
    ("tail", "curl"): "curl-tailed",
    ("tail", "brush"): "brush-tailed",
    ("tail", "pompon"): "pompon-tailed",
    ("tail", "lion"): "lion-tailed",
    ("muzzle", "long"): "long-nosed",
    ("muzzle", "boxy"): "boxy-nosed",
    ("muzzle", "trunk"): "trunk-nosed",
    ("coat", "spots"): "spotted",
    ("coat", "stripes"): "striped",
    ("coat", "saddle"): "saddled",
    ("horn", "one"): "one-horned",
    ("horn", "two"): "two-horned",
    ("horn", "antlers"): "antlered",
    ("collar", "band"): "collared",
    ("collar", "scarf"): "scarfed",
    ("collar", "ruff"): "ruffed",
    ("back", "ridge"): "ridge-backed",
    ("back", "mane"): "maned",
    ("feet", "socks"): "sock-footed",
    ("feet", "rings"): "ring-footed",
}

# Family, the slot that tells the twins apart with its two kinds, and the two parts that they share.
_FAMILIES = (
    ("bramble", "ears", ("prick", "lop"), {"tail": "curl", "coat": "spots"}),
    ("thistle", "ears", ("hare", "round"), {"horn": "one", "collar": "band"}),
    ("sorrel", "tail", ("curl", "brush"), {"muzzle": "long", "back": "ridge"}),
    ("fennel", "tail", ("pompon", "lion"), {"ears": "lop", "feet": "socks"}),
    ("teasel", "muzzle", ("long", "boxy"), {"coat": "stripes", "ears": "round"}),
    ("campion", "coat", ("spots", "stripes"), {"horn": "two", "tail": "brush"}),
    ("yarrow", "coat", ("saddle", "spots"), {"muzzle": "trunk", "collar": "scarf"}),
    ("burdock", "horn", ("one", "two"), {"back": "mane", "feet": "rings"}),
    ("juniper", "horn", ("antlers", "two"), {"collar": "ruff", "tail": "pompon"}),
    ("clover", "collar", ("band", "scarf"), {"ears": "prick", "tail": "lion"}),
    ("tansy", "back", ("ridge", "mane"), {"coat": "saddle", "muzzle": "boxy"}),
    ("mallow", "feet", ("socks", "rings"), {"horn": "antlers", "muzzle": "trunk"}),
)


def _breeds() -> tuple[Breed, ...]:
    found: list[Breed] = []
    for family, slot, kinds, shared in _FAMILIES:
        for kind in kinds:
            name = f"{_ADJECTIVES[slot, kind]} {family}"
            evidence = ((slot, kind), *shared.items())
            found.append(Breed(len(found), name, family, slot, evidence))
    return tuple(found)


BREEDS = _breeds()
"""All breeds; those with the numbers 2k and 2k + 1 are twins."""


def breed_named(name: str) -> Breed:
    """Look a breed up by name; raises `KeyError`."""
    return {breed.name: breed for breed in BREEDS}[name]


def differing_slots(one: Breed, other: Breed) -> tuple[str, ...]:
    """The slots in which two breeds are unlike."""
    return tuple(slot for slot in SLOTS if one.kinds[slot] != other.kinds[slot])
