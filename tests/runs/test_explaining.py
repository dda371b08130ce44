"""Samples become rows of maps: those of `sc.explain` to the bit, each once, damaged ones too."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import saliscope as sc
from saliscope import runs
from saliscope.data import Failed, Listing, Sample, open_data
from saliscope.frames import Frame
from saliscope.runs import explaining
from saliscope.runs.explaining import explain_units, lost_part
from saliscope.runs.selection import units_of
from saliscope.runs.subject import open_subject
from saliscope.runs.tables import from_bytes

METHODS = [
    "cam",
    "grad-cam@features.1",
    "grad-cam@features.1:relu=false",
    "grad-cam@features.0:sign=negative",
]


def rows_of(subject, units, **more):
    parts = list(explain_units(subject, iter(units), **more))
    return parts, [row for part in parts for row in from_bytes(part.data, "part").to_dicts()]


def units_in(subject, split="all", batch_size=1):
    data = subject.data[split]
    return units_of(data, split, range(len(data)), (), batch_size=batch_size)


def model_of(subject):
    own = subject.settings
    model = sc.load_model(own.model, own.weights, num_classes=own.num_classes)
    model.preprocessing = subject.model.preprocessing
    return model


def assert_is(row, e):
    """A row holds what an explanation holds, to the bit."""
    grid = np.array(row["map"], np.float32)
    assert grid.tobytes() == e.map.astype(np.float32).tobytes()
    assert (row["height"], row["width"]) == e.map.shape
    assert row["status"] == e.status
    assert (row["target"], row["rank"], row["space"]) == (
        e.target.index,
        e.target.rank,
        e.target.space,
    )
    assert (row["logit"], row["probability"]) == (e.target.logit, e.target.probability)
    assert (row["predicted"], row["method"]) == (e.predicted.index, e.method)


# --- the same as explain ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["truth", "predicted", "both"])
def test_maps_are_those_of_explain_to_the_bit(settings, target):
    subject = open_subject(settings(methods=METHODS, target=target))
    _, rows = rows_of(subject, units_in(subject))
    model, found = model_of(subject), 0
    for sample in subject.data["all"]:
        own = [row for row in rows if row["id"] == sample.id]
        predicted = sc.explain(model, sample.image, "cam").predicted.index
        wanted = {
            "truth": [sample.label],
            "predicted": [predicted],
            "both": [predicted, sample.label],
        }[target]
        wanted = list(dict.fromkeys(wanted))
        assert [(row["target"], row["spec"]) for row in own] == [
            (t, s) for t in wanted for s in subject.names
        ]
        for row in own:
            assert_is(row, sc.explain(model, sample.image, row["spec"], target=row["target"]))
            assert row["is_truth"] == (row["target"] == sample.label)
            assert (row["rank"] == 0) == (row["target"] == predicted)
            assert (row["truth"], row["split"]) == (sample.label, "all")
            found += 1
    assert found == len(rows) >= 12 * 7
    if target == "both":
        assert len({row["id"] for row in rows if row["is_truth"] and row["rank"] == 0}) not in (
            0,
            12,
        )


def test_maps_of_one_capture_are_those_of_compare_to_the_bit(settings):
    """Beside other layers the gradient at the head is no longer had in closed form: the last digits say so."""
    subject = open_subject(settings(methods=[*METHODS, "grad-cam:relu=false"]))
    _, rows = rows_of(subject, units_in(subject))
    for sample in subject.data["all"]:
        found = sc.compare(model_of(subject), sample.image, subject.names, target=sample.label)
        for row, e in zip(
            [r for r in rows if r["id"] == sample.id], found.explanations, strict=True
        ):
            assert_is(row, e)


def test_a_batch_gives_the_maps_of_the_same_batch_of_explain(settings):
    subject = open_subject(settings())
    _, rows = rows_of(subject, units_in(subject, batch_size=4))
    samples = list(subject.data["all"])
    for spec in ("cam", "grad-cam@features.1"):
        found = sc.explain(
            model_of(subject), [s.image for s in samples], spec, target=[s.label for s in samples], batch_size=4
        )  # fmt: skip
        for sample, e in zip(samples, found, strict=True):
            (row,) = [r for r in rows if (r["id"], r["spec"]) == (sample.id, spec)]
            assert_is(row, e)


def test_the_size_of_a_batch_changes_no_more_than_rounding(settings):
    subject = open_subject(settings(target="both"))
    _, singles = rows_of(subject, units_in(subject))
    _, batched = rows_of(subject, units_in(subject, batch_size=5))
    assert [(r["id"], r["spec"], r["target"]) for r in singles] == [
        (r["id"], r["spec"], r["target"]) for r in batched
    ]
    for a, b in zip(singles, batched, strict=True):
        np.testing.assert_allclose(a["map"], b["map"], rtol=1e-4, atol=1e-6)


def test_a_probability_is_explained(settings):
    subject = open_subject(
        settings(methods=["grad-cam@features.1"], target_space="probability", trivial=False)
    )
    _, rows = rows_of(subject, units_in(subject))
    for row, sample in zip(rows, subject.data["all"], strict=True):
        assert_is(
            row,
            sc.explain(
                model_of(subject),
                sample.image,
                row["spec"],
                target=sample.label,
                target_space="probability",
            ),
        )
        assert row["space"] == "probability"


@pytest.mark.parametrize("resize", ["crop", "letterbox", "squash"])
def test_the_frame_survives(settings, resize):
    subject = open_subject(
        settings(resize=resize, size="24x40", methods=["cam", "grad-cam@features.0"])
    )
    _, rows = rows_of(subject, units_in(subject))
    samples, model, unseen = {s.id: s for s in subject.data["all"]}, model_of(subject), 0
    for row in rows:
        e = sc.explain(model, samples[row["id"]].image, row["spec"], target=row["target"])
        frame = Frame(
            (row["source_height"], row["source_width"]), sc.Box(*row["region"]), (row["input_height"], row["input_width"])
        )  # fmt: skip
        assert frame == e.frame
        signed = frame.map_to_source(
            np.array(row["map"], np.float32).reshape(row["height"], row["width"])
        )
        assert signed.tobytes() == e.signed().tobytes()
        unseen += bool(np.isnan(signed).any())
    assert (unseen > 0) == (resize == "crop")


class Bottleneck(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(4, 4, k, padding=k // 2) for k in (1, 3, 1))

    def forward(self, x):
        return torch.relu(x + self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x))))))


class ResNetLike(nn.Module):
    """Built like a ResNet-50, so that it has the Keras names of its layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, 2, 1)
        for number, depth in enumerate((3, 4, 6, 3), start=1):
            setattr(self, f"layer{number}", nn.Sequential(*(Bottleneck() for _ in range(depth))))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        return self.fc(self.avgpool(x).flatten(1))


