"""Two animals, a planted tag, and sentences."""

import numpy as np
import pytest

from saliscope.data.critters import BREEDS, open_critters
from saliscope.data.critters.breeds import KINDS


@pytest.mark.parametrize("index", range(0, 48, 4))
def test_a_pair_has_two_breeds_with_masks_of_their_own(index):
    sample = open_critters(variant="pair")[index]
    masks, classes = sample.masks(), [b.name for b in BREEDS]
    first, second = sample.regions
    assert classes[sample.label] == first.label != second.label
    for number, region in enumerate(sample.regions):
        body = masks[f"{number}/body"]
        rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
        assert tuple(region.box) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert not (masks["0/body"] & masks["1/body"]).any()
    for name in ("body", "evidence", "twin", "ears"):
        np.testing.assert_array_equal(masks[name], masks[f"0/{name}"])


def test_the_labelled_animal_of_a_pair_stands_on_either_side():
    data = open_critters(variant="pair", count=60)
    left = [s.regions[0].box.x0 < s.regions[1].box.x0 for s in data]
    assert 15 < sum(left) < 45


def test_any_two_breeds_meet_twins_too():
    data = open_critters(variant="pair", count=24 * 30)
    steps = {(data.scene(i).figures[1].breed.index - i) % 24 for i in range(0, 720)}
    assert steps == set(range(1, 24))


@pytest.mark.parametrize(
    ("rho", "split", "share"),
    [(1.0, "train", 1.0), (0.6, "train", 0.6 + 0.4 / 24), (1.0, "test", 1 / 24)],
)
def test_the_tag_tells_the_breed_as_often_as_asked(rho, split, share):
    data = open_critters(variant="cue", split=split, rho=rho, count=1200)
    tells = [data.scene(i).tag.code == i % 24 for i in range(1200)]
    assert np.mean(tells) == pytest.approx(share, abs=1e-9 if share == 1 else 0.05)


def test_tags_differ_by_breed_and_are_masked_to_the_pixel():
    data = open_critters(variant="cue", split="train", count=48)
    plain = open_critters(split="train", count=48)
    seen = {}
    for i in range(24):
        sample = data[i]
        tag = sample.masks()["tag"]
        pixels = sample.photo().pixels
        changed = (pixels != plain[i].photo().pixels).any(-1)
        assert not (changed & ~tag).any()
        assert tag.sum() == 22 * 32
        assert not any((tag & m).any() for n, m in sample.masks().items() if n != "tag")
        rows, columns = np.where(tag)
        cut = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        seen[i] = cut.tobytes()
        assert sample.details["tag"] == i
        assert sample.details["tag_tells"]
    assert len(set(seen.values())) == 24
    assert len({data.scene(i).tag.corner for i in range(24)}) == 4


@pytest.mark.parametrize("index", range(24))
def test_nouns_of_a_caption_refer_to_what_is_seen(index):
    sample = open_critters(variant="caption")[index]
    masks, caption = sample.masks(), sample.details["caption"]
    breed = BREEDS[sample.label]
    assert caption.text.startswith(f"A {breed.family} with ")
    assert caption.text.endswith(".")
    for noun in caption.nouns:
        assert masks[noun.mask].any()
        phrase = caption.text[noun.start : noun.end]
        assert phrase == phrase.strip(" ,.") != ""
    named = {noun.mask for noun in caption.nouns}
    assert {"body", *(slot for slot, _ in breed.evidence)} <= named


@pytest.mark.parametrize("index", range(24))
def test_answers_are_true(index):
    sample = open_critters(variant="caption")[index]
    masks, breed = sample.masks(), BREEDS[sample.label]
    questions = {q.text: q for q in sample.details["questions"]}
    assert questions["Which breed is it?"].answer == breed.name
    for question in questions.values():
        assert all(masks[name].any() for name in question.masks)
        if question.text.startswith("Is there a "):
            noun = question.text.removeprefix("Is there a ").removesuffix("?")
            there = masks.get(f"distractor/{noun}", np.zeros(1)).any()
            assert question.answer == ("yes" if there else "no")
        slot = {"Has the animal horns?": "horn", "Does the animal wear something?": "collar"}.get(
            question.text
        )
        if slot:
            assert question.answer == ("no" if breed.kinds[slot] == KINDS[slot][0] else "yes")
    assert {q.answer for q in questions.values()} >= {"no"}


@pytest.mark.parametrize(
    ("split", "index"), [("test", 15), ("test", 75), ("train", 40), ("train", 0)]
)
def test_boxes_are_tight_around_what_a_tag_leaves_visible(split, index):
    sample = open_critters(variant="cue", split=split)[index]
    body = sample.masks()["body"]
    rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert tuple(sample.regions[0].box) == box


def test_only_captions_speak():
    assert "caption" not in open_critters()[0].details
    assert open_critters()[0].details["twin"] == "lop-eared bramble"
