"""Several processes: all jobs done once, whoever dies; no job blamed for another's death."""

import importlib.util
import os
import signal
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest

from saliscope.errors import DataError, OptionError
from saliscope.runs import local
from saliscope.runs.local import Crew, Dead, run_in_processes

# What runs in the processes; it imports nothing heavy, so they begin quickly.
WORKERS = '''
import os, signal, sys, time
from collections import deque
from pathlib import Path


def double(number):
    return lambda jobs: (job * 2 for job in jobs)


def who(number):
    def work(jobs):
        for job in jobs:
            time.sleep(0.02)
            yield job, number, os.getpid()
    return work


class Killing:
    """Ends its process when it meets one of `jobs`: each time, or only once (then a file says so)."""

    def __init__(self, folder, jobs, once=False, ahead=1):
        self.folder, self.jobs, self.once, self.ahead = folder, jobs, once, ahead

    def __call__(self, number):
        return self.work

    def work(self, jobs):
        read = deque()
        for job in jobs:
            self.meet(job)
            read.append(job)
            if len(read) == self.ahead:
                yield read.popleft()
        yield from read

    def meet(self, job):
        with (Path(self.folder) / "met").open("a") as file:
            file.write(f"{job}\\n")
        mark = Path(self.folder) / f"died-{job}"
        parts = job if isinstance(job, tuple) else (job,)
        if set(parts) & set(self.jobs) and not (self.once and mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def failing(number):
    def work(jobs):
        for job in jobs:
            if job == 3:
                raise ValueError("job 3 cannot be done")
            yield job
    return work


def failing_oddly(number):
    return lambda jobs: (_ for _ in ()).throw(Odd(1, 2))


def losing(number):
    return lambda jobs: (_ for _ in ()).throw(ConnectionResetError("the storage is away"))


def dying_young(number):
    os._exit(7)


def refusing(number):
    raise DataNotThere("no data here")


class DataNotThere(ValueError):
    pass


class Meeting:
    """Each job waits until `count` are being worked on at once, and tells how many there were."""

    def __init__(self, folder, count):
        self.folder, self.count = Path(folder), count

    def __call__(self, number):
        return self.work

    def work(self, jobs):
        for job in jobs:
            (self.folder / f"begun-{job}").touch()
            until = time.monotonic() + 60
            while time.monotonic() < until and self.here() < self.count:
                time.sleep(0.02)
            yield self.here()

    def here(self):
        return len(list(self.folder.glob("begun-*")))


def late(number):
    """The second process begins when the first has done all."""
    time.sleep(number * 1.5)
    return lambda jobs: iter(jobs)
'''


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    file = tmp_path_factory.mktemp("workers") / "local_workers.py"
    file.write_text(WORKERS)
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location("local_workers", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["local_workers"] = module
    spec.loader.exec_module(module)
    yield SimpleNamespace(**vars(module))
    sys.path.remove(str(file.parent))
    del sys.modules["local_workers"]


@pytest.fixture(autouse=True)
def _nobody_left():
    yield
    assert not local.multiprocessing.active_children()


def met(folder):
    return (folder / "met").read_text().splitlines()


@pytest.mark.parametrize(("size", "count"), [(1, 5), (2, 60), (3, 2), (2, 0)])
def test_all_jobs_are_done_once(w, size, count):
    found = list(run_in_processes(Crew(w.double, size), list(range(count))))
    assert sorted(found) == [2 * n for n in range(count)]


def test_every_process_has_its_number_and_a_share(w):
    found = list(run_in_processes(Crew(w.who, 2), list(range(40))))
    assert sorted(job for job, _, _ in found) == list(range(40))
    assert {number for _, number, _ in found} == {0, 1}
    assert len({process for _, _, process in found}) == 2
    for own in (0, 1):  # in the order they were given
        jobs = [job for job, number, _ in found if number == own]
        assert jobs == sorted(jobs)
        assert len(jobs) > 5


def test_no_process_has_two_jobs_while_another_has_none(w, tmp_path):
    """One that gets a second list so as never to wait must not take it from those that have nothing."""
    found = list(run_in_processes(Crew(w.Meeting(tmp_path, 4), 4), list(range(4))))
    assert found == [4] * 4


def test_a_process_that_begins_late_is_no_hindrance(w):
    start = time.monotonic()
    assert sorted(run_in_processes(Crew(w.late, 2), list(range(3)))) == [0, 1, 2]
    assert time.monotonic() - start < 20


# --- death -----------------------------------------------------------------------------------------------------------


def test_a_process_that_is_killed_costs_nothing(w):
    """From outside, as the kernel does when memory is short."""
    found, killed = [], []
    for each in run_in_processes(Crew(w.who, 2), list(range(30))):
        found.append(each)
        if len(found) in (4, 12):
            os.kill(each[2], signal.SIGKILL)
            killed.append(each[2])
    assert sorted({job for job, _, _ in found}) == list(range(30))
    assert len(found) == 30
    assert len({process for _, _, process in found} - set(killed)) >= 2


def test_a_job_that_kills_once_is_done_in_the_end(w, tmp_path):
    crew = Crew(w.Killing(tmp_path, [5, 11], once=True), 2)
    assert sorted(run_in_processes(crew, list(range(16)))) == list(range(16))
    assert {p.name for p in tmp_path.glob("died-*")} == {"died-5", "died-11"}


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_job_that_always_kills_is_named_and_no_other(w, tmp_path, ahead):
    """Also where it kills while it is only being read, and another job is worked on."""
    found = list(run_in_processes(Crew(w.Killing(tmp_path, [6], ahead=ahead), 1), list(range(10))))
    dead = [each for each in found if isinstance(each, Dead)]
    assert dead == [Dead(6, dead[0].reason)]
    assert "ended" in dead[0].reason
    assert "SIGKILL, often because memory ran out" in dead[0].reason
    assert sorted(each for each in found if not isinstance(each, Dead)) == [
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        9,
    ]
    assert met(tmp_path).count("6") == 3  # among others, then twice alone


def test_a_job_that_kills_is_split_until_it_is_known_which_part_does(w, tmp_path):
    jobs = [(0, 1), (2, 3, 4), (5,)]
    crew = Crew(w.Killing(tmp_path, [3]), 1, lambda job: [(part,) for part in job])
    found = list(run_in_processes(crew, jobs))
    assert {each for each in found if not isinstance(each, Dead)} == {(0, 1), (2,), (4,), (5,)}
    assert [each.job for each in found if isinstance(each, Dead)] == [(3,)]
    assert len(found) == 5


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_an_exception_is_raised_here_with_where_it_was(w):
    with pytest.raises(ValueError, match="job 3 cannot be done") as found:
        list(run_in_processes(Crew(w.failing, 2), list(range(9))))
    assert "local_workers.py" in "".join(found.value.__notes__)


def test_an_exception_that_does_not_pickle_comes_as_its_words(w):
    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):
        list(run_in_processes(Crew(w.failing_oddly, 1), [1]))


