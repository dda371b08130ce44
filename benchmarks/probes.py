"""Methods that ask the network again, side by side with grad-cam and with a bare forward pass of as many images.

    python benchmarks/probes.py ablation|score|bare [--rounds 3] [--device cuda] [--batch N] [--json FILE]
                                [--channels 256] [--method rise --method occlusion:...]

Same weights, same inputs, same target (the predicted class), interleaved in one process, medians. ResNet-50 at 224.

`ablation`: Ablation-CAM and Eigen-CAM at layer4 against grad-cam's. grad-cam's Ablation-CAM runs the whole network once for
each of 2,048 channels, minutes for one image on a CPU, so both sides get a layer4 of its first --channels channels.

`score`: Score-CAM at layer4 against grad-cam's with the same masks: the layer's first --channels channels on both sides, in
float32 and with ours in bfloat16.

`bare`: Score-CAM and any --method against a plain forward pass of as many images, in batches of the same size, of the
prepared copy that saliscope runs, without anything around it; at most 1.10 is wanted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saliscope.api import attribute
from saliscope.bench import Timing, interleaved, machine
from saliscope.engine import Budget, Network
from saliscope.methods import EigenCAM, Evidence, map_batch, parse_method
from saliscope.models import Model, load_model

Job = Callable[[], Any]
Row = tuple[str, str, float, tuple[float, float], str]
"""What is timed, against what, how many times faster, its quartiles, and what was wanted."""


def quiet(job: Job) -> Job:
    """A job of grad-cam, which draws progress bars."""

    def run() -> Any:
        with contextlib.redirect_stderr(io.StringIO()):
            return job()

    return run


def theirs(kind: str, module: nn.Module, inputs: Tensor, **more: Any) -> Job:
    """One of grad-cam's maps at layer4 of the predicted class."""
    import pytorch_grad_cam

    cam = getattr(pytorch_grad_cam, kind)(module, [module.get_submodule("layer4")], **more)
    return quiet(lambda: cam(input_tensor=inputs, targets=None))


class Fewer(nn.Module):
    """A network whose layer4 has its first `channels` channels only, so that fewer are asked about, by anyone."""

    def __init__(self, module: nn.Module, channels: int) -> None:
        super().__init__()
        whole = [module.conv1, module.bn1, module.relu, module.maxpool]
        self.stem = nn.Sequential(
            *whole, module.layer1, module.layer2, module.layer3, module.layer4
        )
        self.layer4 = First(channels)
        self.fc = nn.Linear(channels, 1000)
        with torch.no_grad():
            self.fc.weight.copy_(module.fc.weight[:, :channels])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.layer4(self.stem(x)).mean((2, 3)))
        return logits


