"""Recipes: the papers' numbers, files, and what is said about every wrong field."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from saliscope.errors import DataError, OptionError
from saliscope.training.recipes import Recipe, make_recipe, read_recipe, recipe_names, recipe_toml

MINE = """\
# my own
optimizer = "adamw"
learning_rate = 1e-3

batch_size = 8
epochs = 2
"""


@pytest.fixture
def mine(tmp_path):
    def write(text: str = MINE):
        file = tmp_path / "mine.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_the_recipes_that_come_along():
    assert recipe_names() == ("critters", "lee2024", "modern", "yang2025")
    assert [read_recipe(name).name for name in recipe_names()] == list(recipe_names())


def test_what_the_papers_state():
    """Yang 2025: sections 3.2, 3.3, 4.1.1. Lee 2024: sections 4.1.1, 4.2.1, 4.3.1."""
    yang = read_recipe("yang2025")
    assert (yang.weights, yang.size, yang.resize) == ("pretrained", 224, "squash")
    assert (yang.mean, yang.std) == ((0, 0, 0), (1, 1, 1))
    assert (yang.optimizer, yang.learning_rate, yang.batch_size, yang.epochs) == (
        "sgd",
        0.01,
        16,
        4,
    )
    assert (yang.keep, yang.momentum, yang.weight_decay) == ("best-validation-loss", 0, 0)
    assert (yang.augment, yang.schedule, yang.label_smoothing, yang.ema) == (
        "none",
        "constant",
        0,
        None,
    )
    lee = read_recipe("lee2024")
    assert lee == read_recipe("yang2025", name="lee2024", epochs=2)


def test_the_modern_ones():
    modern = read_recipe("modern")
    assert modern.mean == (0.485, 0.456, 0.406)
    assert modern.std == (0.229, 0.224, 0.225)
    assert (modern.optimizer, modern.schedule, modern.precision) == ("adamw", "cosine", "auto")
    assert modern.augment != "none"
    assert modern.label_smoothing > 0
    assert modern.ema is not None
    critters = read_recipe("critters")
    assert (critters.weights, critters.size) == ("untrained", 160)
    assert critters.mean == critters.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["critters", "lee2024", "modern", "yang2025"])
def test_toml_and_json_give_the_recipe_back(name, mine):
    recipe = read_recipe(
        name, freeze="layer3", fresh=("layer4", "fc"), weights='a "b"\\\n\x7f\té.pt', workers=0
    )
    assert read_recipe(mine(recipe_toml(recipe))) == recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert make_recipe(recipe.model_dump(mode="json")) == recipe


def test_a_file_of_ones_own(mine):
    recipe = read_recipe(mine(), epochs=3, ema=0.9)
    assert (recipe.name, recipe.epochs, recipe.ema, recipe.learning_rate) == ("mine", 3, 0.9, 1e-3)
    assert (recipe.size, recipe.keep, recipe.validation) == (224, "best-validation-loss", 0.1)
    assert read_recipe(mine('name = "x"\n' + MINE)).name == "x"
    assert read_recipe(str(mine("ema = 0.5\n" + MINE)), ema=None).ema is None


def test_a_flag_takes_back_what_a_recipe_freezes(mine):
    file = mine('freeze = "layer3"\n' + MINE)
    assert read_recipe(file).freeze == "layer3"
    assert read_recipe(file, freeze="none").freeze is None


def test_recipes_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        read_recipe("modern").epochs = 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('augment = "flop"', '7: augment is "flop", but must be one of "none", "flip", "light", "standard"; nearest: "flip"'),
        ("size = 224.5", "7: size is 224.5, but must be a whole number"),
        ("size = true", "7: size is true, but must be a whole number"),
        ("size = 4", "7: size is 4, but must be greater than or equal to 8"),
        ('momentum = "0.9"', '7: momentum is "0.9", but must be a number'),
        ("momentum = 1.0", "7: momentum is 1.0, but must be less than 1"),
        ("weight_decay = nan", "7: weight_decay is nan, but must be a finite number"),
        ("mean = [0.5, 0.5]", r"7: mean is \[0.5, 0.5\], but must be three numbers"),
        ("mean = [124, 117, 104]", r"7: mean is .* must be three numbers in \[0, 1\]: pixels are divided by 255"),
        ("std = [1, 0, 1]", "7: std is .*, but must be three numbers above 0"),
        ('std = [1, "a", 1]', "7: std is .*, but must be three numbers"),
        ('fresh = "fc"', '7: fresh is "fc", but must be a list of names'),
        ("fresh = [1]", r"7: fresh is \[1\], but must be a list of names"),
        ("ema = 1.0", "7: ema is 1.0, but must be less than 1"),
        ("seed = -1", "7: seed is -1, but must be greater than or equal to 0"),
        ("learning_rat = 1.0", '7: there is no field "learning_rat"; nearest: "learning_rate"'),
        ("[optimiser]\na = 1", '7: there is no field "optimiser"; nearest: "optimizer"'),
        ("momentum = 0.9", ": momentum 0.9 belongs to sgd; leave it out with adamw"),
        ("warmup_epochs = 2", ": warmup_epochs 2 must be less than epochs 2"),
    ],
)  # fmt: skip
def test_wrong_fields_of_a_file(mine, line, message):
    with pytest.raises(OptionError, match=rf"^recipe \S*mine.toml:? ?{message}"):
        read_recipe(mine(MINE + line + "\n"))


def test_one_line_for_each_wrong_field(mine):
    file = mine('optimizer = "adam"\nlearning_rate = 0\nepochs = 0\n')
    with pytest.raises(OptionError) as caught:
        read_recipe(file, size=1)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert (
        f'recipe {file}:1: optimizer is "adam", but must be one of "sgd", "adamw"; nearest: "adamw"'
        in lines
    )
    assert f"recipe {file}:2: learning_rate is 0, but must be greater than 0" in lines
    assert (
        "recipe: size is 1, but must be greater than or equal to 8" in lines
    )  # given beside the file
    assert (
        f'recipe {file}: "batch_size" is missing (Images a step, over all devices together.)'
        in lines
    )


def test_overrides_that_are_wrong():
    with pytest.raises(OptionError, match=r'^recipe: there is no field "epoch"; nearest: "epochs"'):
        read_recipe("modern", epoch=1)


def test_recipes_that_are_not_there(tmp_path):
    message = (
        r'no recipe is called "modrn" and there is no such file; nearest: "modern"; give a name'
    )
    with pytest.raises(OptionError, match=message):
        read_recipe("modrn")
    with pytest.raises(DataError, match="cannot be read"):
        read_recipe(tmp_path)


def test_files_that_are_no_toml(mine):
    with pytest.raises(
        DataError, match=r"mine.toml is not TOML: .*line 1.*one `field = value` a line"
    ):
        read_recipe(mine("optimizer: adamw\n"))
    file = mine()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"mine.toml cannot be read"):
        read_recipe(file)


def test_every_field_says_what_it_is():
    for name, field in Recipe.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_recipes_need_no_torch():
    code = (
        "import sys; from saliscope.training import read_recipe; read_recipe('modern'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
