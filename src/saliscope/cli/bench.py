"""`saliscope bench`: what explaining costs on this machine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from saliscope.errors import OptionError


def bench(
    model: str = "resnet50",
    /,
    *,
    size: int = 224,
    batch: int = 8,
    rounds: int = 15,
    threads: int | None = None,
    data: str | None = None,
    root: Path | None = None,
    split: str = "test",
    device: str | None = None,
    bfloat16: bool = True,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Time Grad-CAM, or with --data reading, against a plain forward pass of the same network, interleaved, medians.

    Parameters
    ----------
    model
        A torchvision ResNet (layers layer1 to layer4); random weights, since speed does not depend on their values.
    size
        Height and width of the input in pixels.
    batch
        Images per batch.
    rounds
        How often every job runs; the median counts.
    threads
        CPU threads for torch; all cores if not given.
    data
        Time decoding and preprocessing of this data set instead: does it keep up with the network?
    root
        The folder of the data set.
    split
        The split of the data set.
    device
        "cpu" or "cuda"; the GPU is used where there is one.
    bfloat16
        Also time the prepared copies in bfloat16.
    as_json
        Print the table as JSON.

    """
    import torch

    from saliscope.bench import data_table, machine, speed_table
    from saliscope.models.model import usable_device

    given = {"--size": size, "--batch": batch, "--rounds": rounds, "--threads": threads}
    for name, value in given.items():
        if value is not None and value < 1:
            raise OptionError(f"{name} is at least 1; got {value}")
    if "resne" not in model and data is None:
        raise OptionError(
            f'bench times networks with layer1 to layer4, such as resnet50; got "{model}"'
        )
    if device is not None:
        usable_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    opened = None
    if data is not None:
        from saliscope.data import open_data

        opened = open_data(data, split, root=root)
    print(f"timing {model}, {rounds + 3} rounds; this takes a minute or two", file=sys.stderr)
    if opened is not None:
        table = data_table(opened, model, batch=batch, rounds=rounds, device=device)
    else:
        table = speed_table(
            model, size=size, batch=batch, rounds=rounds, device=device, bfloat16=bfloat16
        )
    if as_json:
        print(json.dumps({"machine": machine(), "rows": [asdict(t) for t in table]}, indent=2))
        return 0
    what = data if data is not None else f"{size} x {size}"
    print(f"{model}, {what}, batch {batch}, {rounds} rounds; {machine()}")
    print(f"{'':34s} {'ms/image':>9s} {'ratio':>6s}  quartiles")
    for t in table:
        each = 1e3 * t.seconds / batch
        print(f"{t.name:34s} {each:9.2f} {t.ratio:6.2f}  {t.spread[0]:.2f} to {t.spread[1]:.2f}")
    return 0
