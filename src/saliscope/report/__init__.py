"""What a person reads: figures of explanations, and the report of an evaluation."""

from __future__ import annotations

from saliscope.report.command import Report, write_report
from saliscope.report.every_figure import every_figure
from saliscope.report.figures import (
    boxes_figure,
    comparison_figure,
    method_figure,
    save_figure,
    stages_figure,
)

__all__ = [
    "Report",
    "boxes_figure",
    "comparison_figure",
    "every_figure",
    "method_figure",
    "save_figure",
    "stages_figure",
    "write_report",
]
