"""What can be said of many images: intervals and comparisons."""

from __future__ import annotations

from saliscope.stats.bootstrap import Interval, mean_interval

__all__ = ["Interval", "mean_interval"]
