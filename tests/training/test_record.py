"""One folder holds one training: another is refused, or begun anew when asked for."""

import pytest

from saliscope.errors import DataError, OptionError
from saliscope.training import train
from saliscope.training.callbacks import CHECKPOINT


def test_another_recipe_is_refused_field_by_field(toy, whole):
    other = toy.recipe(learning_rate=0.5, epochs=7, workers=2)
    with pytest.raises(OptionError) as caught:
        train(toy.model, toy.splits(), other, whole)
    message = str(caught.value)
    assert "holds another training: recipe.learning_rate was 0.02, is 0.5; recipe.epochs was 4, is 7. " in message  # fmt: skip
    assert "--overwrite" in message
    assert "workers" not in message


def test_other_data_and_another_network_are_refused(toy, whole):
    with pytest.raises(OptionError, match=r'fingerprints\.train was "[0-9a-f]{20}'):
        train(toy.model, toy.splits(count=21), toy.recipe(), whole)
    with pytest.raises(OptionError, match=r'model was ".*, is "resnet18"'):
        train("resnet18", toy.splits(), toy.recipe(), whole)


def test_overwrite_begins_anew_and_removes_only_its_own(toy, whole):
    (whole / "notes.txt").write_text("mine")
    recipe = toy.recipe(epochs=1)
    done = train(toy.model, toy.splits(), recipe, whole, overwrite=True)
    assert len(done.history) == 1
    assert (whole / "notes.txt").read_text() == "mine"
    assert len(list((whole / "tensorboard").glob("events.*"))) == 1


def test_a_refused_training_touches_nothing(toy, whole):
    """What is half-written may belong to the training that runs there, and hidden files to anyone."""
    for name in (".last.ckpt.new", ".model.json.swp"):
        (whole / name).write_text("theirs")
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*")}
    with pytest.raises(OptionError, match="holds another training"):
        train(toy.model, toy.splits(), toy.recipe(epochs=9), whole)
    assert {p: p.stat().st_mtime_ns for p in whole.rglob("*")} == before
    train(
        toy.model, toy.splits(), toy.recipe(), whole
    )  # the same one: leftovers of a killed one go, no more
    assert not (whole / ".last.ckpt.new").exists()
    assert (whole / ".model.json.swp").exists()


def test_a_foreign_or_damaged_record_is_refused(toy, tmp_path):
    (tmp_path / "run.json").write_text('{"schema": 1, "what": 2}')
    with pytest.raises(DataError, match=r"run.json is no record of a training .* --overwrite"):
        train(toy.model, toy.splits(), toy.recipe(), tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 9, "settings": {}}')
    with pytest.raises(DataError, match="has schema 9, this version of saliscope writes 1"):
        train(toy.model, toy.splits(), toy.recipe(), tmp_path)


def test_a_damaged_checkpoint_is_an_error(toy, whole):
    (whole / "model.json").unlink()
    (whole / CHECKPOINT).write_bytes((whole / CHECKPOINT).read_bytes()[:3000])
    with pytest.raises(DataError, match=r"last.ckpt is damaged, so this training cannot be continued"):  # fmt: skip
        train(toy.model, toy.splits(), toy.recipe(), whole)
