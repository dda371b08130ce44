"""Grad-CAM at `layer4` of ResNet-50, side by side with grad-cam, torchcam and captum.

    python benchmarks/peers.py [--rounds 15] [--batch 8] [--device cuda] [--json FILE]

Same weights, same inputs, same target (the predicted class), interleaved in one process, medians. Each library is
driven as its own documentation says: constructed once, called per batch. torchcam and captum return raw maps, so they
are compared with raw maps; grad-cam returns heatmaps of the input's size as numpy arrays, so saliscope makes those too.
torchcam and captum need parameters that require gradients, or an input that does; they get what they ask for.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliscope.api import attribute
from saliscope.bench import Timing, interleaved, machine
from saliscope.models import Model, load_model

WANTED = {"torchcam": 0.85, "captum": 0.45, "grad-cam": 0.25}


def peers(module: nn.Module, inputs: Tensor) -> dict[str, Callable[[], Any]]:
    """One job for each library: Grad-CAM of the predicted class at layer4 for the whole batch."""
    import pytorch_grad_cam
    from captum.attr import LayerGradCam
    from torchcam.methods import GradCAM as TorchCAM

    torchcam = TorchCAM(module, "layer4")
    captum = LayerGradCam(module, module.layer4)
    grad_cam = pytorch_grad_cam.GradCAM(model=module, target_layers=[module.layer4])

    def run_torchcam() -> Any:
        torchcam._hooks_enabled = True
        scores = module(inputs)
        return torchcam(scores.argmax(1).tolist(), scores)

    def run_captum() -> Any:
        with torch.no_grad():
            target = module(inputs).argmax(1)
        return captum.attribute(inputs, target, relu_attributions=True)

    return {
        "torchcam": run_torchcam,
        "captum": run_captum,
        "grad-cam": lambda: grad_cam(input_tensor=inputs, targets=None),
    }


def table(rounds: int, batch: int, device: str | None) -> list[tuple[str, Timing, Timing]]:
    """Rows (library, its timing, ours for the same work); ours is timed once more beside each of them."""
    source = load_model("resnet50", "untrained", device=device)
    module = source.module.to(source.device).eval()
    inputs = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    inputs = inputs.to(source.device)
    model = Model(module)

    def raw() -> Tensor:
        maps = attribute(model, inputs, layer="layer4")
        assert isinstance(maps, Tensor)
        return maps

    def upsampled() -> Any:
        maps = raw()
        low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
        unit = (maps - low) / (high - low)
        big = F.interpolate(unit[:, None], inputs.shape[2:], mode="bilinear", align_corners=False)
        return big[:, 0].cpu().numpy()

    rows = []
    for name, job in peers(module, inputs).items():
        ours = upsampled if name == "grad-cam" else raw
        theirs, mine = interleaved({name: job, "saliscope": ours}, rounds=rounds)
        rows.append((name, theirs, mine))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own deprecations
    rows = table(options.rounds, options.batch, options.device)
    print(machine())
    print(
        f"{'library':10s} {'theirs ms/img':>14s} {'ours ms/img':>12s} {'ratio':>6s} {'asked':>6s}"
    )
    for name, theirs, mine in rows:
        each = [1e3 * t.seconds / options.batch for t in (theirs, mine)]
        print(f"{name:10s} {each[0]:14.2f} {each[1]:12.2f} {mine.ratio:6.3f} {WANTED[name]:6.2f}")
    if options.json:
        found = [{"library": n, "ratio": m.ratio, "spread": m.spread} for n, _, m in rows]
        options.json.write_text(json.dumps({"machine": machine(), "rows": found}, indent=2))


if __name__ == "__main__":
    main()
