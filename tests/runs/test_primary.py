"""The score that decides is known when a run begins, and what a report would find is what may be declared."""

import pytest

from saliscope import runs
from saliscope.errors import OptionError
from saliscope.runs import make_run_settings
from saliscope.runs.primary import ScoreNames, check_primary, score_names, swept_rules

COMBOS = (
    ("iou", "a"),
    ("iou", "b"),
    ("gt-known", "a"),
    ("energy", "boxes"),
    ("pointing", "x-15px"),
)
NAMES = ScoreNames(COMBOS, ("min-max", "max"))


def make(**more):
    return make_run_settings(**{"model": "net", "data": "critters", "methods": ["cam"], **more})


# --- names -----------------------------------------------------------------------------------------------------------


def test_every_name_in_full():
    plain = [
        "iou@a",
        "iou@b",
        "gt-known@a",
        "energy@boxes",
        "pointing@x-15px",
        "top-1@a",
        "top-5@a",
    ]
    ways = ["chosen", "oracle", "chosen:min-max", "oracle:min-max", "chosen:max", "oracle:max"]
    best = [f"{metric}@{way}" for way in ways for metric in ("iou", "gt-known")]
    most = [f"{m}@{r}" for r in ("min-max", "max") for m in ("max-box-acc", "max-box-acc-v2")]
    assert list(NAMES.known) == plain + best + most
    assert list(ScoreNames(COMBOS, top=False).known) == plain[:5]
    for name in NAMES.known:
        assert "@".join(NAMES.find(name, failing="")) == name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("energy", ("energy", "boxes")),
        ("gt-known", ("gt-known", "a")),
        ("pointing", ("pointing", "x-15px")),
        ("top-5", ("top-5", "a")),
        ("max-box-acc-v2", ("max-box-acc-v2", "min-max")),
    ],
)
def test_what_goes_without_saying(text, found):
    assert NAMES.find(text, failing="") == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("iou", "names no protocol; write METRIC@PROTOCOL: iou@a, iou@b$"),
        ("iuo@a", 'is not here; nearest: "iou@a", "iou@b"'),
        ("energy@box", 'is not here; nearest: "energy@boxes"'),
        ("iou@chosen:maxx", 'nearest: "iou@chosen:max"'),
        ("union-iou@chosen", 'nearest: "iou@chosen"'),
        ("max-box-acc@mx", 'nearest: "max-box-acc@max"'),
        ("top-2@a", 'nearest: "top-5@a", "top-1@a"'),
        ("iou@", "is not here"),
        ("@a", "is not here"),
        ("", "is not here"),
        ("nothing", "is not here; known: "),
        ("pixel-ap@mask:body", "is not here"),
        ("pixel-ap", "is not here"),
    ],
)
def test_what_is_no_score(text, said):
    with pytest.raises(OptionError, match=f'^the primary score "{text}" .*{said}'):
        NAMES.find(text, failing="is not here")


def test_with_nothing_swept_there_is_no_best():
    names = ScoreNames((("energy", "boxes"),))
    for text in ("iou@chosen", "gt-known@oracle", "max-box-acc", "max-box-acc@min-max", "top-1"):
        with pytest.raises(OptionError, match=f'"{text}" is not here; .*"energy@boxes"'):
            names.find(text, failing="is not here")
    swept = ScoreNames((("energy", "boxes"),), ("max",))
    with pytest.raises(
        OptionError, match=r"METRIC@PROTOCOL: iou@chosen, iou@oracle, iou@chosen:max"
    ):
        swept.find("iou", failing="")


def test_any_mask_may_be_named_where_only_the_data_knows_them():
    names = ScoreNames(COMBOS, masks=True)
    for metric in ("relevance-mass", "mask-enrichment", "relevance-rank", "pixel-ap"):
        assert names.find(f"{metric}@mask:tail", failing="") == (metric, "mask:tail")
        with pytest.raises(OptionError, match=f"names no mask; write {metric}@mask:NAME, e.g."):
            names.find(metric, failing="")
    for text in ("pixel-ap@mask:", "pixel-ap@tail", "energy@mask:tail", "pixel-app@mask:tail"):
        with pytest.raises(OptionError, match="is not here"):
            names.find(text, failing="is not here")


