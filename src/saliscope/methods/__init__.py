"""Ways to make maps, one family per file."""

from saliscope.methods.base import Asking, Captured, Evidence, Method
from saliscope.methods.batch import BatchMaps, check_head, map_batch
from saliscope.methods.cam import CAM
from saliscope.methods.elementwise import HiResCAM, LayerCAM
from saliscope.methods.extremal import ExtremalPerturbation
from saliscope.methods.fem import FEM
from saliscope.methods.finer_cam import FinerCAM
from saliscope.methods.grad_cam import GradCAM
from saliscope.methods.gradient_shap import GradientSHAP
from saliscope.methods.kernel_shap import KernelSHAP
from saliscope.methods.lime import LIME
from saliscope.methods.occlusion import Occlusion
from saliscope.methods.refine_cam import RefineCAM
from saliscope.methods.rise import RISE
from saliscope.methods.shapley_cam import ShapleyCAM
from saliscope.methods.spec import METHODS, MethodSpec, layers_of, make_method, parse_method
from saliscope.methods.spectral import KPCACAM, EigenCAM, EigenGradCAM
from saliscope.methods.trivial import Centre, Edges, Random
from saliscope.methods.weighted import GradCAMPlusPlus, XGradCAM

__all__ = [
    "CAM",
    "FEM",
    "KPCACAM",
    "LIME",
    "METHODS",
    "RISE",
    "Asking",
    "BatchMaps",
    "Captured",
    "Centre",
    "Edges",
    "EigenCAM",
    "EigenGradCAM",
    "Evidence",
    "ExtremalPerturbation",
    "FinerCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "GradientSHAP",
    "HiResCAM",
    "KernelSHAP",
    "LayerCAM",
    "Method",
    "MethodSpec",
    "Occlusion",
    "Random",
    "RefineCAM",
    "ShapleyCAM",
    "XGradCAM",
    "check_head",
    "layers_of",
    "make_method",
    "map_batch",
    "parse_method",
]
