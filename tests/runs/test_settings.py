"""The settings of a run: what is refused, with the file and line, and what decides which hash."""

import pytest

from saliscope.errors import DataError, OptionError
from saliscope.runs import RunSettings, make_run_settings, read_run_settings
from saliscope.runs.settings import ASKING, DECLARED, FREE, MEASURING
from saliscope.settings import settings_toml

BASE = {"model": "resnet18", "data": "critters"}


def make(**more):
    return make_run_settings(**{**BASE, **more})


# --- one way to write each thing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("methods", ["cam", "grad-cam:relu=False", "cam"], ("cam", "grad-cam:relu=false")),
        ("protocols", ["cam2016:threshold=0.2", "yang2025:threshold=.1"], ("cam2016", "yang2025:threshold=0.1")),
        ("size", 224, "224"),
        ("size", [224, 160], "224x160"),
        ("size", "96x96", "96"),
        ("size", [96, 96], "96"),
        ("size", "96x112", "96x112"),
        ("mean", [0.5, 1, 0], (0.5, 1.0, 0.0)),
        ("reference", "grad-cam@layer4:relu=False", "grad-cam@layer4:relu=false"),
        ("pointing", [], ()),
        ("shard", "2/3", "2/3"),
    ],
)  # fmt: skip
def test_values_are_kept_as_they_are_written_everywhere(field, given, kept):
    assert getattr(make(**{field: given}), field) == kept


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", "", "model is \"\", but"),
        ("methods", ["cam", "grad-cm"], 'not all of it can be used: method "grad-cm" is unknown; nearest: "grad-cam"'),
        ("methods", "cam", 'methods is "cam", but must be a list of methods'),
        ("methods", ["grad-cam:rel=1"], 'grad-cam has no option "rel"; nearest: "relu"'),
        ("protocols", ["yang2024"], 'box protocol "yang2024" is unknown; nearest: "yang2025"'),
        ("protocols", ["yang2025:threshold=2"], r"threshold 2.0 of protocol yang2025 is outside \[0, 1\)"),
        ("reference", "grad-cm", 'method "grad-cm" is unknown; nearest: "grad-cam"'),
        ("rules", ["minmax"], 'must be one of "min-max", "max"; nearest: "min-max"'),
        ("pointing", ["torch"], '"torchray", "caffe", "square"; nearest: "torchray"'),
        ("target", "true", '"truth", "predicted", "both"; nearest: "truth"'),
        ("target_space", "logits", 'nearest: "logit"'),
        ("resize", "squish", 'nearest: "squash"'),
        ("precision", "float16", 'must be one of "float32", "bfloat16", "auto"'),
        ("engine", "spark", 'must be one of "local", "ray"'),
        ("shard", "0/2", 'shard is "0/2", but must be i/n with 1 <= i <= n, e.g. 1/4'),
        ("shard", "3/2", "must be i/n"),
        ("shard", "2", "must be i/n"),
        ("shard", "1/x", "must be i/n"),
        ("thresholds", -1, "thresholds is -1, but must be greater than or equal to 0"),
        ("thresholds", 20_000, "less than or equal to 10000"),
        ("thresholds", 10.5, "must be a whole number"),
        ("limit", 0, "greater than or equal to 1"),
        ("batch_size", 0, "greater than or equal to 1"),
        ("workers", 0, "greater than or equal to 1"),
        ("workers", True, "must be a whole number"),
        ("num_classes", 0, "greater than or equal to 1"),
        ("margin", 0, "greater than 0"),
        ("margin", float("nan"), "finite number"),
        ("mean", [0.5, 0.5], "must be three numbers"),
        ("std", ["a", 1, 1], "must be three numbers"),
        ("trivial", "yes", "must be true or false"),
        ("size", True, "size is true, but must be text"),
        ("methods", [1, "cam"], r'methods is \[1, "cam"\], but must be a list of methods'),
        ("mean", (0.5, True, float("inf")), r"mean is \[0.5, true, inf\], but must be three numbers"),
        ("limit", {"a": 1}, 'limit is {"a" = 1}, but must be a whole number'),
        ("limit", 1j, "limit is 1j, but must be a whole number"),
        ("model", None, "model is None, but must be text"),
        ("tune", "test", 'tune is "test", but that is the split that is evaluated; choose thresholds on another, e.g. val'),
        ("method", ["cam"], 'there is no field "method"; nearest: "methods"'),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(field, value, message):
    with pytest.raises(OptionError, match=message):
        make(**{field: value})


def test_what_is_missing_is_named():
    with pytest.raises(OptionError, match=r'run: "data" is missing \(The data set'):
        make_run_settings(model="resnet18")


def test_every_wrong_field_has_its_line():
    with pytest.raises(OptionError) as found:
        make(limit=0, shard="5", target="both")
    lines = str(found.value).splitlines()
    assert [line.partition(" is ")[0] for line in lines] == ["run: limit", "run: shard"]


def test_what_decides_follows_the_protocols_unless_it_is_said():
    assert make().primary == "iou@yang2025"
    assert (
        make(protocols=["cam2016:threshold=0.3", "yang2025"]).primary == "iou@cam2016:threshold=0.3"
    )
    assert make(protocols=[]).primary == "iou@chosen"
    assert make(protocols=[], thresholds=0).primary == "energy@boxes"
    assert make(protocols=[], rules=[]).primary == "energy@boxes"
    assert make(protocols=["cam2016"], primary="iou@yang2025").primary == "iou@yang2025"


