"""How work is given out: what each process gets, and what becomes of jobs that end theirs."""

import pytest
import torch

from saliscope import runs
from saliscope.errors import DataError
from saliscope.runs import explain_stage, giving_out
from saliscope.runs.explain_stage import explaining
from saliscope.runs.giving_out import Done, is_there
from saliscope.runs.local import Dead
from saliscope.runs.measure_stage import measuring
from saliscope.runs.place import open_place
from saliscope.runs.selection import units_of
from saliscope.runs.store import MEASURED, Store
from saliscope.runs.subject import open_subject


@pytest.fixture
def store(tmp_path):
    return Store(open_place(tmp_path / "run"))


def units_in(subject):
    return units_of(subject.data["all"], "all", range(12), (), batch_size=4)


def test_in_this_process_parts_are_written_as_they_come(settings, store):
    subject = open_subject(settings())
    units = units_in(subject)
    found = list(explaining(subject, store, units, workers=1, named=(True, True)))
    assert found == [Done(4, 0)] * 3
    assert store.parts("maps") == sorted(unit.name for unit in units)


def test_a_failed_sample_is_counted_with_its_reason(settings, store, photos):
    (photos / "owl/p1.png").write_bytes(b"")
    subject = open_subject(settings())
    found = list(explaining(subject, store, units_in(subject), workers=1, named=(True, True)))
    assert [(d.done, d.failed) for d in found] == [(4, 0), (3, 1), (4, 0)]
    assert "p1.png is empty" in found[1].reason


def test_what_is_given_in_memory_is_sent_and_what_is_named_is_opened_there(
    settings, store, monkeypatch
):
    subject, sent = open_subject(settings()), []
    monkeypatch.setattr(
        giving_out, "run_in_processes", lambda crew, jobs: sent.append(crew) or iter(())
    )
    for named in [(True, True), (False, True), (True, False), (False, False)]:
        list(explaining(subject, store, [], workers=2, named=named))
        _, model, data, address, workers = sent[-1].make.args
        assert (model is None, data is None) == named
        assert (address, workers, sent[-1].size) == (store.place.address, 2, 2)


def test_a_job_that_ended_its_process_is_a_part_of_failures(settings, store, monkeypatch):
    subject = open_subject(settings())
    unit = units_in(subject)[1]
    assert [u.positions for u in explain_stage.split_unit(unit, subject.data["all"])] == [
        (4,),
        (5,),
        (6,),
        (7,),
    ]
    monkeypatch.setattr(
        giving_out,
        "run_in_processes",
        lambda crew, jobs: iter([Dead(unit, "it ended"), Done(3, 0)]),
    )
    found = list(explaining(subject, store, [unit], workers=2, named=(True, True)))
    assert found == [Done(0, 4, "it ended"), Done(3, 0)]
    assert store.failures()["message"].to_list() == ["it ended"] * 4


def test_maps_that_end_their_process_cannot_be_measured(settings, store, monkeypatch):
    monkeypatch.setattr(
        giving_out, "run_in_processes", lambda crew, jobs: iter([Dead("part-x", "it ended")])
    )
    with pytest.raises(
        DataError,
        match="the maps part-x cannot be measured: it ended; with --workers 1 less memory",
    ):
        list(measuring(settings(), {}, store, ["part-x"], "k", workers=2, named=True))


@pytest.mark.parametrize(
    ("gpus", "own", "number", "device", "threads"),
    [(0, None, 1, None, 2), (1, None, 1, None, 2), (2, None, 3, "cuda:1", 2), (2, "cpu", 3, "cpu", 2)],
)  # fmt: skip
def test_each_process_has_its_share_of_the_cores_and_the_next_gpu(
    settings, store, monkeypatch, gpus, own, number, device, threads
):
    seen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    monkeypatch.setattr(explain_stage, "cores", lambda: 6)
    monkeypatch.setattr(
        explain_stage, "open_subject", lambda settings, model, data: seen.append(settings.device)
    )
    explain_stage._explainer(settings(device=own), None, None, store.place.address, 3, number)
    assert seen == [threads, device]


def test_what_is_there(plain):
    store = Store(open_place(plain))
    name, key = store.parts("maps")[0], runs.open_run(plain).record.measured
    assert is_there(store.place.address, ("maps",), "", name)
    assert is_there(store.place.address, MEASURED, key, name)
    assert not is_there(store.place.address, MEASURED, "other", name)
    assert not is_there(store.place.address, ("maps",), "", "part-all-00000099-0123456789")


def test_a_part_is_there_when_all_its_tables_are(kept):
    store = Store(open_place(kept))
    name, key = store.parts("maps")[0], runs.open_run(kept).record.measured
    store.place.remove([f"boxes/{name}.{key}.parquet"])
    assert not is_there(store.place.address, MEASURED, key, name)
