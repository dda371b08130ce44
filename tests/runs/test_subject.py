"""The network, the data and the methods of a run, checked against each other before anything is done."""

import dataclasses

import pytest
import torch

from saliscope.data import open_data
from saliscope.errors import DataError, LayerError, MethodError, ModelError, OptionError
from saliscope.models import Model
from saliscope.runs.measuring import TRIVIAL
from saliscope.runs.splits import check_splits, open_splits
from saliscope.runs.subject import open_subject


def test_methods_with_their_layers_and_the_trivial_ones(settings):
    found = open_subject(settings(methods=["grad-cam@features.1:relu=false", "cam"]))
    assert found.names == ("grad-cam@features.1:relu=false", "cam", *TRIVIAL)
    assert list(map(str, found.specs)) == [
        "grad-cam@features.1:relu=false",
        "cam@features",
        *TRIVIAL,
    ]


def test_without_the_trivial_ones(settings):
    assert open_subject(settings(methods=["cam"], trivial=False)).names == ("cam",)


def test_a_trivial_method_that_is_asked_for_is_there_once(settings):
    assert open_subject(settings(methods=["centre:sigma=0.1", "random"])).names == (
        "centre:sigma=0.1",
        "random",
        "centre",
        "edges",
    )
    assert open_subject(settings(methods=["random"], trivial=False)).names == ("random",)


def test_of_equal_methods_the_first_is_kept(settings):
    methods = ["grad-cam@features", "cam", "grad-cam", "cam@features"]
    assert open_subject(settings(methods=methods, trivial=False)).names == (
        "grad-cam@features",
        "cam",
    )


def test_default_methods(settings, nets, world, photos):
    assert open_subject(settings(methods=[], trivial=False)).names == ("cam", "grad-cam")
    data = {"all": open_data(f"folder:{photos}", "all")}
    deep = Model(nets.deep_head(classes=3), 32)
    assert open_subject(settings(methods=[], trivial=False), deep, data).names == ("grad-cam",)


def test_a_probability_has_no_cam(settings):
    found = open_subject(settings(methods=[], target_space="probability", trivial=False))
    assert found.names == ("grad-cam",)
    with pytest.raises(
        MethodError, match="so it explains a logit, not a probability; use grad-cam"
    ):
        open_subject(settings(methods=["cam"], target_space="probability"))


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"methods": ["grad-cam@featurs.1"]}, LayerError, 'layer "featurs.1" is not in Net; nearest: "features.1"'),
        ({"reference": "grad-cam"}, OptionError, 'the reference "grad-cam" is none of the methods; nearest: "grad-cam@features.1"'),
        ({"split": "tst"}, OptionError, 'folder has no split "tst"; nearest: "test"'),
        ({"data": "foldr:x"}, DataError, 'no data set is called "foldr"; nearest: "folder"'),
        ({"data": "folder:none"}, DataError, "there is no folder none"),
        ({"root": "/"}, OptionError, "folder takes no root"),
        ({"model": "none.py:build"}, ModelError, "there is no file none.py"),
        ({"model": "resnet5"}, ModelError, 'no network is called .resnet5.; nearest: "resnet50"'),
        ({"weights": "none.pt"}, ModelError, "there is no weights file 'none.pt'"),
        ({"num_classes": 4}, OptionError, "has 4 outputs without names and folder:.* has 3 classes"),
        ({"size": "32x"}, OptionError, "--size is pixels, 224 or HEIGHTxWIDTH"),
        ({"device": "cdua"}, OptionError, 'device "cdua" cannot be used here'),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_named(settings, more, error, message):
    with pytest.raises(error, match=message):
        open_subject(settings(**more))


@pytest.mark.parametrize(
    ("methods", "reference", "kept"),
    [
        (["cam", "grad-cam"], "grad-cam", "grad-cam"),
        (["cam", "grad-cam"], "grad-cam@features", "grad-cam"),  # as it is resolved
        (["cam", "grad-cam@features"], "grad-cam", "grad-cam@features"),
        (["grad-cam@features", "grad-cam"], "grad-cam", "grad-cam@features"),  # the same, once
        (["grad-cam", "cam@features"], "cam", "cam@features"),
        (["cam"], "random", "random"),
        (["cam"], None, None),
    ],
)
def test_the_reference_is_noted_as_its_method_is_written(settings, methods, reference, kept):
    found = open_subject(settings(methods=methods, reference=reference))
    assert found.settings.reference == kept


