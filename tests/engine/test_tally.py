"""Passes are counted as they happen: images forwards, images backwards, per thread."""

import threading

import saliscope as sc
from saliscope.engine import tallied


def test_what_methods_cost(nets, batch):
    net = nets.gap("inplace")
    model = sc.Model(net, (24, 16))
    sc.attribute(
        model, batch, 1, method="grad-cam@bn1"
    )  # the copy is made, and learns where it has to copy
    with tallied() as outer:
        with tallied() as tally:
            sc.attribute(model, batch, 1, method="grad-cam@bn1")
        assert (tally.forward, tally.backward) == (3, 3)
        assert str(tally) == "3 forward + 3 backward"
        with tallied() as tally:
            sc.attribute(model, batch, 1, method="cam")
        assert str(tally) == "3 forward"
        with tallied() as tally:
            sc.attribute(model, batch, 1, method="shapley-cam@bn1+act2")
        assert (tally.forward, tally.backward) == (3, 3 * (1 + 2))
    assert (outer.forward, outer.backward) == (9, 12)
    assert str(type(outer)()) == "no pass"


def test_another_thread_is_not_counted(nets, batch):
    model = sc.Model(nets.gap(), (24, 16))
    sc.attribute(model, batch, 1)
    with tallied() as tally:
        other = threading.Thread(target=lambda: sc.attribute(model, batch, 1, method="cam"))
        other.start()
        other.join()
    assert tally.forward == 0


def test_an_error_ends_the_count(nets, batch):
    model = sc.Model(nets.gap(), (24, 16))
    try:
        with tallied() as tally:
            sc.attribute(model, batch, 99)
    except sc.TargetError:
        pass
    before = tally.forward
    sc.attribute(model, batch, 1)
    assert tally.forward == before > 0