def test_layers_by_their_keras_names(settings, photos):
    data = {"all": open_data(f"folder:{photos}", "all")}
    model = sc.Model(ResNetLike().eval(), 32)
    written = [
        "grad-cam@conv3_block4_out",
        "grad-cam@layer2.3",
        "grad-cam@conv5_block3_out:relu=false",
    ]
    subject = open_subject(settings(methods=written, trivial=False), model, data)
    assert subject.names == (written[0], written[2])  # the second is the first by its native name
    _, rows = rows_of(subject, units_in(subject)[:2])
    assert [(r["spec"], r["layer"]) for r in rows] == [
        (written[0], "layer2.3"),
        (written[2], "layer4.2"),
    ] * 2
    for i in range(2):
        found = sc.compare(
            model, data["all"][i].image, written, target=data["all"][i].label
        ).explanations
        assert_is(rows[2 * i], found[0])
        assert_is(rows[2 * i], found[1])
        assert_is(rows[2 * i + 1], found[2])


# --- classes ---------------------------------------------------------------------------------------------------------


def test_images_with_several_classes_have_a_map_of_each(settings, world):
    data = {"all": world.several()}
    subject = open_subject(settings(target="truth", trivial=False, methods=["cam"]), data=data)
    parts, rows = rows_of(subject, units_in(subject, batch_size=4))
    targets = {f"v{i}": [r["target"] for r in rows if r["id"] == f"v{i}"] for i in range(9)}
    truth = {
        f"v{i}": [r["target"] for r in rows if r["id"] == f"v{i}" and r["is_truth"]]
        for i in range(9)
    }
    assert targets["v0"] == truth["v0"] == [0, 2]
    assert targets["v1"] == truth["v1"] == [0]  # a cow is no class of the data
    assert targets["v2"] == truth["v2"] == [1]
    assert targets["v4"] == truth["v4"] == [0]  # difficult things are things
    assert truth["v3"] == truth["v5"] == []  # a crowd, and nothing: the predicted class stands in
    assert [len(targets[name]) for name in ("v3", "v5")] == [1, 1]
    assert all(r["rank"] == 0 for r in rows if r["id"] in ("v3", "v5"))
    assert [r["truth"] for r in rows if r["id"] in ("v0", "v2")] == [None, None, 1]
    (failed,) = [r for r in rows if r["id"] == "v6"]
    assert (failed["status"], failed["message"]) == ("failed", "the annotation of v6 is damaged")
    assert [(p.done, len(p.failed)) for p in parts] == [(4, 0), (3, 1), (1, 0)]


