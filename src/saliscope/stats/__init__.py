"""What can be said of many images: intervals, tests and comparisons.

Pure functions of arrays: one score an image, NaN where undefined. The way in is `compare_methods`.
"""

from __future__ import annotations

from saliscope.stats.binary import (
    McNemar,
    mcnemar,
    mcnemar_exact,
    newcombe_interval,
    wilson_interval,
)
from saliscope.stats.bootstrap import mean_interval, resample_means, unit_means
from saliscope.stats.compare import compare_methods
from saliscope.stats.comparison import Comparison, Pair, Row
from saliscope.stats.dispersion import ClassMean, Dispersion, by_class
from saliscope.stats.endpoints import ENDPOINTS, Endpoint, find_endpoint
from saliscope.stats.equivalence import Equivalence, bootstrap_equivalence, equivalence_of, tost
from saliscope.stats.interval import Interval
from saliscope.stats.many import (
    Corrected,
    Friedman,
    benjamini_hochberg,
    correct,
    friedman,
    holm,
)
from saliscope.stats.maximised import (
    Maximised,
    MaximisedDifference,
    maximised_difference,
    maximised_interval,
    maximised_table,
)
from saliscope.stats.paired import PairedDifference, Wilcoxon, paired_difference, wilcoxon
from saliscope.stats.resampling import Resampled, resample
from saliscope.stats.seeds import Seeds, seeds_interval

__all__ = [
    "ENDPOINTS",
    "ClassMean",
    "Comparison",
    "Corrected",
    "Dispersion",
    "Endpoint",
    "Equivalence",
    "Friedman",
    "Interval",
    "Maximised",
    "MaximisedDifference",
    "McNemar",
    "Pair",
    "PairedDifference",
    "Resampled",
    "Row",
    "Seeds",
    "Wilcoxon",
    "benjamini_hochberg",
    "bootstrap_equivalence",
    "by_class",
    "compare_methods",
    "correct",
    "equivalence_of",
    "find_endpoint",
    "friedman",
    "holm",
    "maximised_difference",
    "maximised_interval",
    "maximised_table",
    "mcnemar",
    "mcnemar_exact",
    "mean_interval",
    "newcombe_interval",
    "paired_difference",
    "resample",
    "resample_means",
    "seeds_interval",
    "tost",
    "unit_means",
    "wilcoxon",
    "wilson_interval",
]
