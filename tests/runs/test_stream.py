"""Three steps that overlap: order, look-ahead, and what an exception leaves behind. See test_pipeline.py for networks."""

import threading
import time

import pytest
import torch

from saliscope.runs import stream
from saliscope.runs.stream import Steps, each_or_all, overlapped, works_beside


def steps(*, read=lambda i: i, work=list, finish=lambda d: d, threads=2, beside=True, behind=2):
    return Steps(read, work, finish, threads=threads, beside=beside, behind=behind)


def ours():
    return [t.name for t in threading.enumerate() if t.name.startswith(("read", "finish"))]


BATCHES = [[0, 1, 2], [3], [4, 5], [6, 7, 8, 9]]


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_items(beside, threads):
    def slow(item):
        time.sleep((item * 7 % 5) / 500)
        return item

    found = overlapped(
        steps(read=slow, work=lambda ready: [r * 10 for r in ready], finish=slow, beside=beside, threads=threads), iter(BATCHES)
    )  # fmt: skip
    assert list(found) == [n * 10 for n in range(10)]
    assert ours() == []


def test_work_sees_whole_batches_in_the_callers_thread():
    seen = []
    list(
        overlapped(
            steps(
                work=lambda ready: seen.append((list(ready), threading.current_thread())) or ready
            ),
            iter(BATCHES),
        )
    )
    assert seen == [(batch, threading.main_thread()) for batch in BATCHES]


def test_a_batch_may_become_any_number_of_results():
    found = overlapped(steps(work=lambda ready: ready[:1] * (len(ready) - 1)), iter(BATCHES))
    assert list(found) == [0, 0, 4, 6, 6, 6]


@pytest.mark.parametrize(("beside", "ahead"), [(True, 3), (False, 1)])
def test_reading_is_so_far_ahead_and_no_farther(beside, ahead):
    taken, spare = [], []

    def batches():
        for number in range(12):
            taken.append(number)
            yield [number]

    def work(ready):
        spare.append(len(taken) - ready[0])
        return ready

    list(overlapped(steps(work=work, beside=beside), batches()))
    assert spare[:9] == [ahead] * 9


def test_so_many_results_wait_to_be_taken():
    """With a finisher that hangs, work goes on until `behind` results wait, and one more."""
    hang, worked = threading.Event(), []

    def finish(done):
        hang.wait(20)
        return done

    def work(ready):
        worked.extend(ready)
        if len(worked) == 3:  # the third is done while two wait: now the first is waited for
            threading.Timer(0.05, hang.set).start()
        return ready

    found = overlapped(steps(work=work, finish=finish, behind=2), iter([[n] for n in range(8)]))
    assert next(found) == 0
    assert worked == [0, 1, 2]
    assert list(found) == list(range(1, 8))


@pytest.mark.parametrize("step", ["read", "work", "finish", "batches"])
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_what_a_step_raises_ends_the_stream(step, error):
    def fail(item):
        if item in (4, [4, 5]):
            raise error
        return item

    def batches():
        for batch in BATCHES:
            yield fail(batch) if step == "batches" else batch

    more = {step: fail} if step != "batches" else {}
    taken = []
    with pytest.raises(type(error)):
        taken.extend(overlapped(steps(**more), batches()))
    assert taken == list(range(len(taken)))
    assert len(taken) <= 4
    assert ours() == []


def test_closing_finishes_what_is_being_finished_and_drops_the_rest():
    begun, finished = [], []

    def finish(done):
        begun.append(done)
        time.sleep(0.02)
        finished.append(done)
        return done

    found = overlapped(steps(finish=finish, threads=1), iter([[n] for n in range(50)]))
    assert next(found) == 0
    found.close()
    assert finished == begun
    assert len(finished) < 6
    assert ours() == []


# --- memory ----------------------------------------------------------------------------------------------------------

FULL = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", FULL)
def test_a_batch_that_does_not_fit_goes_one_by_one(error):
    tried = []

    def work(batch):
        tried.append(list(batch))
        if len(batch) > 1 or batch == [2]:
            raise error
        return [n * 10 for n in batch]

    found = each_or_all(work, [1, 2, 3], lambda item, err: (item, err))
    assert found == [10, (2, error), 30]
    assert tried == [[1, 2, 3], [1], [2], [3]]


def test_a_batch_that_fits_is_one():
    tried = []
    assert each_or_all(lambda b: tried.append(b) or b, [1, 2], None) == [1, 2]
    assert tried == [[1, 2]]
    assert each_or_all(lambda b: 1 / 0, [], None) == []


def test_another_error_is_no_lack_of_memory():
    with pytest.raises(RuntimeError, match="a bug"):
        each_or_all(lambda b: (_ for _ in ()).throw(RuntimeError("a bug")), [1, 2], None)


# --- cores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "threads", "own", "expected"),
    [("cpu", 2, 2, False), ("cpu", 4, 2, False), ("cpu", 1, 2, True), ("cuda", 2, 2, True)],
)
def test_who_leaves_cores_free(monkeypatch, device, threads, own, expected):
    monkeypatch.setattr(stream, "cores", lambda: own)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert works_beside(torch.device(device)) is expected
