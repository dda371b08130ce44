"""Scores of heatmaps and boxes: functions of one image, and accumulators over a set; one family a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.lazy import lazy_names

__all__ = [
    "AGREEMENT_METRICS",
    "COMPLEXITY_METRICS",
    "CURVE_PROTOCOLS",
    "EVIDENCE_METRICS",
    "FAITHFULNESS",
    "FAMILIES",
    "INQUIRIES",
    "METRICS",
    "ROBUSTNESS_METRICS",
    "SANITY_METRICS",
    "SET_METRICS",
    "SIMILARITY_METRICS",
    "AlphaLevel",
    "Answered",
    "Answers",
    "BestThreshold",
    "BoxAccuracy",
    "BoxAccuracyScore",
    "ClassExplainer",
    "ClsLoc",
    "ClsLocScores",
    "CurveKind",
    "CurveProtocol",
    "Curves",
    "DataRandomisation",
    "Direction",
    "Explainer",
    "Family",
    "HeatPart",
    "Inquiry",
    "Kept",
    "KeptScores",
    "Likeness",
    "Mean",
    "Metric",
    "Need",
    "Panel",
    "Perturbation",
    "PixelAP",
    "PointingGame",
    "PointingScores",
    "RandomLogit",
    "RandomisationCurve",
    "RelevanceRank",
    "Road",
    "SanityVerdict",
    "Score",
    "Sensitivity",
    "Separation",
    "Stage",
    "Substrate",
    "Ties",
    "TopOverlap",
    "Twin",
    "absolute_drop",
    "adcc",
    "area_under",
    "average_ranks",
    "best_threshold",
    "box_coverage",
    "box_region",
    "by_family",
    "chance_similarity",
    "classification_error",
    "coherency",
    "complexity_scores",
    "contrast",
    "contrastivity",
    "cue_enrichment",
    "cue_heat",
    "curve_area",
    "data_randomisation",
    "effective_area",
    "energy_in_boxes",
    "enrichment",
    "enrichment_in_boxes",
    "entropy",
    "every_metric",
    "facts_of",
    "flip_consistency",
    "gini",
    "gt_known",
    "heat_area",
    "heat_share",
    "hog_features",
    "hog_similarity",
    "hottest_point",
    "impute",
    "increase",
    "infidelity",
    "infidelity_scores",
    "inquiries_for",
    "inside_outside_ratio",
    "is_difficult",
    "jpeg_consistency",
    "keep",
    "kept_scores",
    "krippendorff_alpha",
    "lacks_box",
    "lasting",
    "linkage_of",
    "localisation_error",
    "mask_hit",
    "mask_pointing",
    "mean_heat",
    "metric_named",
    "normalised_entropy",
    "occlusion_drops",
    "occlusion_rank",
    "page_of",
    "pairwise",
    "pearson",
    "pixel_average_precision",
    "pixel_histogram",
    "pixels_of",
    "pointing_hit",
    "points_at",
    "precision_under",
    "random_logit",
    "randomisation_curve",
    "randomised",
    "range_of",
    "rank_accuracy",
    "rank_methods",
    "reinitialised",
    "relative_drop",
    "relative_gain",
    "relevance_rank",
    "removal_curves",
    "removal_ranks",
    "road",
    "sanity_verdict",
    "seed_noise",
    "sensitivity",
    "separation",
    "shift_consistency",
    "similarity",
    "spearman",
    "spearman_rows",
    "ssim",
    "stages",
    "substrate",
    "surviving",
    "tied_share",
    "to_size",
    "top_overlap",
    "twin_enrichment",
    "twin_share",
    "union_iou",
    "win",
]

_HOMES = {
    "saliscope.metrics.agreement": (
        "AGREEMENT_METRICS", "AlphaLevel", "Separation", "TopOverlap", "krippendorff_alpha",
        "linkage_of", "pairwise", "rank_methods", "seed_noise", "separation", "top_overlap",
    ),
    "saliscope.metrics.asking": ("Answers",),
    "saliscope.metrics.box_accuracy": (
        "BestThreshold", "BoxAccuracy", "BoxAccuracyScore", "best_threshold",
    ),
    "saliscope.metrics.catalog": ("METRICS",),
    "saliscope.metrics.classification": (
        "ClsLoc", "ClsLocScores", "classification_error", "localisation_error",
    ),
    "saliscope.metrics.complexity": (
        "COMPLEXITY_METRICS", "HeatPart", "complexity_scores", "effective_area", "entropy", "gini",
        "heat_area", "normalised_entropy",
    ),
    "saliscope.metrics.curves": (
        "CURVE_PROTOCOLS", "CurveKind", "CurveProtocol", "Curves", "area_under", "removal_curves",
    ),
    "saliscope.metrics.describing": ("FAMILIES", "by_family", "facts_of", "page_of", "range_of"),
    "saliscope.metrics.drop": (
        "absolute_drop", "adcc", "coherency", "increase", "mean_heat", "relative_drop",
        "relative_gain", "win",
    ),
    "saliscope.metrics.energy": ("enrichment", "heat_share"),
    "saliscope.metrics.every": ("every_metric", "metric_named"),
    "saliscope.metrics.faithfulness": ("FAITHFULNESS", "curve_area", "infidelity"),
    "saliscope.metrics.imputation": ("impute",),
    "saliscope.metrics.inquiries": ("INQUIRIES", "Inquiry", "inquiries_for"),
    "saliscope.metrics.kept": ("Kept", "KeptScores", "keep", "kept_scores"),
    "saliscope.metrics.known_evidence": (
        "EVIDENCE_METRICS", "contrast", "cue_enrichment", "cue_heat", "mask_pointing",
        "twin_enrichment", "twin_share",
    ),
    "saliscope.metrics.likeness": (
        "SIMILARITY_METRICS", "Likeness", "hog_features", "hog_similarity", "pearson", "similarity",
        "ssim",
    ),
    "saliscope.metrics.localization": (
        "box_region", "gt_known", "lacks_box", "pixels_of", "union_iou",
    ),
    "saliscope.metrics.occlusion": ("occlusion_drops", "occlusion_rank"),
    "saliscope.metrics.order": ("Ties", "removal_ranks", "tied_share"),
    "saliscope.metrics.panel": ("Panel", "Twin", "to_size"),
    "saliscope.metrics.panel_answers": ("Answered",),
    "saliscope.metrics.perturbation": ("Perturbation", "infidelity_scores"),
    "saliscope.metrics.pixels": (
        "PixelAP", "pixel_average_precision", "pixel_histogram", "precision_under",
    ),
    "saliscope.metrics.pointing": (
        "PointingGame", "PointingScores", "hottest_point", "is_difficult", "mask_hit",
        "pointing_hit", "points_at",
    ),
    "saliscope.metrics.randomisation": (
        "ClassExplainer", "DataRandomisation", "RandomisationCurve", "RandomLogit", "Stage",
        "chance_similarity", "data_randomisation", "random_logit", "randomisation_curve",
        "randomised", "reinitialised", "stages",
    ),
    "saliscope.metrics.ranks": ("average_ranks", "spearman", "spearman_rows"),
    "saliscope.metrics.regions": (
        "RelevanceRank", "box_coverage", "contrastivity", "energy_in_boxes", "enrichment_in_boxes",
        "inside_outside_ratio", "rank_accuracy", "relevance_rank",
    ),
    "saliscope.metrics.road_curves": ("Road", "road"),
    "saliscope.metrics.robustness": ("ROBUSTNESS_METRICS",),
    "saliscope.metrics.sanity": ("SANITY_METRICS",),
    "saliscope.metrics.scores": ("Direction", "Family", "Mean", "Metric", "Need", "Score"),
    "saliscope.metrics.sets": ("SET_METRICS",),
    "saliscope.metrics.stability": (
        "Explainer", "Sensitivity", "flip_consistency", "jpeg_consistency", "sensitivity",
        "shift_consistency",
    ),
    "saliscope.metrics.substrates": ("Substrate", "substrate"),
    "saliscope.metrics.survival": ("SanityVerdict", "lasting", "sanity_verdict", "surviving"),
}  # fmt: skip

if TYPE_CHECKING:
    from saliscope.metrics.agreement import (
        AGREEMENT_METRICS,
        AlphaLevel,
        Separation,
        TopOverlap,
        krippendorff_alpha,
        linkage_of,
        pairwise,
        rank_methods,
        seed_noise,
        separation,
        top_overlap,
    )
    from saliscope.metrics.asking import Answers
    from saliscope.metrics.box_accuracy import (
        BestThreshold,
        BoxAccuracy,
        BoxAccuracyScore,
        best_threshold,
    )
    from saliscope.metrics.catalog import METRICS
    from saliscope.metrics.classification import (
        ClsLoc,
        ClsLocScores,
        classification_error,
        localisation_error,
    )
    from saliscope.metrics.complexity import (
        COMPLEXITY_METRICS,
        HeatPart,
        complexity_scores,
        effective_area,
        entropy,
        gini,
        heat_area,
        normalised_entropy,
    )
    from saliscope.metrics.curves import (
        CURVE_PROTOCOLS,
        CurveKind,
        CurveProtocol,
        Curves,
        area_under,
        removal_curves,
    )
    from saliscope.metrics.describing import FAMILIES, by_family, facts_of, page_of, range_of
    from saliscope.metrics.drop import (
        absolute_drop,
        adcc,
        coherency,
        increase,
        mean_heat,
        relative_drop,
        relative_gain,
        win,
    )
    from saliscope.metrics.energy import enrichment, heat_share
    from saliscope.metrics.every import every_metric, metric_named
    from saliscope.metrics.faithfulness import FAITHFULNESS, curve_area, infidelity
    from saliscope.metrics.imputation import impute
    from saliscope.metrics.inquiries import INQUIRIES, Inquiry, inquiries_for
    from saliscope.metrics.kept import Kept, KeptScores, keep, kept_scores
    from saliscope.metrics.known_evidence import (
        EVIDENCE_METRICS,
        contrast,
        cue_enrichment,
        cue_heat,
        mask_pointing,
        twin_enrichment,
        twin_share,
    )
    from saliscope.metrics.likeness import (
        SIMILARITY_METRICS,
        Likeness,
        hog_features,
        hog_similarity,
        pearson,
        similarity,
        ssim,
    )
    from saliscope.metrics.localization import box_region, gt_known, lacks_box, pixels_of, union_iou
    from saliscope.metrics.occlusion import occlusion_drops, occlusion_rank
    from saliscope.metrics.order import Ties, removal_ranks, tied_share
    from saliscope.metrics.panel import Panel, Twin, to_size
    from saliscope.metrics.panel_answers import Answered
    from saliscope.metrics.perturbation import Perturbation, infidelity_scores
    from saliscope.metrics.pixels import (
        PixelAP,
        pixel_average_precision,
        pixel_histogram,
        precision_under,
    )
    from saliscope.metrics.pointing import (
        PointingGame,
        PointingScores,
        hottest_point,
        is_difficult,
        mask_hit,
        pointing_hit,
        points_at,
    )
    from saliscope.metrics.randomisation import (
        ClassExplainer,
        DataRandomisation,
        RandomisationCurve,
        RandomLogit,
        Stage,
        chance_similarity,
        data_randomisation,
        random_logit,
        randomisation_curve,
        randomised,
        reinitialised,
        stages,
    )
    from saliscope.metrics.ranks import average_ranks, spearman, spearman_rows
    from saliscope.metrics.regions import (
        RelevanceRank,
        box_coverage,
        contrastivity,
        energy_in_boxes,
        enrichment_in_boxes,
        inside_outside_ratio,
        rank_accuracy,
        relevance_rank,
    )
    from saliscope.metrics.road_curves import Road, road
    from saliscope.metrics.robustness import ROBUSTNESS_METRICS
    from saliscope.metrics.sanity import SANITY_METRICS
    from saliscope.metrics.scores import Direction, Family, Mean, Metric, Need, Score
    from saliscope.metrics.sets import SET_METRICS
    from saliscope.metrics.stability import (
        Explainer,
        Sensitivity,
        flip_consistency,
        jpeg_consistency,
        sensitivity,
        shift_consistency,
    )
    from saliscope.metrics.substrates import Substrate, substrate
    from saliscope.metrics.survival import SanityVerdict, lasting, sanity_verdict, surviving

# What asks a network needs torch, the others do without.
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
