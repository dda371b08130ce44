"""Ways to make maps, one family per file."""

from saliscope.methods.base import Evidence, Method
from saliscope.methods.batch import BatchMaps, check_head, map_batch
from saliscope.methods.cam import CAM
from saliscope.methods.grad_cam import GradCAM
from saliscope.methods.spec import METHODS, MethodSpec, make_method, parse_method
from saliscope.methods.trivial import Centre, Edges, Random

__all__ = [
    "CAM",
    "METHODS",
    "BatchMaps",
    "Centre",
    "Edges",
    "Evidence",
    "GradCAM",
    "Method",
    "MethodSpec",
    "Random",
    "check_head",
    "make_method",
    "map_batch",
    "parse_method",
]