# --- which field decides what ----------------------------------------------------------------------------------------


def test_every_field_is_of_one_kind():
    kinds = [FREE, MEASURING, ASKING, DECLARED]
    names = [name for kind in kinds for name in kind]
    assert len(names) == len(set(names))
    assert set(names) < set(RunSettings.model_fields)
    one = make()
    assert set(one.measuring()) == MEASURING
    assert set(one.asking()) == ASKING
    assert set(one.declared()) == DECLARED
    assert set(one.explaining()) == set(RunSettings.model_fields) - set(names)


def test_free_fields_change_nothing_that_is_kept():
    free = {
        "root": "x",
        "limit": 3,
        "shard": "1/2",
        "batch_size": 2,
        "memory": "2GB",
        "device": "cpu",
        "workers": 2,
        "engine": "ray",
        "address": "auto",
    }
    assert set(free) == FREE
    one, other = make(), make(**free)
    assert one.explaining() == other.explaining()
    assert one.measuring() == other.measuring()
    assert one.declared() == other.declared()


@pytest.mark.parametrize(
    ("shard", "slot"), [(None, (0, 1)), ("1/1", (0, 1)), ("1/3", (0, 3)), ("3/3", (2, 3))]
)
def test_a_shard_counts_from_one(shard, slot):
    assert make(shard=shard).slot == slot


# --- a file ----------------------------------------------------------------------------------------------------------


def test_a_file_and_what_replaces_its_fields(tmp_path):
    file = tmp_path / "dogs.toml"
    file.write_text(
        'model = "resnet18"\ndata = "critters"\nmethods = ["cam"]\nlimit = 5\nmean = [1, 0.5, 0]\n'
    )
    found = read_run_settings(file)
    assert (found.methods, found.limit, found.mean) == (("cam",), 5, (1.0, 0.5, 0.0))
    other = read_run_settings(file, limit=7, methods=("grad-cam",))
    assert (other.methods, other.limit, other.model) == (("grad-cam",), 7, "resnet18")


def test_wrong_fields_of_a_file_are_told_with_their_lines(tmp_path):
    file = tmp_path / "dogs.toml"
    file.write_text(
        '# dogs\nmodel = "resnet18"\ndata = "critters"\n\nlimt = 5\nshard = "2"\nmethods = [\n  "centr",\n]\n'
    )
    with pytest.raises(OptionError) as found:
        read_run_settings(file)
    assert sorted(str(found.value).splitlines()) == sorted([
        f'run {file}:5: there is no field "limt"; nearest: "limit", "split"',
        f'run {file}:6: shard is "2", but must be i/n with 1 <= i <= n, e.g. 1/4',
        f'run {file}:7: methods is ["centr"], but not all of it can be used: method "centr" is unknown; nearest: "centre". '
        "`saliscope methods` lists them all",
    ])  # fmt: skip


def test_what_is_wrong_beside_the_file_is_not_blamed_on_it(tmp_path):
    file = tmp_path / "dogs.toml"
    file.write_text('model = "resnet18"\ndata = "critters"\nlimit = 5\n')
    with pytest.raises(OptionError, match=r"^run: limit is 0"):
        read_run_settings(file, limit=0)


def test_fields_that_contradict_each_other_name_the_file(tmp_path):
    file = tmp_path / "dogs.toml"
    file.write_text('model = "resnet18"\ndata = "critters"\ntune = "test"\n')
    with pytest.raises(OptionError, match=r'dogs.toml: tune is "test", but that is the split'):
        read_run_settings(file)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(
        OptionError,
        match=r"there is no file .*none.toml; `saliscope evaluate --print-config` writes one",
    ):
        read_run_settings(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("model: resnet18\n")
    with pytest.raises(DataError, match=r"run .*bad.toml is not TOML: .*line 1"):
        read_run_settings(tmp_path / "bad.toml")
    with pytest.raises(DataError, match="cannot be read"):
        read_run_settings(tmp_path)


def test_written_and_read_again_they_are_equal(tmp_path):
    one = make(
        tune="val", methods=["cam", "grad-cam@layer3:relu=false"], mean=[0.1, 0.2, 0.3], size=64, wsol=True, pointing=[],
        labels='C:\\names "of" dogs.txt', margin=1e-3, shard="1/2", trivial=False, rules=["max"], limit=9, resize="crop",
    )  # fmt: skip
    file = tmp_path / "x.toml"
    file.write_text(settings_toml(one), encoding="utf-8")
    assert read_run_settings(file) == one


@pytest.mark.parametrize(("given", "kept"), [(None, None), ("2 GB", "2 GB"), (1 << 20, "1048576")])
def test_memory_is_kept_as_it_is_written(given, kept):
    assert make(memory=given).memory == kept


@pytest.mark.parametrize("given", ["lots", 0, True])
def test_memory_that_is_none(given):
    with pytest.raises(OptionError, match=r'memory.*is a number of bytes or a text like "500MB"'):
        make(memory=given)
