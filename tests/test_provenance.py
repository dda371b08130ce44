"""Where something was computed: one machine has one name, with torch loaded or without."""

import platform
import sys

import torch

from saliscope.provenance import machine


def test_a_machine_has_one_name_with_torch_and_without(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = machine()
    monkeypatch.delitem(sys.modules, "torch")
    alone = machine()
    assert alone.endswith(f" ({platform.machine()})")
    assert loaded.startswith(f"{alone}, ")
    assert loaded.endswith(f" threads, torch {torch.__version__}")


def test_a_gpu_is_named_beside_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "some GPU")
    found = machine()
    monkeypatch.delitem(sys.modules, "torch")
    assert found.startswith(f"{machine()}, some GPU, {torch.get_num_threads()} threads, ")