# --- of settings -----------------------------------------------------------------------------------------------------


def test_the_names_are_those_of_the_scores(finished):
    """What the settings promise is what was measured, to the last one: nothing more and nothing less."""
    run = runs.open_run(finished)
    measured = run.scores.filter(spec="cam").select("metric", "protocol").unique().rows()
    assert set(score_names(run.settings).combos) == set(measured)
    assert {*swept_rules(run.settings), "side"} == set(run.curves["rule"])


def test_masks_are_measured_by_what_may_be_named(settings, tmp_path):
    own = settings(data="critters:size=64:count=1", split="test", num_classes=24, methods=["cam"])
    runs.evaluate(own.model_copy(update={"primary": "pixel-ap@mask:body"}), tmp_path / "run")
    run = runs.open_run(tmp_path / "run")
    combos = run.scores.filter(spec="cam").select("metric", "protocol").unique().rows()
    found = {c for c in combos if c[1].startswith("mask:")}
    assert found
    assert set(combos) - found == set(score_names(own).combos)
    for combo in found:
        assert score_names(own).find("@".join(combo), failing="") == combo
    assert run.settings.primary == "pixel-ap@mask:body"


@pytest.mark.parametrize(
    ("more", "rules"),
    [
        ({}, ("min-max",)),
        ({"rules": ["max", "min-max"]}, ("max", "min-max")),
        ({"wsol": True}, ("min-max", "wsol")),
        ({"thresholds": 0, "wsol": True}, ("wsol",)),
        ({"rules": []}, ()),
    ],
)
def test_rules_that_are_swept(more, rules):
    assert swept_rules(make(**more)) == rules


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("iou@yang2025", {}),
        ("union-iou@cam2016:threshold=0.3", {"protocols": ["cam2016:threshold=0.3"]}),
        ("no-box", {"protocols": ["cam2016"]}),
        ("pointing@torchray-15px", {}),
        ("pointing", {"pointing": ["caffe"]}),
        ("box-coverage@delta=0.25", {}),
        ("inside-outside", {}),
        ("relevance-rank@mask:evidence", {}),
        ("iou@chosen", {"tune": "val"}),
        ("gt-known@oracle:max", {"rules": ["min-max", "max"]}),
        ("iou@chosen:wsol", {"wsol": True}),
        ("max-box-acc@wsol", {"wsol": True}),
        ("max-box-acc-v2", {}),
        ("top-5@gradcam2017", {}),
    ],
)
def test_what_may_be_declared(text, more):
    check_primary(make(primary=text, **more))


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("iou@yang2024", {}, 'is not measured by these settings; nearest: "iou@yang2025"'),
        ("iou@yang2025", {"protocols": ["cam2016"]}, 'not measured by these settings; nearest: .*"iou@cam2016"'),
        ("iou@cam2016", {"protocols": ["cam2016:threshold=0.3"]}, 'nearest: "iou@cam2016:threshold=0.3"'),
        ("iou@chosen", {"thresholds": 0}, "is not measured by these settings"),
        ("iou@chosen:max", {}, 'nearest: "iou@chosen:min-max"'),
        ("max-box-acc@max", {}, 'nearest: "max-box-acc@min-max"'),
        ("max-box-acc@wsol", {}, 'nearest: "max-box-acc@min-max"'),
        ("pointing@caffe-15px", {"pointing": ["square"]}, 'nearest: "pointing@square-15px"'),
        ("pointing", {}, "names no protocol; write METRIC@PROTOCOL: pointing@torchray-15px, pointing@caffe-15px"),
        ("box-coverage", {}, "names no protocol; write METRIC@PROTOCOL: box-coverage@delta=0, "),
        ("top-1@yang", {}, 'nearest: "top-1@yang2025"'),
        ("contrastivity@boxes", {}, "is not measured by these settings; nearest: "),
        ("deletion@saliscope", {}, "settings; the network has to be asked for it first: add --ask deletion; known: "),
        ("insertion", {"ask": ["deletion"]}, "has to be asked for it first: add --ask insertion; known: "),
        ("deletion@road", {"ask": ["deletion"]}, 'by these settings; nearest: "deletion@saliscope"'),
    ],
)  # fmt: skip
def test_what_may_not(text, more, said):
    with pytest.raises(OptionError, match=f'^the primary score "{text}" .*{said}'):
        check_primary(make(primary=text, **more))


