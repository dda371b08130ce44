"""What the network is asked about the maps of a run: the scores of the pure functions, asked once, and continued."""

import math
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from asked_world import ALL, METHODS, cut, model_of, settings_of
from saliscope import runs
from saliscope.data import open_data
from saliscope.errors import DataError, OptionError
from saliscope.metrics import INQUIRIES, Panel, inquiries_for, to_size
from saliscope.metrics.curves import removal_curves
from saliscope.metrics.drop import coherency, mean_heat, relative_drop
from saliscope.metrics.kept import keep
from saliscope.metrics.occlusion import occlusion_drops, occlusion_rank
from saliscope.metrics.perturbation import infidelity_scores
from saliscope.metrics.stability import flip_consistency, sensitivity
from saliscope.models import load_model
from saliscope.runs.measuring import SHUFFLED, shuffled_map
from saliscope.runs.questions import check_words, questions_of
from saliscope.runs.store import ASKED


class Network:
    """Answers with the network itself, one picture at a time: the slow twin of the question."""

    def __init__(self, net, images, classes):
        self.net, self.images, self.classes = net, images, classes

    def answers(self, count, make):
        for i in range(count):
            pictures = make(range(i, i + 1), slice(0, len(self.images)))[0]
            logits = torch.cat([self.net(p[None]) for p in pictures])
            both = [s.gather(1, self.classes[:, None])[:, 0] for s in (logits.softmax(1), logits)]
            yield range(i, i + 1), torch.stack(both, 1)[None].detach()