class First(nn.Module):
    """The first channels of what comes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : self.channels].clone()


def faster(name: str, peer: str, timings: list[Timing], wanted: str) -> Row:
    """How many times faster the second job is than the first."""
    _, mine = timings
    low, high = mine.spread
    return name, peer, 1 / mine.ratio, (1 / high, 1 / low), wanted


def ablation(module: nn.Module, inputs: Tensor, rounds: int, channels: int) -> list[Row]:
    few = Fewer(module, channels).eval().to(inputs.device)
    rows = []
    for name, kind, network, wanted in (
        ("eigen-cam", "EigenCAM", module, "20"),
        ("ablation-cam", "AblationCAM", few, "50"),
    ):
        model = Model(network)
        ours = lambda model=model, name=name: attribute(model, inputs, method=name, layer="layer4")  # noqa: E731
        jobs = {"theirs": theirs(kind, network, inputs), "ours": ours}
        timings = interleaved(jobs, rounds=rounds, warmup=1)
        asked = f", {channels} channels" if network is few else ""
        rows.append(faster(name, f"grad-cam {kind}{asked}", timings, wanted))
    return [*rows, projections(module, inputs, rounds)]


def projections(module: nn.Module, inputs: Tensor, rounds: int) -> Row:
    """Eigen-CAM without the forward pass, which no library can leave out: from the same activations."""
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    a = Model(module).network().capture(inputs, ["layer4"], gradients=False).activations["layer4"]
    array = a.cpu().numpy()
    jobs = {
        "theirs": lambda: get_2d_projection(array),
        "ours": lambda: EigenCAM().signed_map(Evidence(inputs, a)),
    }
    timings = interleaved(jobs, rounds=rounds, warmup=1)
    return faster("eigen-cam, map alone", "grad-cam's projection", timings, "20")


def score(module: nn.Module, inputs: Tensor, rounds: int, channels: int) -> list[Row]:
    few = Fewer(module, channels).eval().to(inputs.device)
    rows = []
    for precision, wanted in (("float32", "2"), ("bfloat16", "4")):
        model = Model(few, precision=precision)
        ours = lambda model=model: attribute(model, inputs, method="score-cam", layer="layer4")  # noqa: E731
        jobs = {"theirs": theirs("ScoreCAM", few, inputs), "ours": ours}
        timings = interleaved(jobs, rounds=rounds, warmup=1)
        rows.append(faster(f"score-cam, {precision}", f"grad-cam ScoreCAM, {channels} masks", timings, wanted))  # fmt: skip
    return rows


def bare(module: nn.Module, inputs: Tensor, rounds: int, channels: int, methods: list[str]) -> list[Row]:  # fmt: skip
    few = Fewer(module, channels).eval().to(inputs.device)
    model = Model(few)
    rows = []
    for text in ["score-cam@layer4", *methods]:
        spec = parse_method(text)
        network = model.network(list(spec.layers))
        seen: list[int] = []
        map_batch(network, inputs, [spec], budget=Budget(tell=lambda *a, seen=seen: seen.append(a[2])))  # fmt: skip
        ours = lambda network=network, spec=spec: map_batch(network, inputs, [spec])  # noqa: E731
        sizes = chunks(network, inputs, seen[-1])
        jobs = {"bare": plain(network, inputs, sizes), "ours": ours}
        _, mine = interleaved(jobs, rounds=rounds, warmup=1)
        what = f"{seen[-1] + len(inputs)} images, plain, {max(sizes)} at once"
        rows.append((text, what, mine.ratio, mine.spread, "at most 1.10"))
    return rows


def chunks(network: Network, inputs: Tensor, total: int) -> list[int]:
    """Batches of a plain pass: the inputs themselves, then as many images as are asked about."""
    at_once = Budget().images(network.footprint(inputs), inputs.device)
    return [len(inputs)] + [min(at_once, total - i) for i in range(0, total, at_once)]


def plain(network: Network, inputs: Tensor, sizes: list[int]) -> Job:
    layout = torch.channels_last if network.channels_last else torch.contiguous_format
    dtype = network.dtype or inputs.dtype
    batches = {n: torch.randn(n, *inputs.shape[1:], device=inputs.device).to(dtype, memory_format=layout) for n in set(sizes)}  # fmt: skip

    def run() -> None:
        with torch.no_grad():
            for size in sizes:
                network.module(batches[size])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["ablation", "score", "bare"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--method", action="append", default=[])
    parser.add_argument("--device")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peer's own deprecations
    source = load_model("resnet50", "untrained", device=options.device)
    module = source.module.to(source.device).eval()
    inputs = torch.randn(options.batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    inputs = inputs.to(source.device)
    given = (module, inputs, options.rounds, options.channels)
    if options.what == "bare":
        rows = bare(*given, options.method)
    else:
        rows = (ablation if options.what == "ablation" else score)(*given)
    print(machine())
    for name, peer, ratio, (low, high), wanted in rows:
        verb = "takes" if options.what == "bare" else "faster by"
        print(f"{name:24s} {verb} {ratio:.2f} ({low:.2f} to {high:.2f}); wanted {wanted}; against {peer}")  # fmt: skip
    if options.json:
        found = [{"name": n, "against": p, "ratio": r, "spread": s} for n, p, r, s, _ in rows]
        options.json.write_text(json.dumps({"machine": machine(), "rows": found}, indent=2))


if __name__ == "__main__":
    main()