def test_both_targets_of_several_classes_without_repetition(settings, world):
    subject = open_subject(
        settings(target="both", trivial=False, methods=["cam"]), data={"all": world.several()}
    )
    _, rows = rows_of(subject, units_in(subject, batch_size=9))
    for i in range(9):
        own = [r for r in rows if r["id"] == f"v{i}" and r["status"] != "failed"]
        assert len({r["target"] for r in own}) == len(own)
        if own:
            assert own[0]["rank"] == 0
            logits = {r["target"]: r["logit"] for r in own}
            for row in own:
                above = sum(value > row["logit"] for value in logits.values())
                assert row["rank"] >= above


def test_a_class_is_called_as_the_data_calls_it(settings, world):
    """The network may write it otherwise; regions and masks are found by the data's name."""
    model = sc.Model(
        world.Net(3).eval(), 32, labels=["PERSON", "dog, domestic dog", "potted_plant"]
    )
    subject = open_subject(
        settings(target="both", trivial=False, methods=["cam"]), model, {"all": world.several()}
    )
    _, rows = rows_of(subject, units_in(subject, batch_size=9))
    assert {(r["target"], r["label"]) for r in rows if r["is_truth"]} == {
        (0, "person"),
        (1, "dog"),
        (2, "Potted plant"),
    }
    unnamed = open_subject(settings(trivial=False, methods=["cam"]), data={"all": world.several()})
    _, rows = rows_of(unnamed, units_in(unnamed, batch_size=9))
    assert {(r["target"], r["label"]) for r in rows if r["is_truth"]} == {
        (0, "dog"),
        (1, "Potted plant"),
        (2, "person"),
    }


def test_a_class_outside_the_data_is_called_as_the_network_calls_it(settings, photos):
    data = {"all": open_data(f"folder:{photos}", "all")}
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)
    ).eval()
    with torch.no_grad():
        net[3].bias[3] = 100
    model = sc.Model(net, 32, labels=["owl", "red fox", "cat", "lynx"])
    subject = open_subject(
        settings(target="predicted", methods=["grad-cam@0"], trivial=False), model, data
    )
    _, rows = rows_of(subject, units_in(subject))
    assert {(r["target"], r["label"], r["is_truth"], r["rank"]) for r in rows} == {
        (3, "lynx", False, 0)
    }
    assert [r["truth"] for r in rows] == [
        {"cat": 2, "owl": 0, "red fox": 1}[r["id"].split("/")[0]] for r in rows
    ]