@pytest.fixture(scope="module")
def asked(world, data, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked") / "run"
    runs.evaluate(settings_of(world, data), folder, model=model_of(model))
    return folder


@pytest.fixture(scope="module")
def scene(asked, data, model):
    """The first four images, with their maps as the run holds them."""
    run = runs.open_run(asked)
    photos = [open_data(data, "all")[i].photo() for i in range(4)]
    images, _ = model_of(model).inputs(photos)
    rows = run.maps.filter(pl.col("index") < 4)
    names = [*run.methods, SHUFFLED]
    maps = torch.stack(
        [torch.stack([heat(rows, name, i, images) for i in range(4)]) for name in names]
    )
    first = rows.filter(spec=run.methods[0]).sort("index")
    classes = torch.tensor(first["target"].to_list())
    net = model.module.eval()
    own = model_of(model).preprocessing
    return (
        run,
        names,
        Network(net, images, classes),
        images,
        maps,
        {"mean": own.mean, "std": own.std},
    )


def heat(rows, name, index, images):
    (row,) = rows.filter(spec=METHODS[0] if name == SHUFFLED else name, index=index).to_dicts()
    grid = np.array(row["map"], np.float32).reshape(row["height"], row["width"])
    grid = shuffled_map(grid, row["id"]) if name == SHUFFLED else grid
    return to_size(torch.from_numpy(grid.copy()), images)


def value(run, index, spec, metric, protocol):
    (row,) = run.scores.filter(index=index, spec=spec, metric=metric, protocol=protocol).to_dicts()
    return row["value"]


def test_curves_are_those_of_the_network_itself(scene):
    run, names, network, images, maps, how = scene
    kinds = ("deletion", "insertion", "deletion-lerf")
    curves = removal_curves(network, images, maps, kinds=kinds, **how)
    assert names[-1] == SHUFFLED
    for kind in kinds:
        for m, name in enumerate(names):
            for b in range(4):
                expected = float(curves[kind].area[m, b, 0])
                assert value(run, b, name, kind, "saliscope") == pytest.approx(expected, abs=2e-5)
                (row,) = run.removal.filter(index=b, spec=name, kind=kind).to_dicts()
                np.testing.assert_allclose(row["fractions"], curves[kind].fractions, atol=1e-6)
                np.testing.assert_allclose(row["scores"], curves[kind].scores[m, b, 0], atol=1e-4)


def test_drops_infidelity_and_occlusion_too(scene):
    run, names, network, images, maps, how = scene
    net, classes = network.net, network.classes

    def share(pictures):
        return net(pictures).softmax(1).gather(1, classes[:, None])[:, 0].tolist()

    before = share(images)
    wrong = infidelity_scores(network, images, maps, **how)[..., 1]
    drops = occlusion_drops(network, images, patch=5, stride=2, **how)
    ranks = occlusion_rank(maps, drops, patch=5, stride=2)[..., 1]
    for m, name in enumerate(names):
        after = share(keep(images, maps[m : m + 1], **how)[0])
        for b in range(4):
            drop = relative_drop(before[b], after[b])
            assert value(run, b, name, "average-drop", "weighted") == pytest.approx(drop, abs=1e-5)
            own = mean_heat(maps[m, b].numpy())
            assert value(run, b, name, "mean-heat", "input") == pytest.approx(own, abs=1e-6)
            found = value(run, b, name, "infidelity", "squares")
            assert found == pytest.approx(float(wrong[m, b]), rel=1e-3, abs=1e-7)
            found = value(run, b, name, "occlusion-rank", "patch45-stride15")
            assert found == pytest.approx(float(ranks[m, b]), abs=0.02)


def test_a_method_wins_against_the_reference_and_never_against_itself(scene):
    run = scene[0]
    drops = run.by_method("average-drop", "weighted")
    wins = run.by_method("win", "reference")
    assert wins[METHODS[0]].is_nan().all()
    expected = [float(a < b) for a, b in zip(drops["gradient"], drops[METHODS[0]], strict=True)]
    assert wins["gradient"].to_list() == expected


def gradient_of(net, classes):
    def explain(pictures):
        x = pictures.clone().requires_grad_()
        score = net(x).gather(1, classes[:, None]).sum()
        return torch.autograd.grad(score, x)[0].abs().amax(1)

    return explain


def test_robustness_asks_the_method_itself(scene):
    run, _, network, images, maps, how = scene
    explain = gradient_of(network.net, network.classes)
    found = sensitivity(explain, images, radius=0.02)
    flips = flip_consistency(explain, images)
    kept = keep(images, maps[1:2], **how)[0]
    again = explain(kept).numpy()
    for b in range(4):
        most = value(run, b, "gradient", "max-sensitivity", "radius0.02")
        assert most == pytest.approx(found.largest[b], rel=1e-3)
        mean = value(run, b, "gradient", "average-sensitivity", "radius0.02")
        assert mean == pytest.approx(found.mean[b], rel=1e-3)
        flip = value(run, b, "gradient", "flip-consistency", "spearman")
        assert flip == pytest.approx(flips[b], abs=1e-3)
        same = value(run, b, "gradient", "coherency", "weighted")
        assert same == pytest.approx(coherency(maps[1, b].numpy(), again[b]), abs=1e-4)


def test_what_no_method_is_behind_cannot_explain_another_picture(scene):
    run = scene[0]
    rows = run.answers.filter(spec=SHUFFLED)
    metrics = set(rows.filter(pl.col("value").is_nan())["metric"])
    assert {
        m for row in INQUIRIES.values() if row.family == "robustness" for m in row.metrics
    } < metrics
    assert rows.filter(metric="deletion")["value"].is_finite().all()
    one = Panel(
        None,
        torch.zeros(1, 3, 4, 4),
        torch.zeros(2, 1, 4, 4),
        lambda x, which, classes=None: [x[:, 0]],
        (0,),
    )
    assert one.explainer(0)(torch.ones(1, 3, 4, 4)).sum() == 16
    with pytest.raises(DataError, match=r"no method is behind map 1.*ask about \[0\]"):
        one.explainer(1)


def test_what_it_cost_is_kept(scene):
    costs = scene[0].costs
    assert set(costs["question"]) == {n for n, row in INQUIRIES.items() if row.family in ALL}
    assert set(costs["images"]) == {4}
    maps = len(scene[1])
    curves = costs.filter(question="curves").to_dicts()[0]
    # Whole, mean and blurred pictures are shared by all maps and curves; 27 points of three kinds are not.
    assert curves["pictures"] == 4 * (3 * 27 * maps + 3)
    assert costs.filter(question="infidelity")["pictures"].to_list() == [4 * 201] * 3
    assert (costs["seconds"] > 0).all()


def test_what_was_asked_is_not_asked_again(asked, world, data, model, monkeypatch):
    before = {p: p.stat().st_mtime_ns for t in ASKED for p in (asked / t).iterdir()}
    monkeypatch.setattr("saliscope.runs.ask_stage.ask_part", None)
    runs.evaluate(settings_of(world, data), asked, model=model_of(model))
    assert {p: p.stat().st_mtime_ns for t in ASKED for p in (asked / t).iterdir()} == before


def test_asked_afterwards_and_interrupted_it_is_the_same(
    asked, world, data, model, tmp_path, monkeypatch
):
    plain = settings_of(world, data, ask=())
    runs.evaluate(plain, tmp_path, model=model_of(model))
    assert runs.open_run(tmp_path).answers.is_empty()
    from saliscope.runs import ask_stage

    count, own = [], ask_stage.ask_part

    def stopping(*args):
        count.append(1)
        if len(count) == 7:
            raise KeyboardInterrupt
        return own(*args)

    monkeypatch.setattr(ask_stage, "ask_part", stopping)
    with pytest.raises(KeyboardInterrupt):
        runs.measure(tmp_path, model=model_of(model), ask=ALL)
    half = runs.open_run(tmp_path)
    assert half.half_asked
    assert half.answers.is_empty()  # nothing half is shown
    runs.measure(tmp_path, model=model_of(model), ask=ALL)
    assert not runs.open_run(tmp_path).half_asked
    assert len(count) == 3 * 9 + 1  # what was written is not asked again
    one, other = runs.open_run(asked), runs.open_run(tmp_path)
    assert one.answers.equals(other.answers, null_equal=True)
    assert one.removal.equals(other.removal)
    assert one.scores.equals(other.scores)


def flips(run, table):
    return [p for p in sorted((run / table).iterdir()) if ".flip-" in p.name]


def same_answers(run, other):
    for name in ("answers", "removal"):
        one, two = getattr(runs.open_run(run), name), getattr(runs.open_run(other), name)
        assert one.equals(two, null_equal=True)


@pytest.mark.parametrize("table", ASKED)
def test_a_damaged_part_is_found_and_asked_anew(asked, world, data, model, tmp_path, watch, table):
    run, told = shutil.copytree(asked, tmp_path / "run"), watch()
    part = flips(run, table)[0]
    others = [p for t in ASKED for p in (run / t).iterdir() if p.name != part.name]
    before = [p.stat().st_mtime_ns for p in others]
    cut(part)
    with pytest.raises(DataError, match=rf"{part.name} is damaged .*run `saliscope measure`"):
        getattr(runs.open_run(run), table)
    runs.evaluate(settings_of(world, data), run, model=model_of(model), watch=told)
    assert told.said == [f"{part} is damaged: what was asked there is asked anew"]
    assert told.begun[-1] == ("ask", 4, 0)
    same_answers(run, asked)
    assert [p.stat().st_mtime_ns for p in others] == before  # what is well is left alone


def test_measure_finds_damaged_parts_too_and_a_shard_its_own(
    asked, world, data, model, tmp_path, watch
):
    run, told = shutil.copytree(asked, tmp_path / "run"), watch()
    parts = flips(run, "answers")
    for part in parts[:2]:
        cut(part)
    runs.measure(run, model=model_of(model), watch=told)
    assert told.said == [f"{parts[0]} is damaged, and 1 more: what was asked there is asked anew"]
    assert told.begun[-1] == ("ask", 8, 0)
    same_answers(run, asked)
    for part in parts:
        cut(part)
    kept = settings_of(world, data, ask=())
    runs.evaluate(
        kept, run, model=model_of(model), watch=told
    )  # nothing is asked, so nothing is read
    for shard in ("1/2", "2/2"):
        told = watch()
        own = settings_of(world, data, shard=shard)
        runs.evaluate(own, run, model=model_of(model), watch=told)
        assert ("is damaged" in told.said[0]) == (told.begun[-1][0] == "ask")
        assert told.begun[-1][1] < 12
    same_answers(run, asked)


def metrics_of(folder):
    return set(runs.open_run(folder).answers["metric"])


def test_more_questions_are_added_to_those_asked(world, data, model, tmp_path, monkeypatch):
    from saliscope.runs import ask_stage

    settings = settings_of(world, data, ask=("deletion",), limit=4)
    runs.evaluate(settings, tmp_path, model=model_of(model))
    before = runs.open_run(tmp_path).answers
    assert metrics_of(tmp_path) == {"deletion"}
    asked, own = [], ask_stage.ask_part

    def noting(asker, maps, inquiry, wanted):
        asked.append((inquiry.name, wanted))
        return own(asker, maps, inquiry, wanted)

    monkeypatch.setattr(ask_stage, "ask_part", noting)
    runs.measure(tmp_path, model=model_of(model), ask=("average-drop",))
    runs.measure(tmp_path, model=model_of(model), ask=("insertion", "deletion", "average-drop"))
    assert asked == [("kept", {"average-drop"}), ("curves", {"insertion"})]
    assert metrics_of(tmp_path) == {"deletion", "average-drop", "insertion"}
    run = runs.open_run(tmp_path)
    assert run.answers.filter(metric="deletion").equals(before, null_equal=True)
    assert {m for facts in run.record.asked.values() for m in facts["metrics"]} == metrics_of(
        tmp_path
    )
    runs.measure(tmp_path, model=model_of(model), protocols=["cam2016"])
    assert metrics_of(tmp_path) == {"deletion", "average-drop", "insertion"}


def test_what_is_asked_in_another_way_replaces_its_own_answers_alone(
    world, data, model, tmp_path, watch
):
    settings = settings_of(world, data, ask=("deletion", "insertion", "average-drop"), limit=4)
    runs.evaluate(settings, tmp_path, model=model_of(model))
    runs.measure(tmp_path, model=model_of(model), ask=("insertion",), ask_seeds=3)
    run = runs.open_run(tmp_path)
    assert metrics_of(tmp_path) == {"deletion", "insertion", "average-drop"}
    seeds = {m: set(run.answers.filter(metric=m)["seed"]) for m in metrics_of(tmp_path)}
    assert seeds == {"deletion": {0}, "insertion": {0, 1, 2}, "average-drop": {0}}
    rows = run.answers.filter(metric="insertion", spec=METHODS[0], index=run.answers["index"][0])
    mean = value(run, run.answers["index"][0], METHODS[0], "insertion", "saliscope")
    assert mean == pytest.approx(rows["value"].mean())
    assert rows["value"].n_unique() > 1  # a ReLU map ties, and each seed orders the ties otherwise
    told = watch()
    runs.measure(
        tmp_path, model=model_of(model), ask=("deletion", "insertion"), ask_seeds=2, watch=told
    )
    assert (
        "insertion: asked anew in place of what was answered before (seeds was 3, is 2)"
        in told.said
    )
    assert (
        "deletion: asked anew in place of what was answered before (seeds was 1, is 2)" in told.said
    )
    run = runs.open_run(tmp_path)
    assert set(run.answers.filter(metric="insertion")["seed"]) == {0, 1}
    assert len(list((tmp_path / "costs").iterdir())) == 2  # those of other settings are gone


def test_images_that_came_later_are_asked_by_the_same_words(world, data, model, tmp_path, watch):
    asked = settings_of(world, data, ask=("average-drop",), limit=4)
    runs.evaluate(asked, tmp_path, model=model_of(model))
    told = watch()
    more = settings_of(world, data, ask=(), limit=8)
    runs.evaluate(more, tmp_path, model=model_of(model), watch=told)
    assert any("images have no answers to what the network was asked" in said for said in told.said)
    assert runs.open_run(tmp_path).unanswered == 4
    runs.evaluate(asked.model_copy(update={"limit": 8}), tmp_path, model=model_of(model))
    run = runs.open_run(tmp_path)
    assert set(run.answers["id"]) == set(run.images["id"])


def test_the_network_has_to_be_the_one_of_the_maps(world, data, model, tmp_path):
    runs.evaluate(settings_of(world, data, ask=(), limit=4), tmp_path, model=model_of(model))
    other = load_model(world.model, "untrained")
    with torch.no_grad():
        other.module.fc.weight[0, 0] += 1
    with pytest.raises(
        OptionError, match=r"what would be asked is not what made the maps: weights was"
    ):
        runs.measure(tmp_path, model=model_of(other), ask=("deletion",))


def test_a_photograph_lost_since_has_undefined_scores(world, write_photos, model, tmp_path):
    photos = write_photos(tmp_path / "photos")
    data = f"folder:{photos}:boxes=boxes.csv"
    settings = settings_of(world, data, ask=(), batch_size=2, limit=2)
    runs.evaluate(settings, tmp_path / "run", model=model_of(model))
    ids = runs.open_run(tmp_path / "run").images["id"].to_list()
    whole = (photos / ids[0]).read_bytes()
    (photos / ids[0]).write_bytes(whole[:200])
    runs.measure(tmp_path / "run", model=model_of(model), ask=("average-drop",))
    run = runs.open_run(tmp_path / "run")
    for name, lost in zip(ids, (True, False), strict=True):
        rows = run.scores.filter(id=name, metric="average-drop")
        assert len(rows) == len(run.methods) + 1
        assert rows["value"].is_nan().all() == lost
    (photos / ids[1]).write_bytes(whole[:200])
    with pytest.raises(
        DataError, match=r"the 1 photographs beside it cannot be read any more.*--root"
    ):
        runs.measure(tmp_path / "run", model=model_of(model), ask=("increase",))


def test_bfloat16_is_a_choice(asked, world, data, model, tmp_path):
    settings = settings_of(world, data, ask=("deletion",), ask_precision="bfloat16", limit=4)
    runs.evaluate(settings, tmp_path, model=model_of(model))
    half = runs.open_run(tmp_path).scores.filter(metric="deletion")
    exact = runs.open_run(asked).scores.filter(metric="deletion")
    both = half.join(exact, on=["id", "spec", "target"], suffix="_exact")
    assert len(both) == len(half)
    apart = (both["value"] - both["value_exact"]).abs()
    assert 0 < apart.max() < 0.02


def test_several_processes_answer_as_one_does(tmp_path, monkeypatch):
    """Parts of maps are dealt out, and each process has its own copy of the network; the one that deals asks nothing."""
    settings = runs.make_run_settings(
        model="critternet", data="critters", methods=("grad-cam", "gradient"), limit=5, batch_size=2,
        thresholds=0, protocols=(), pointing=(), primary="energy@boxes",
    )  # fmt: skip
    runs.evaluate(settings, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    asked = settings.model_copy(update={"ask": ("average-drop", "flip-consistency")})
    runs.evaluate(asked, tmp_path / "one")
    monkeypatch.setattr("saliscope.runs.ask_stage.ask_part", None)
    runs.evaluate(asked.model_copy(update={"workers": 2}), tmp_path / "two")
    one, two = runs.open_run(tmp_path / "one"), runs.open_run(tmp_path / "two")
    last = two.record.sessions[-1]
    assert (last.stage, last.workers, last.done) == ("ask", 2, 5)
    assert (one.answers["id"].n_unique(), one.answers["metric"].n_unique()) == (5, 2)
    # Each process has its own number of threads, and sums differ by it in their last digits.
    assert_frame_equal(two.answers, one.answers, abs_tol=1e-5)
    assert two.answers["value"].is_finite().any()
    found, expected = (run.costs.drop("seconds") for run in (two, one))
    assert_frame_equal(found, expected, check_row_order=False)


# --- words -----------------------------------------------------------------------------------------------------------


def test_words_are_families_and_metrics(world, data):
    assert check_words(("all", "sanity", "deletion", "deletion")) == ("all", "sanity", "deletion")
    with pytest.raises(OptionError, match=r'"deletoin" cannot be asked of a network; .*"?deletion'):
        check_words(("deletoin",))
    with pytest.raises(OptionError, match=r'"gini" cannot be asked of a network'):
        inquiries_for(["gini"])
    with pytest.raises(OptionError, match=r'"gini" needs no asking: the maps and the annotation'):
        check_words(("gini",))
    with pytest.raises(OptionError, match=r'"lasting" comes with "sanity": --ask sanity'):
        check_words(("lasting",))
    with pytest.raises(OptionError, match=r"not all of it can be asked"):
        settings_of(world, data, ask=("nothing",))
    every = questions_of(settings_of(world, data, ask=("all",)))
    assert [q.inquiry.name for q in every] == list(INQUIRIES)
    assert all(q.wanted == set(q.inquiry.metrics) for q in every)
    (one,) = questions_of(settings_of(world, data, ask=("insertion",)))
    assert (one.inquiry.name, one.wanted) == ("curves", {"insertion"})
    again = questions_of(settings_of(world, data, ask=("insertion",), ask_seeds=2))[0]
    assert again.key != one.key


def test_twins_are_asked_where_there_are_twins(world, data, model, tmp_path):
    with pytest.raises(
        OptionError,
        match=r"twin-share compares a class with its twin, and folder:.* knows no twins",
    ):
        runs.evaluate(
            settings_of(world, data, ask=("twin-share",)), tmp_path, model=model_of(model)
        )


def test_twins_of_critters(tmp_path):
    settings = runs.make_run_settings(
        model="critternet", data="critters", methods=("grad-cam", "edges"), limit=2, ask=("evidence",),
        thresholds=0, protocols=(), pointing=(), primary="energy@boxes",
    )  # fmt: skip
    runs.evaluate(settings, tmp_path)
    run = runs.open_run(tmp_path)
    shares = run.scores.filter(metric="twin-share", protocol="contrast")
    found = shares.filter(spec="grad-cam")["value"]
    assert found.is_between(0, 1).all()
    assert (
        shares.filter(spec="edges")["value"].is_nan().all()
    )  # it knows no class, so nothing speaks for one
    assert shares.filter(spec=SHUFFLED)["value"].is_nan().all()
    assert not math.isnan(found.mean())