@pytest.mark.parametrize(
    ("reference", "near"),
    [
        ("grad-cam@features.1", '"grad-cam@features", "cam@features", "grad-cam"'),
        ("grad-cam@featurs", '"grad-cam@features", "cam@features", "grad-cam"'),
        ("grad-cam:relu=false", '"grad-cam@features", "grad-cam"'),
        ("cam@features.1", '"cam@features", "grad-cam@features"'),  # CAM has one layer
        ("random", '"grad-cam"'),
    ],
)
def test_a_reference_that_is_no_method_is_refused(settings, reference, near):
    own = settings(methods=["cam", "grad-cam"], reference=reference, trivial=False)
    message = f'the reference "{reference}" is none of the methods; (nearest|known): .*{near}'
    with pytest.raises(OptionError, match=message):
        open_subject(own)


def test_the_preprocessing_that_was_asked_for(settings):
    own = open_subject(
        settings(size="24x32", mean=[0.1, 0.2, 0.3], std=[1, 1, 2], resize="letterbox")
    ).model.preprocessing
    assert (own.size, own.mean, own.std, own.resize) == (
        (24, 32),
        (0.1, 0.2, 0.3),
        (1.0, 1.0, 2.0),
        "letterbox",
    )


# --- data ------------------------------------------------------------------------------------------------------------


def test_the_splits_that_are_named(settings, write_photos, tmp_path):
    photos = write_photos(tmp_path / "more", 10)
    parts = open_splits(settings(photos=photos, split="test", tune="val"))
    assert list(parts) == ["test", "val"]
    assert [part.split for part in parts.values()] == ["test", "val"]
    assert not set(parts["test"].ids) & set(parts["val"].ids)
    assert list(open_splits(settings(photos=photos))) == ["all"]


def test_data_that_is_given_has_the_splits(settings, world):
    data = {"test": world.several(), "mine": world.several()}
    check_splits(settings(split="mine", tune="test"), data)
    with pytest.raises(
        OptionError,
        match='the settings name the split "val", the data given has test, mine; give one for each',
    ):
        check_splits(settings(split="test", tune="val"), data)
    with pytest.raises(OptionError, match='name the split "all", the data given has none'):
        open_subject(settings(), data={})


def test_ids_are_unique(settings, world):
    """Rows are told apart by them: of two samples of one id, one would vanish."""
    data = dataclasses.replace(world.several(count=3), ids=["v0", "v1", "v0"])
    with pytest.raises(
        DataError, match='several has several samples called "v0"; ids have to be unique'
    ):
        open_subject(settings(), data={"all": data})


def test_pictures_without_classes_can_have_their_prediction_explained(settings, photos):
    for folder in ("cat", "red fox"):
        (photos / folder).rename(photos / "owl" / folder)
    flat = photos / "owl"
    named = settings(photos=flat, data=f"folder:{flat / 'cat'}", target="predicted")
    assert open_subject(named).classes.outputs == ()
    with pytest.raises(OptionError, match="has no classes, so no class can be explained"):
        open_subject(named.model_copy(update={"target": "both"}))


# --- what it comes to ------------------------------------------------------------------------------------------------


def test_what_decides_the_rows_is_in_the_facts(settings, photos, tmp_path):
    """Each change of what rows depend on changes a fact; what the settings say already need not."""
    (tmp_path / "labels.txt").write_text("owl\ncat\nred fox\n")
    base = open_subject(settings(labels=str(tmp_path / "labels.txt"))).resolved
    assert base["methods"] == {
        "cam": "cam@features",
        "grad-cam@features.1": "grad-cam@features.1",
        **{m: m for m in TRIVIAL},
    }
    assert base["model"] == "little_world.py:build (untrained)"
    assert open_subject(settings(labels=str(tmp_path / "labels.txt"))).resolved == base

    def changed(**more):
        now = open_subject(settings(**{"labels": str(tmp_path / "labels.txt"), **more})).resolved
        return {key for key in base if now[key] != base[key]}

    assert changed(size="48") == {"preprocessing"}
    (tmp_path / "labels.txt").write_text("cat\nowl\nred fox\n")
    assert changed() == {"outputs"}
    (tmp_path / "labels.txt").write_text("owl\ncat\nred fox\n")
    (photos / "cat/p0.png").unlink()
    assert changed() == {"data"}


def test_other_weights_are_another_fact(settings, world, photos):
    data = {"all": open_data(f"folder:{photos}", "all")}
    nets = [world.Net(3) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    facts = [open_subject(settings(), Model(net, 32), data).resolved for net in nets]
    assert facts[0] == facts[1]
    with torch.no_grad():
        nets[1].fc.bias[0] += 1e-6
    assert (
        open_subject(settings(), Model(nets[1], 32), data).resolved["weights"]
        != facts[0]["weights"]
    )


def test_batches_are_larger_on_a_gpu(settings, monkeypatch):
    found = open_subject(settings(batch_size=None))
    assert found.batch_size == 8
    monkeypatch.setattr(found.model, "device", torch.device("cuda"))
    assert found.batch_size == 64
    assert dataclasses.replace(found, settings=settings(batch_size=3)).batch_size == 3
