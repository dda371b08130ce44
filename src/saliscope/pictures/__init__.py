"""Heat as colour, boxes on photographs, panels, and files that appear whole."""

from saliscope.pictures.drawing import (
    COLORMAP,
    SUFFIXES,
    TRUTH_COLOUR,
    Pixels,
    Rgb,
    blend,
    box_colours,
    colour_table,
    colourise,
    draw_boxes,
    encode,
    encoded,
)

__all__ = [
    "COLORMAP",
    "SUFFIXES",
    "TRUTH_COLOUR",
    "Pixels",
    "Rgb",
    "blend",
    "box_colours",
    "colour_table",
    "colourise",
    "draw_boxes",
    "encode",
    "encoded",
]
