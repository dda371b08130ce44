"""Runs on Ray: the same rows as on this machine, whatever becomes of its actors."""

import json
import pickle
import secrets
import shutil
import signal
import tempfile
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from saliscope import runs
from saliscope.errors import DataError, OptionError
from saliscope.runs import cluster
from saliscope.runs.cluster import _Actor, _Tries, run_on_ray
from saliscope.runs.local import Dead, cores

# Ray warns of itself there; what it warns us of is an error as everywhere.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")

# --- without a cluster -----------------------------------------------------------------------------------------------


@pytest.fixture
def actor(monkeypatch):
    """An actor that does jobs by writing them down: `actor(kills)`; a job in `kills` is where it would die."""
    tries, written, done = _Tries(), set(), []
    monkeypatch.setattr(_Actor, "_begin", lambda self, what: tries.begin(what))
    monkeypatch.setattr(_Actor, "_succeed", lambda self, what: tries.succeed(what))

    def make(kills=()):
        def work(jobs):
            for job in jobs:
                done.append(job)
                if job in kills:
                    raise SystemExit(9)
                written.add(job)
                yield f"did {job}"

        found = _Actor.__new__(_Actor)
        found.work, found.there = work, written.__contains__
        return found

    return SimpleNamespace(make=make, done=done, tries=tries)


def results(actor, jobs):
    packed = actor({"jobs": [pickle.dumps(jobs)]})
    (found,) = packed["results"]
    return pickle.loads(found)


def test_a_list_is_done_together(actor):
    assert results(actor.make(), ["a", "b", "c"]) == ["did a", "did b", "did c"]


def test_what_an_actor_died_of_is_found_out(actor):
    """Each of these has the list that the one before died with."""
    jobs = ["a", "b", "c"]
    for done in (
        ["a", "b"],
        ["b"],
        ["b"],
    ):  # together, then one by one: what is written is not done again
        actor.done.clear()
        with pytest.raises(SystemExit):
            results(actor.make(kills={"b"}), jobs)
        assert actor.done == done
    actor.done.clear()
    found = results(actor.make(kills={"b"}), jobs)
    assert found == [Dead("b", "every process of the cluster that worked on it ended"), "did c"]
    assert actor.done == ["c"]


def test_an_actor_that_died_once_loses_nothing(actor):
    with pytest.raises(SystemExit):
        results(actor.make(kills={"b"}), ["a", "b", "c"])
    assert results(actor.make(), ["a", "b", "c"]) == ["did b", "did c"]
    assert results(actor.make(), ["a", "b", "c"]) == []


def test_a_job_alone_is_tried_twice(actor):
    for _ in range(2):
        with pytest.raises(SystemExit):
            results(actor.make(kills={"b"}), ["b"])
    (found,) = results(actor.make(kills={"b"}), ["b"])
    assert found.job == "b"


def test_an_exception_is_a_result(actor):
    found = actor.make()
    found.work = lambda jobs: iter([1 / 0])
    (err,) = results(found, ["a"])
    assert isinstance(err, ZeroDivisionError)
    assert "test_cluster.py" in err.__notes__[0]


def born(make, most=3):
    return _Actor(pickle.dumps(make), pickle.dumps(len), None, most, 1)


def broken(number):
    raise DataError("it is not here")


def test_actors_that_die_at_birth_are_not_born_for_ever(actor):
    for _ in range(3):  # they began, and were not heard of again
        actor.tries.begin("birth")
    (err,) = results(born(abs), ["a"])
    assert isinstance(err, DataError)
    assert "end before they begin, often because memory ran out; with fewer --workers" in str(err)


def test_one_that_lives_forgets_the_deaths_before(actor):
    for _ in range(2):
        actor.tries.begin("birth")
    assert born(abs).work == 0  # what abs(0) gives
    assert actor.tries.begin("birth") == 1


def test_what_cannot_be_made_is_a_result(actor):
    (err,) = results(born(broken), ["a"])
    assert isinstance(err, DataError)
    assert str(err) == "it is not here"
    assert len(results(born(broken), ["a", "b"])) == 1


def test_what_cannot_be_sent_is_told_before_anything_is_started():
    def work(number):
        return number

    found = run_on_ray(work, ["a"], SimpleNamespace(address=None), there=len, split=list, gpu=False)
    with pytest.raises(OptionError, match="given in memory cannot be sent to other processes"):
        next(found)