def test_the_default_may_always_be_declared():
    for more in (
        {},
        {"protocols": ["cam2016"]},
        {"protocols": []},
        {"protocols": [], "thresholds": 0},
    ):
        check_primary(make(**more))


# --- when a run begins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"primary": "iuo@yang2025"}, 'primary score "iuo@yang2025" is not measured by these settings; nearest: "iou@yang2025"'),
        ({"reference": "grad-cam"}, 'the reference "grad-cam" is none of the methods; nearest: "grad-cam@features.1"'),
    ],
)  # fmt: skip
def test_refused_before_anything_is_touched(settings, kept, look, tmp_path, more, said):
    before = look.files(kept)
    for folder in (tmp_path / "new/run", kept):
        for overwrite in (False, True):
            with pytest.raises(OptionError, match=said):
                runs.evaluate(settings(**more), folder, overwrite=overwrite)
    assert look.files(kept) == before
    assert not (tmp_path / "new").exists()


def test_a_misspelt_score_needs_no_network_to_be_found(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("saliscope.runs.execution.open_subject", lambda *a: 1 / 0)
    with pytest.raises(OptionError, match="is not measured"):
        runs.evaluate(settings(primary="iuo@yang2025"), tmp_path / "run")


def test_errors_of_localisation_are_of_images_with_one_class(settings, world, tmp_path):
    own = settings(methods=["cam"], primary="top-1@cam2016", thresholds=0)
    message = '"top-1@cam2016" is not measured where images have several classes; nearest: '
    with pytest.raises(OptionError, match=message):
        runs.evaluate(own, tmp_path / "run", data={"all": world.several()})
    assert not (tmp_path / "run").exists()
    # Without a label, but none of them holds two classes; one is damaged.
    alone = world.several()
    few = type(alone)(
        "few", "all", alone.classes, alone.ids[5:], alone.labels[5:], lambda i: alone.read(i + 5)
    )
    assert runs.evaluate(own, tmp_path / "run", data={"all": few}).done == 3
    runs.evaluate(
        own.model_copy(update={"target": "predicted"}),
        tmp_path / "other",
        data={"all": world.several()},
    )


def test_what_was_declared_is_noted_and_continued(settings, look, tmp_path):
    said = settings(primary="energy", reference="grad-cam@features.1", margin=0.1)
    runs.evaluate(said, tmp_path / "run")
    declared = {"primary": "energy", "reference": "grad-cam@features.1", "margin": 0.1}
    assert look.record(tmp_path / "run")["declared"] == declared
    assert runs.evaluate(said, tmp_path / "run").new_done == 0


def test_a_reference_by_its_layer_is_the_method_as_it_is_written(settings, look, tmp_path):
    for number, (methods, reference) in enumerate(
        [("cam", "cam@features"), ("cam@features", "cam")]
    ):
        own = settings(methods=[methods], reference=reference, limit=2)
        runs.evaluate(own, tmp_path / str(number))
        assert look.record(tmp_path / str(number))["declared"]["reference"] == methods
        assert runs.evaluate(own, tmp_path / str(number)).new_done == 0


def test_other_protocols_later_leave_what_was_declared(settings, look, tmp_path):
    runs.evaluate(settings(), tmp_path / "run")
    runs.evaluate(settings(protocols=["cam2016"]), tmp_path / "run")
    assert look.record(tmp_path / "run")["declared"]["primary"] == "iou@yang2025"
    assert set(runs.open_run(tmp_path / "run").boxes["protocol"]) == {"cam2016", "box"}