def test_a_lost_connection_of_the_work_is_an_exception_too(w):
    """Not to be taken for the end of the other process."""
    with pytest.raises(ConnectionResetError, match="the storage is away"):
        list(run_in_processes(Crew(w.losing, 1), [1]))


def test_processes_that_end_before_they_begin_blame_no_job(w):
    with pytest.raises(
        DataError,
        match=r'processes end before they begin \(exit code 7\): .*`if __name__ == "__main__":`',
    ):
        list(run_in_processes(Crew(w.dying_young, 1), list(range(50))))


def test_what_cannot_be_opened_there_is_said_as_it_is_here(w):
    with pytest.raises(w.DataNotThere, match="no data here"):
        list(run_in_processes(Crew(w.refusing, 1), [1]))


def test_what_cannot_be_sent_is_said():
    for made in (lambda number: None, partial(print, threading.Lock())):
        with pytest.raises(
            OptionError,
            match=r"given in memory cannot be sent to other processes .*; give it by its name",
        ):
            list(run_in_processes(Crew(made, 2), [1]))


def test_closing_ends_the_processes(w):
    found = run_in_processes(Crew(w.who, 2), list(range(500)))
    _, _, process = next(found)
    found.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_processes_are_started_deaf_to_the_keyboard(w, monkeypatch):
    """^C in a terminal goes to all of them; before `_serve` it would end them with a traceback each."""
    real, seen = local.signal.signal, []
    monkeypatch.setattr(
        local.signal, "signal", lambda number, how: seen.append((number, how)) or real(number, how)
    )
    before = signal.getsignal(signal.SIGINT)
    assert list(run_in_processes(Crew(w.double, 1), [1])) == [2]
    assert seen == [(signal.SIGINT, signal.SIG_IGN), (signal.SIGINT, before)]
    assert signal.getsignal(signal.SIGINT) is before


def test_from_another_thread_too(w):
    found = []
    thread = threading.Thread(
        target=lambda: found.extend(run_in_processes(Crew(w.double, 1), [1, 2]))
    )
    thread.start()
    thread.join(30)
    assert sorted(found) == [2, 4]


def test_cores_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert local.cores() == 3
    monkeypatch.delattr(local.os, "sched_getaffinity")
    monkeypatch.setattr(local.os, "cpu_count", lambda: None)
    assert local.cores() == 1
