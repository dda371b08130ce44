"""What a person reads: figures of explanations, ready for a page."""

from __future__ import annotations

from saliscope.report.figures import (
    boxes_figure,
    comparison_figure,
    method_figure,
    save_figure,
    stages_figure,
)

__all__ = [
    "boxes_figure",
    "comparison_figure",
    "method_figure",
    "save_figure",
    "stages_figure",
]
