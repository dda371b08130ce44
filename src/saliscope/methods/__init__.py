"""Ways to make maps, one family per file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.lazy import lazy_names

__all__ = [
    "CAM",
    "CAVEATS",
    "FEM",
    "ISCAM",
    "KPCACAM",
    "LIME",
    "LRP",
    "METHODS",
    "MWP",
    "RISE",
    "SSCAM",
    "AblationCAM",
    "Asking",
    "AttentionLRP",
    "AttentionRollout",
    "BatchMaps",
    "Captured",
    "Centre",
    "ContrastiveMWP",
    "DeconvNet",
    "Edges",
    "EigenCAM",
    "EigenGradCAM",
    "Evidence",
    "ExtremalPerturbation",
    "FinerCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMPlusPlus",
    "Gradient",
    "GradientSHAP",
    "GuidedBackprop",
    "GuidedGradCAM",
    "HiResCAM",
    "InputXGradient",
    "IntegratedGradients",
    "KernelSHAP",
    "LayerCAM",
    "LeGrad",
    "Method",
    "MethodSpec",
    "Occlusion",
    "Random",
    "RefineCAM",
    "ScoreCAM",
    "ShapleyCAM",
    "Shuffled",
    "SmoothGrad",
    "SmoothGradCAMPlusPlus",
    "VarGrad",
    "XGradCAM",
    "by_family",
    "check_head",
    "facts_of",
    "layers_of",
    "make_method",
    "map_batch",
    "page_of",
    "parse_method",
]

_HOMES = {
    "saliscope.methods.ablation_cam": ("AblationCAM",),
    "saliscope.methods.attention": ("AttentionLRP", "AttentionRollout"),
    "saliscope.methods.base": ("Asking", "Captured", "Evidence", "Method"),
    "saliscope.methods.batch": ("BatchMaps", "check_head", "map_batch"),
    "saliscope.methods.cam": ("CAM",),
    "saliscope.methods.caveats": ("CAVEATS",),
    "saliscope.methods.describing": ("by_family", "facts_of", "page_of"),
    "saliscope.methods.elementwise": ("HiResCAM", "LayerCAM"),
    "saliscope.methods.excitation": ("MWP", "ContrastiveMWP"),
    "saliscope.methods.extremal": ("ExtremalPerturbation",),
    "saliscope.methods.fem": ("FEM",),
    "saliscope.methods.finer_cam": ("FinerCAM",),
    "saliscope.methods.full_grad": ("FullGrad",),
    "saliscope.methods.grad_cam": ("GradCAM",),
    "saliscope.methods.gradient_shap": ("GradientSHAP",),
    "saliscope.methods.guided": ("DeconvNet", "GuidedBackprop", "GuidedGradCAM"),
    "saliscope.methods.integrated": ("IntegratedGradients",),
    "saliscope.methods.kernel_shap": ("KernelSHAP",),
    "saliscope.methods.le_grad": ("LeGrad",),
    "saliscope.methods.lime": ("LIME",),
    "saliscope.methods.lrp": ("LRP",),
    "saliscope.methods.occlusion": ("Occlusion",),
    "saliscope.methods.pixels": ("Gradient", "InputXGradient", "SmoothGrad", "VarGrad"),
    "saliscope.methods.refine_cam": ("RefineCAM",),
    "saliscope.methods.rise": ("RISE",),
    "saliscope.methods.score_cam": ("ISCAM", "SSCAM", "ScoreCAM"),
    "saliscope.methods.shapley_cam": ("ShapleyCAM",),
    "saliscope.methods.smooth_grad_cam": ("SmoothGradCAMPlusPlus",),
    "saliscope.methods.spec": ("METHODS", "MethodSpec", "layers_of", "make_method", "parse_method"),
    "saliscope.methods.spectral": ("KPCACAM", "EigenCAM", "EigenGradCAM"),
    "saliscope.methods.trivial": ("Centre", "Edges", "Random", "Shuffled"),
    "saliscope.methods.weighted": ("GradCAMPlusPlus", "XGradCAM"),
}

if TYPE_CHECKING:
    from saliscope.methods.ablation_cam import AblationCAM
    from saliscope.methods.attention import AttentionLRP, AttentionRollout
    from saliscope.methods.base import Asking, Captured, Evidence, Method
    from saliscope.methods.batch import BatchMaps, check_head, map_batch
    from saliscope.methods.cam import CAM
    from saliscope.methods.caveats import CAVEATS
    from saliscope.methods.describing import by_family, facts_of, page_of
    from saliscope.methods.elementwise import HiResCAM, LayerCAM
    from saliscope.methods.excitation import MWP, ContrastiveMWP
    from saliscope.methods.extremal import ExtremalPerturbation
    from saliscope.methods.fem import FEM
    from saliscope.methods.finer_cam import FinerCAM
    from saliscope.methods.full_grad import FullGrad
    from saliscope.methods.grad_cam import GradCAM
    from saliscope.methods.gradient_shap import GradientSHAP
    from saliscope.methods.guided import DeconvNet, GuidedBackprop, GuidedGradCAM
    from saliscope.methods.integrated import IntegratedGradients
    from saliscope.methods.kernel_shap import KernelSHAP
    from saliscope.methods.le_grad import LeGrad
    from saliscope.methods.lime import LIME
    from saliscope.methods.lrp import LRP
    from saliscope.methods.occlusion import Occlusion
    from saliscope.methods.pixels import Gradient, InputXGradient, SmoothGrad, VarGrad
    from saliscope.methods.refine_cam import RefineCAM
    from saliscope.methods.rise import RISE
    from saliscope.methods.score_cam import ISCAM, SSCAM, ScoreCAM
    from saliscope.methods.shapley_cam import ShapleyCAM
    from saliscope.methods.smooth_grad_cam import SmoothGradCAMPlusPlus
    from saliscope.methods.spec import METHODS, MethodSpec, layers_of, make_method, parse_method
    from saliscope.methods.spectral import KPCACAM, EigenCAM, EigenGradCAM
    from saliscope.methods.trivial import Centre, Edges, Random, Shuffled
    from saliscope.methods.weighted import GradCAMPlusPlus, XGradCAM

# What is known of a method by its name needs no torch.
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