@pytest.mark.parametrize(
    ("resources", "gpu", "actors"),
    [
        ({"CPU": 8.0}, False, 4),
        ({"CPU": 1.0}, False, 1),
        ({"CPU": 8.0, "GPU": 3.0}, True, 3),
        ({}, True, 1),
    ],
)
def test_how_many_actors_there_are(resources, gpu, actors):
    ray = SimpleNamespace(cluster_resources=lambda: resources)
    assert cluster._actors(ray, gpu=gpu) == actors
    threads = 1 if gpu else max(1, int(resources["CPU"]) // actors)
    assert cluster._threads(ray, actors, gpu=gpu) == threads


# --- with one --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apart(world):
    """Ray leaves nothing where others look: its files are in a short-lived folder, its token is nowhere."""
    pytest.importorskip("ray.data", reason="Ray is not installed")
    folder = tempfile.mkdtemp(prefix="ray")  # the paths of its sockets have to be short
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("PYTHONPATH", str(world.file.parent))
        patch.setenv("RAY_AUTH_MODE", "")  # Ray sets it
        patch.delenv("RAY_AUTH_MODE")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def here(apart):
    """As many threads here as an actor has of two: another number adds in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, cores() // 2))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ray(apart):
    """A cluster that stays for several tests: two actors of one core each."""
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, namespace="saliscope")
    yield ray
    ray.shutdown()
    signal.signal(signal.SIGTERM, handler)  # Ray leaves its own


def children():
    """The processes of Ray that were started here."""
    psutil = pytest.importorskip("psutil")
    found = psutil.Process().children(recursive=True)
    return [
        c.name()
        for c in found
        if "ray" in " ".join(c.cmdline()) and "tracker" not in " ".join(c.cmdline())
    ]


def test_the_same_rows_as_on_this_machine(here, look, tmp_path):
    import ray

    words = {
        "model": "critternet", "data": "critters:count=8", "methods": ["cam", "grad-cam@layer3"],
        "target": "both", "thresholds": 20, "batch_size": 2,
    }  # fmt: skip
    handler = signal.getsignal(signal.SIGTERM)
    runs.evaluate(runs.make_run_settings(**words, workers=1), tmp_path / "here")
    own = runs.make_run_settings(**words, workers=2, engine="ray")
    outcome = runs.evaluate(own, tmp_path / "there")
    assert (outcome.done, outcome.failed, outcome.new_done, outcome.new_failed) == (8, 0, 8, 0)
    look.same(tmp_path / "there", tmp_path / "here")
    look.once(tmp_path / "there")
    assert [(s["engine"], s["done"]) for s in look.record(tmp_path / "there")["sessions"]] == [
        ("ray", 8)
    ] * 2
    assert not ray.is_initialized()
    assert children() == []
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.slow
def test_an_actor_that_is_killed_costs_nothing(
    ray, settings, world, photos, look, singles, watch, tmp_path
):
    """It dies with three images in hand, of which it had written some."""
    told, data = watch(), {"all": world.killing(photos, tmp_path / "died", always=False)}
    own = settings(engine="ray", workers=2, batch_size=1)
    outcome = runs.evaluate(own, tmp_path / "run", data=data, watch=told)
    assert (tmp_path / "died").exists()
    assert (outcome.done, outcome.failed, outcome.new_done, outcome.new_failed) == (12, 0, 12, 0)
    assert (told.begun, told.done, told.failed) == ([("explain", 12, 0), ("measure", 12, 0)], 12, 0)
    assert [s["done"] for s in look.record(tmp_path / "run")["sessions"]] == [12, 12]
    look.same(tmp_path / "run", singles)
    look.once(tmp_path / "run")
    assert ray.is_initialized()  # it was there before


@pytest.mark.slow
def test_a_sample_that_kills_every_actor_is_a_row_that_failed(
    ray, settings, world, photos, look, tmp_path
):
    data = {"all": world.killing(photos, tmp_path / "died", always=True)}
    outcome = runs.evaluate(settings(engine="ray", workers=2), tmp_path / "run", data=data)
    assert (outcome.done, outcome.failed, outcome.new_done, outcome.new_failed) == (11, 1, 11, 1)
    (line,) = (tmp_path / "run/errors.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "owl/p1.png"
    assert json.loads(line)["message"] == "every process of the cluster that worked on it ended"
    found = Counter(runs.open_run(tmp_path / "run").images["status"])
    assert found == {"ok": 11, "failed": 1}
    look.once(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("bug", KeyError, "a bug"),
        ("fails", DataError, "it is not on this machine"),
        ("dies", DataError, r"end before they begin, .*Nothing that was done is lost: the same command continues"),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_an_actor_is_told_here(
    ray, settings, world, photos, tmp_path, how, error, message
):
    data = {"all": world.elsewhere(photos, how)}
    with pytest.raises(error, match=message):
        runs.evaluate(settings(engine="ray", workers=2), tmp_path / "run", data=data)
    assert runs.evaluate(settings(), tmp_path / "run", data=data).done == 12


@pytest.mark.slow
def test_a_run_on_a_cluster_is_continued_here_and_there(
    ray, settings, look, plain, watch, tmp_path
):
    own = settings(engine="ray", workers=2, data=look.data_of(plain))
    with pytest.raises(KeyboardInterrupt):
        runs.evaluate(own, tmp_path / "run", watch=watch("explain", 4))
    assert 0 < len(list((tmp_path / "run/maps").iterdir())) <= 3
    outcome = runs.evaluate(own, tmp_path / "run")
    assert (outcome.done, outcome.failed) == (12, 0)
    look.same(tmp_path / "run", plain)
    assert runs.measure(tmp_path / "run", engine="ray", workers=2, thresholds=5).done == 12
    runs.measure(tmp_path / "run", thresholds=20)
    look.same(tmp_path / "run", plain)


@pytest.mark.slow
def test_a_network_in_memory_is_sent(ray, settings, world, look, photos, tmp_path):
    from saliscope.models import Model

    torch.manual_seed(3)
    model = Model(world.Net(3).eval(), 32)
    for engine in ("local", "ray"):
        own = settings(engine=engine, weights="pretrained", num_classes=None, size=None)
        runs.evaluate(own, tmp_path / engine, model=model)
    look.same(tmp_path / "local", tmp_path / "ray")
