"""Ways to make maps, one family per file."""

from saliscope.methods.base import Asking, Captured, Evidence, Method
from saliscope.methods.batch import BatchMaps, check_head, map_batch
from saliscope.methods.cam import CAM
from saliscope.methods.elementwise import HiResCAM, LayerCAM
from saliscope.methods.excitation import MWP, ContrastiveMWP
from saliscope.methods.fem import FEM
from saliscope.methods.finer_cam import FinerCAM
from saliscope.methods.grad_cam import GradCAM
from saliscope.methods.lrp import LRP
from saliscope.methods.refine_cam import RefineCAM
from saliscope.methods.shapley_cam import ShapleyCAM
from saliscope.methods.spec import METHODS, MethodSpec, layers_of, make_method, parse_method
from saliscope.methods.spectral import KPCACAM, EigenCAM, EigenGradCAM
from saliscope.methods.trivial import Centre, Edges, Random
from saliscope.methods.weighted import GradCAMPlusPlus, XGradCAM

__all__ = [
    "CAM",
    "FEM",
    "KPCACAM",
    "LRP",
    "METHODS",
    "MWP",
    "Asking",
    "BatchMaps",
    "Captured",
    "Centre",
    "ContrastiveMWP",
    "Edges",
    "EigenCAM",
    "EigenGradCAM",
    "Evidence",
    "FinerCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "Method",
    "MethodSpec",
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