# --- samples that fail -----------------------------------------------------------------------------------------------


def test_a_damaged_picture_is_a_row_and_stops_no_other(settings, photos):
    good = settings()
    subject = open_subject(good)
    whole = {p.unit.name: p for p in explain_units(subject, iter(units_in(subject, batch_size=4)))}
    (photos / "cat/p1.png").write_bytes(b"")
    (photos / "red fox/p0.png").unlink()
    parts, rows = rows_of(subject, units_in(subject, batch_size=4))
    failed = {r["id"]: r["message"] for r in rows if r["status"] == "failed"}
    assert set(failed) == {"cat/p1.png", "red fox/p0.png"}
    assert "cat/p1.png is empty" in failed["cat/p1.png"]
    assert "red fox/p0.png" in failed["red fox/p0.png"]
    assert [(p.done, [f.id for f in p.failed]) for p in parts] == [
        (3, ["cat/p1.png"]),
        (4, []),
        (3, ["red fox/p0.png"]),
    ]
    assert [p.unit.name for p in parts] == list(whole)
    for row in rows:
        if row["status"] == "failed":
            assert {k for k, v in row.items() if v is not None} == {
                "id",
                "index",
                "split",
                "status",
                "message",
            }
    well = from_bytes(parts[1].data, "x").drop("seconds")
    assert well.equals(
        from_bytes(whole[parts[1].unit.name].data, "x").drop("seconds"), null_equal=True
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "cannot be read: Permission denied"),
        (MemoryError(), "does not fit into memory; make it smaller, or choose a smaller --size"),
    ],
)
def test_errors_of_the_system_are_reasons(settings, photos, monkeypatch, error, reason):
    subject = open_subject(settings())
    real = Sample.photo

    def photo(self):
        if self.id == "cat/p2.png":
            raise error
        return real(self)

    monkeypatch.setattr(Sample, "photo", photo)
    _, rows = rows_of(subject, units_in(subject, batch_size=4))
    assert [(r["id"], r["message"]) for r in rows if r["status"] == "failed"] == [
        ("cat/p2.png", reason)
    ]


def test_a_batch_too_large_for_the_memory_is_done_one_by_one(settings, monkeypatch):
    subject = open_subject(settings(methods=["cam"]))
    real, tried = explaining.explain_batch, []

    def explain(model, photos, *args, **more):
        tried.append([p.name for p in photos])
        if len(photos) > 1 or photos[0].name == "p1.png":
            raise RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
            )
        return real(model, photos, *args, **more)

    monkeypatch.setattr(explaining, "explain_batch", explain)
    parts, rows = rows_of(subject, units_in(subject, batch_size=4)[:1])
    assert tried == [
        ["p0.png", "p1.png", "p2.png", "p3.png"],
        ["p0.png"],
        ["p1.png"],
        ["p2.png"],
        ["p3.png"],
    ]
    failed = [(r["id"], r["message"]) for r in rows if r["status"] == "failed"]
    assert failed == [
        ("cat/p1.png", "does not fit into memory; make it smaller, or choose a smaller --size")
    ]
    assert (parts[0].done, len(rows)) == (3, 3 * 4 + 1)


