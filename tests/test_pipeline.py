import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from saliscope import pipeline
from saliscope.errors import ImageError, MethodError, OptionError, TargetError
from saliscope.explainer import resolve_specs
from saliscope.images import Photo
from saliscope.methods import parse_method
from saliscope.models import Model
from saliscope.pipeline import explain_files
from saliscope.runs import stream


@pytest.fixture
def model(nets):
    return Model(nets.gap(), 32)


@pytest.fixture
def specs(model):
    return resolve_specs(model, [parse_method("cam"), parse_method("grad-cam@conv1")])


@pytest.fixture
def files(tmp_path):
    paths = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        pixels = random.integers(0, 256, (20 + seed, 30, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{9 - seed}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def keep(path, explanations):
    return explanations


def workers():
    return [t.name for t in threading.enumerate() if t.name.startswith(("decode", "finish"))]


def test_every_file_comes_in_order_with_its_own_explanations(model, specs, files):
    outcomes = list(explain_files(model, files, specs, keep, batch_size=4))
    assert [o.path for o in outcomes] == files
    for seed, outcome in enumerate(outcomes):
        assert outcome.error is None
        assert [e.method for e in outcome.value] == ["cam", "grad-cam"]
        assert {e.photo.path for e in outcome.value} == {outcome.path}
        assert {e.frame.source for e in outcome.value} == {(20 + seed, 30)}


@pytest.mark.parametrize("size", [2, 3, 10, 64])
def test_the_batch_size_does_not_matter(model, specs, files, size):
    singles = list(explain_files(model, files, specs, keep, batch_size=1))
    batched = list(explain_files(model, files, specs, keep, batch_size=size))
    assert [o.path for o in batched] == [o.path for o in singles]
    for one, other in zip(singles, batched, strict=True):
        for a, b in zip(one.value, other.value, strict=True):
            np.testing.assert_allclose(a.map, b.map, rtol=1e-4, atol=1e-6)
            assert (a.target.index, a.status, a.frame) == (b.target.index, b.status, b.frame)


def test_no_files_are_no_outcomes(model, specs):
    assert list(explain_files(model, [], specs, keep)) == []


def test_what_cannot_be_read_is_an_error_in_its_place(model, specs, files, tmp_path):
    broken, missing = tmp_path / "broken.png", tmp_path / "missing.png"
    broken.write_bytes(files[0].read_bytes()[:200])
    paths = [broken, *files[:3], missing, files[3]]
    outcomes = list(explain_files(model, paths, specs, keep, batch_size=2))
    assert [o.path for o in outcomes] == paths
    assert [o.error is None for o in outcomes] == [False, True, True, True, False, True]
    assert isinstance(outcomes[0].error, ImageError)
    assert "broken.png" in str(outcomes[0].error)
    assert outcomes[0].value is None


def test_a_whole_batch_of_broken_files_is_no_batch(model, specs, files, tmp_path):
    paths = [tmp_path / f"none{i}.png" for i in range(5)]
    outcomes = list(explain_files(model, [*paths, files[0]], specs, keep, batch_size=2))
    assert [o.error is None for o in outcomes] == [False] * 5 + [True]


@pytest.mark.parametrize("error", [PermissionError("no"), MemoryError()])
def test_errors_of_the_system_are_outcomes_too(model, specs, files, monkeypatch, error):
    def load(path):
        if path == files[1]:
            raise error
        return Photo(np.zeros((8, 8, 3), np.uint8), path.name, path)

    monkeypatch.setattr(pipeline, "load_image", load)
    outcomes = list(explain_files(model, files[:3], specs, keep))
    assert [o.error for o in outcomes] == [None, error, None]


def test_a_bug_in_reading_is_not_hidden(model, specs, files, monkeypatch):
    monkeypatch.setattr(pipeline, "load_image", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(explain_files(model, files, specs, keep))
    assert workers() == []


def test_reading_is_at_most_three_batches_ahead(model, specs, files, monkeypatch):
    read = []
    monkeypatch.setattr(
        pipeline,
        "load_image",
        lambda p: read.append(p) or Photo(np.zeros((8, 8, 3), np.uint8), p.name, p),
    )
    finished, ahead = [], []

    def slow(path, explanations):
        time.sleep(0.01)
        finished.append(path)

    taken = 0
    for _ in explain_files(model, files * 4, specs, slow, batch_size=2):
        taken += 1
        ahead.append(len(read) - taken)
        assert len(read) - len(finished) <= (3 + 2) * 2
    assert taken == 40
    assert 2 < max(ahead) <= (3 + 2) * 2


def test_a_slow_reader_holds_at_most_three_batches(model, specs, files, monkeypatch):
    """The network stands still inside a batch: only what is decoded for it piles up."""
    read, seen, most = [], [0], []
    monkeypatch.setattr(
        pipeline,
        "load_image",
        lambda p: read.append(p) or Photo(np.zeros((8, 8, 3), np.uint8), p.name, p),
    )
    real = pipeline.explain_batch

    def explain(model, photos, *args, **more):
        time.sleep(0.05)
        most.append(len(read) - seen[0])
        seen[0] += len(photos)
        return real(model, photos, *args, **more)

    monkeypatch.setattr(pipeline, "explain_batch", explain)
    list(explain_files(model, files * 3, specs, keep, batch_size=3))
    assert 3 < max(most) <= 9


def test_reading_and_finishing_have_threads_of_their_own(model, specs, files, monkeypatch):
    real, names = pipeline.load_image, set()

    def load(path):
        names.add(threading.current_thread().name)
        return real(path)

    monkeypatch.setattr(pipeline, "load_image", load)
    finishers = {
        o.value
        for o in explain_files(
            model, files, specs, lambda p, e: threading.current_thread().name, workers=1
        )
    }
    assert names == {"read_0"}
    assert finishers == {"finish_0"}
    assert workers() == []


def test_several_images_are_finished_at_once_and_come_in_order(model, specs, files):
    both = threading.Barrier(2, timeout=20)  # two must be inside to go on

    def finish(path, explanations):
        both.wait()
        return explanations[0].photo.name

    outcomes = list(explain_files(model, files, specs, finish, batch_size=2, workers=2))
    assert [o.value for o in outcomes] == [path.name for path in files]


@pytest.mark.parametrize(("threads", "beside"), [(1, False), (2, True)])
def test_nothing_runs_beside_a_network_on_all_cores(
    model, specs, files, monkeypatch, threads, beside
):
    """Torch has one thread here: all cores if there is one, not if there are two."""
    real, seen = pipeline.explain_batch, []
    started, busy = threading.Semaphore(0), []

    def finish(path, explanations):
        busy.append(path)
        started.release()
        time.sleep(0.05)
        busy.remove(path)

    def explain(model, photos, *args, **more):
        seen.append(len(busy))
        return real(model, photos, *args, **more)

    monkeypatch.setattr(stream, "cores", lambda: threads)
    monkeypatch.setattr(pipeline, "explain_batch", explain)
    outcomes = list(explain_files(model, files, specs, finish, batch_size=2))
    assert [o.path for o in outcomes] == files
    assert (max(seen) > 0) == beside


def test_large_photographs_make_small_batches(model, specs, files, monkeypatch):
    real, sizes = pipeline.explain_batch, []

    def explain(model, photos, *args, **more):
        sizes.append(len(photos))
        return real(model, photos, *args, **more)

    monkeypatch.setattr(pipeline, "explain_batch", explain)
    monkeypatch.setattr(pipeline, "_BATCH_PIXELS", 3 * 24 * 30)  # photographs of 20 to 29 x 30
    list(explain_files(model, files, specs, keep, batch_size=8))
    assert sizes == [3, 3, 2, 2]


def test_a_photograph_larger_than_any_batch_is_a_batch(model, specs, files, monkeypatch):
    monkeypatch.setattr(pipeline, "_BATCH_PIXELS", 1)
    outcomes = list(explain_files(model, files[:3], specs, keep))
    assert [o.error for o in outcomes] == [None] * 3


def test_an_image_that_cannot_be_drawn_stops_no_other(model, specs, files):
    def finish(path, explanations):
        if path == files[1]:
            raise ImageError("too long for a JPEG")
        return path

    outcomes = list(explain_files(model, files[:4], specs, finish))
    assert [o.value for o in outcomes] == [files[0], None, *files[2:4]]
    assert str(outcomes[1].error) == "too long for a JPEG"


def test_closing_early_stops_the_threads(model, specs, files):
    finished = []
    outcomes = explain_files(
        model, files * 10, specs, lambda p, e: finished.append(p), batch_size=2
    )
    next(outcomes)
    assert workers() != []
    outcomes.close()
    assert workers() == []
    assert 1 <= len(finished) < 20


def test_a_generator_never_started_starts_nothing(model, specs, files):
    outcomes = explain_files(model, files, specs, keep)
    assert workers() == []
    outcomes.close()
    assert workers() == []


@pytest.mark.parametrize("error", [ValueError("no room"), KeyboardInterrupt()])
def test_what_finish_raises_ends_the_run(model, specs, files, error):
    finished = []

    def finish(path, explanations):
        if len(finished) == 3:
            raise error
        finished.append(path)

    outcomes = explain_files(model, files, specs, finish, batch_size=2)
    taken = []
    with pytest.raises(type(error)):
        taken.extend(o.path for o in outcomes)
    assert taken == files[: len(taken)]
    assert finished == files[:3]
    assert workers() == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_a_batch_too_large_is_tried_one_by_one(model, specs, files, monkeypatch, error):
    real, sizes = pipeline.explain_batch, []

    def explain(model, photos, *args, **more):
        sizes.append(len(photos))
        if len(photos) > 1 or photos[0].name == files[2].name:
            raise error
        return real(model, photos, *args, **more)

    monkeypatch.setattr(pipeline, "explain_batch", explain)
    outcomes = list(explain_files(model, files[:5], specs, keep, batch_size=3))
    assert sizes == [3, 1, 1, 1, 2, 1, 1]
    assert [o.path for o in outcomes] == files[:5]
    assert [o.error for o in outcomes] == [None, None, error, None, None]


def test_another_failure_of_the_network_ends_the_run(model, specs, files, monkeypatch):
    def explain(*args, **more):
        raise RuntimeError("a bug")

    monkeypatch.setattr(pipeline, "explain_batch", explain)
    with pytest.raises(RuntimeError, match="a bug"):
        list(explain_files(model, files, specs, keep))
    assert workers() == []


def test_top_classes_come_target_by_target(model, specs, files):
    (outcome,) = explain_files(model, files[:1], specs, keep, top=3)
    indices = [e.target.index for e in outcome.value]
    assert indices[0::2] == indices[1::2]
    assert len(set(indices)) == 3
    logits = [e.target.logit for e in outcome.value[0::2]]
    assert logits == sorted(logits, reverse=True)
    assert indices[0] == outcome.value[0].predicted.index


@pytest.mark.parametrize(
    ("more", "error", "match"),
    [
        ({"batch_size": 0}, OptionError, "the batch size is at least 1; got 0"),
        ({"top": 0}, TargetError, "top 0 of 5 classes .* ask for 1 to 5"),
        ({"top": 6}, TargetError, "top 6 of 5 classes"),
        ({"top": 2, "target": 1}, TargetError, "either a target or the number of top classes"),
        ({"space": "probability"}, MethodError, "CAM reads the weights .* not a probability"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_read(
    model, specs, files, more, error, match
):
    with pytest.raises(error, match=match):
        explain_files(model, files, specs, keep, **more)
