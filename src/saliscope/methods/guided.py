"""Going back to the image by other rules than the gradient's: deconvolution and guided backpropagation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.engine import PIXELS, Question, ReluRule, relu_rule, unruled
from saliscope.errors import MethodError
from saliscope.methods.base import Asking, Evidence
from saliscope.methods.caveats import CAVEATS
from saliscope.methods.layers import average
from saliscope.methods.pixels import Pixelwise

__all__ = ["DeconvNet", "GuidedBackprop", "GuidedGradCAM"]


@dataclass(frozen=True, kw_only=True)
class Ruled(Pixelwise, Asking):
    """What is found at the image when every ReLU goes back by a rule of its own.

    The rule says nothing about other activations, so a network that has any is refused, unless `force`: then only its
    ReLUs follow the rule. Sigmoids that scale a signal (squeeze and excitation) are products, which is no obstacle.
    """

    family: ClassVar = "pixel gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = False
    passes: ClassVar = "1 forward + 1 backward to the image, by its own rule"
    back: ClassVar[ReluRule]

    force: bool = False

    def ask(self, question: Question) -> Tensor:
        return self.shown(self.signal(question))

    def signal(self, question: Question) -> Tensor:
        """What arrives at each channel of each pixel, (B, K, C, H, W)."""
        capture = question.capture((PIXELS,), rules=relu_rule(self.back))
        found = unruled((capture.output, capture.logits))
        if found.others and not self.force:
            raise MethodError(
                f"{self.title} has a rule for ReLUs only, and this network has {_listed(found.others)}; use "
                "integrated-gradients or smoothgrad, or force=true, which leaves all but the ReLUs as they are"
            )
        if found.depends and not found.rectifiers:
            raise MethodError(
                f"{self.title} has a rule for ReLUs, and this network has none: the map would be the plain gradient; "
                "use gradient, smoothgrad or integrated-gradients"
            )
        return torch.stack([g[PIXELS] for g in question.gradients(capture, (PIXELS,))], 1)


@dataclass(frozen=True, kw_only=True)
class DeconvNet(Ruled):
    """The target's signal sent back with a ReLU at every ReLU, whatever that one let through on the way forward.

    In the paper the way back starts at a feature map; here at the target, as in Simonyan et al. 2013, section 4.
    """

    name: ClassVar = "deconvnet"
    title: ClassVar = "Deconvolution"
    paper: ClassVar = "Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks"
    equation: ClassVar = "R^l = ReLU(R^{l+1}) at each ReLU;  M = max_c |R⁰_c|"
    use: ClassVar = "a reproduction of early papers"
    avoid: ClassVar = "what the network learned: it shows the picture's edges whatever the weights"
    caveat: ClassVar = CAVEATS["deconvnet"]
    back: ClassVar = "deconvnet"


@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(Ruled):
    """The target's gradient, of which every ReLU that was open passes on the positive part only."""

    name: ClassVar = "guided-backprop"
    title: ClassVar = "Guided backpropagation"
    paper: ClassVar = "Springenberg et al. 2014, Striving for Simplicity"
    equation: ClassVar = "R^l = 1[f^l > 0] ReLU(R^{l+1}) at each ReLU;  M = max_c |R⁰_c|"
    use: ClassVar = "a reproduction of early papers; a sharp picture of structure in the image"
    avoid: ClassVar = "what the network learned, and which class: it shows the picture's edges whatever the weights"
    caveat: ClassVar = CAVEATS["guided-backprop"]
    back: ClassVar = "guided"


@dataclass(frozen=True, kw_only=True)
class GuidedGradCAM(GuidedBackprop):
    """Guided backpropagation where Grad-CAM is positive: the detail of the one at the place of the other.

    Grad-CAM of the layer, after its ReLU, is brought to the input's size bilinearly, with half-pixel centres.
    """

    name: ClassVar = "guided-grad-cam"
    title: ClassVar = "Guided Grad-CAM"
    passes: ClassVar = "2 forward + 1 backward to the layer + 1 backward to the image"
    paper: ClassVar = "Selvaraju et al. 2017, Grad-CAM"
    equation: ClassVar = "M = max_c |up(ReLU(Σ_k α_k A^k)) ⊙ R⁰_c|   (section 3.2)"
    use: ClassVar = "a reproduction of the paper: Grad-CAM's place in the image's detail"
    avoid: ClassVar = (
        "evidence at the resolution that it draws: the detail is the image's, not the network's"
    )
    caveat: ClassVar = CAVEATS["guided-grad-cam"]
    at_layer: ClassVar = True

    def ask(self, question: Question) -> Tensor:
        signal = self.signal(question)
        where = F.interpolate(
            _grad_cam(question), signal.shape[-2:], mode="bilinear", align_corners=False
        )
        return self.shown(where[:, :, None] * signal)


def _grad_cam(question: Question) -> Tensor:
    """Grad-CAM after its ReLU, (B, K, h, w); of several layers their average, as Grad-CAM has it."""
    capture = question.capture(question.layers)
    maps = []
    for gradients in question.gradients(capture, question.layers):
        own = [
            Evidence(question.images, capture.activations[name], g).averaged
            for name, g in gradients.items()
        ]
        maps.append(own[0] if len(own) == 1 else average(own))
    return torch.stack(maps, 1).relu()


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