def test_a_bug_is_no_sample_that_failed(settings, monkeypatch):
    subject = open_subject(settings())
    monkeypatch.setattr(explaining, "explain_batch", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rows_of(subject, units_in(subject))


def test_large_photographs_make_small_batches(settings, photos, monkeypatch):
    subject = open_subject(settings(methods=["cam"]))
    real, sizes = explaining.explain_batch, []
    monkeypatch.setattr(
        explaining,
        "explain_batch",
        lambda m, p, *a, **k: sizes.append(len(p)) or real(m, p, *a, **k),
    )
    monkeypatch.setattr(explaining, "_BATCH_PIXELS", 36 * 56 + 41 * 52 + 46 * 48)
    parts, _ = rows_of(subject, units_in(subject, batch_size=4))
    assert sizes == [3, 1] * 3
    assert [p.done for p in parts] == [4, 4, 4]


def test_parts_are_kept_before_they_are_told(settings):
    subject, kept = open_subject(settings()), []
    for number, part in enumerate(
        explain_units(subject, iter(units_in(subject, batch_size=4)), keep=kept.append), start=1
    ):
        assert part in kept
        assert len(kept) >= number


def test_what_keeping_raises_ends_it(settings):
    subject = open_subject(settings())
    with pytest.raises(OSError, match="full"):
        list(
            explain_units(
                subject,
                iter(units_in(subject)),
                keep=lambda part: (_ for _ in ()).throw(OSError("full")),
            )
        )


def test_a_part_that_nobody_can_do_has_a_row_a_sample(settings):
    subject = open_subject(settings())
    unit = units_in(subject, batch_size=4)[1]
    part = lost_part(subject.data["all"], unit, "its process ended")
    frame = from_bytes(part.data, "x")
    assert frame["id"].to_list() == ["owl/p0.png", "owl/p1.png", "owl/p2.png", "owl/p3.png"]
    assert frame["index"].to_list() == [4, 5, 6, 7]
    assert set(frame["message"]) == {"its process ended"}
    assert (part.done, [type(f) for f in part.failed]) == (0, [Failed] * 4)


# --- odd pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
def test_pictures_of_odd_sizes_and_names(settings, tmp_path, write_photos, resize):
    odd = write_photos(tmp_path / "odd", 1)
    sizes = {
        "cat/1 pixel.png": (1, 1),
        "owl/'quoted' \"name\".png": (1, 90),
        "red fox/ü ✓ %s {x}.png": (90, 2),
        "cat/deep/p0.png": (5, 3),
    }
    for name, (height, width) in sizes.items():
        (odd / name).parent.mkdir(exist_ok=True)
        Image.fromarray(
            np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
        ).save(odd / name)
    outcome = runs.evaluate(
        settings(photos=odd, data=f"folder:{odd}", resize=resize, target="both"), tmp_path / "run"
    )
    assert (outcome.done, outcome.failed) == (7, 0)
    run = runs.open_run(tmp_path / "run")
    assert set(sizes) < set(run.images["id"])
    for name, (height, width) in sizes.items():
        e = run.explanations(name)[0]
        assert e.signed().shape == (height, width)
        assert e.heatmap().shape == (height, width)


def test_rows_of_the_user_s_own_data(settings, tmp_path):
    """Any sequence of samples with ids, labels and classes will do, pictures in memory too."""
    pixels = np.random.default_rng(1).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    data = Listing(
        "mine", "test", ("a", "b", "c"), ["x"], [1], lambda i: Sample("x", pixels, 1, "test")
    )
    runs.evaluate(settings(methods=["cam"], trivial=False), tmp_path / "run", data={"all": data})
    (row,) = runs.open_run(tmp_path / "run").maps.to_dicts()
    assert (row["id"], row["split"], row["target"], row["source_height"]) == ("x", "all", 1, 20)
    assert json.loads((tmp_path / "run/run.json").read_text())["selected"] == {"all": 1}


def test_memory_bounds_what_is_asked_at_once_and_progress_is_told(settings, monkeypatch):
    told = []
    found = []
    for memory in (None, "100KB"):
        subject = open_subject(
            settings(methods=["score-cam@features.1"], trivial=False, memory=memory)
        )
        units = units_in(subject, batch_size=4)[:1]
        _, rows = rows_of(subject, units, tell=lambda *a: told.append(a))
        found.append([np.array(row["map"]) for row in rows])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert {name for name, _, _ in told} == {"score-cam@features.1"}
    assert told[-1][1] == told[-1][2]
    steps = [done for _, done, _ in told]
    assert len(steps[steps.index(0, 1) :]) > len(steps[: steps.index(0, 1)]), "less at once"
