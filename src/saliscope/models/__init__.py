"""Networks: where they come from, how images enter them, what their layers and classes are called."""

from saliscope.models.changed import change_preprocessing
from saliscope.models.labels import find_label, imagenet_labels, read_labels
from saliscope.models.layers import Layer, layer_name, recommended_layer
from saliscope.models.load import load_model
from saliscope.models.model import Model, Precision
from saliscope.models.outputs import logits_of
from saliscope.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from saliscope.models.sources import model_names
from saliscope.models.weights_hash import weights_hash

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Layer",
    "Model",
    "Precision",
    "Preprocessing",
    "change_preprocessing",
    "find_label",
    "imagenet_labels",
    "layer_name",
    "load_model",
    "logits_of",
    "model_names",
    "read_labels",
    "recommended_layer",
    "weights_hash",
]
