"""Answers that no network gave: frames as the stage `ask` leaves them, put into an opened run."""

import numpy as np
import polars as pl

from saliscope.runs.run import role_filter
from saliscope.runs.tables import ANSWERS, COSTS, REMOVAL, SANITY

STAGES = ("original", "fc", "layer4", "layer3", "layer2", "layer1", "stem")
QUESTIONS = {
    "curves": (("deletion", "insertion", "deletion-lerf"), 84),
    "kept": (("average-drop", "increase", "gain", "win", "absolute-drop", "coherency", "mean-heat", "adcc"), 2),
    "road": (("road-morf", "road-lerf", "road-combined"), 18),
    "infidelity": (("infidelity",), 40),
    "occlusion": (("occlusion-rank",), 34),
    "sensitivity": (("max-sensitivity", "average-sensitivity"), 10),
    "flip": (("flip-consistency",), 1),
}  # fmt: skip
PROTOCOLS = {
    "deletion": "saliscope", "insertion": "saliscope", "deletion-lerf": "saliscope", "win": "reference",
    "coherency": "weighted", "mean-heat": "input", "adcc": "weighted", "average-drop": "weighted", "increase": "weighted",
    "gain": "weighted", "absolute-drop": "weighted", "road-morf": "road", "road-lerf": "road", "road-combined": "road",
    "infidelity": "squares", "occlusion-rank": "patch45-stride15", "max-sensitivity": "radius0.02",
    "average-sensitivity": "radius0.02", "flip-consistency": "spearman",
}  # fmt: skip
LOWER = ("deletion", "average-drop", "absolute-drop", "mean-heat", "road-morf", "infidelity", "max-sensitivity", "average-sensitivity")  # fmt: skip


def keys_of(run):
    """One row for each image and class of the reported split."""
    rows = run.maps.filter(
        role_filter("truth"), pl.col("split") == run.settings.split, pl.col("status") != "failed"
    )
    names = ["id", "index", "split", "target", "rank", "is_truth"]
    return rows.select(names).unique(["index", "target"]).sort("index", "target")


def framed(rows, schema):
    """Rows with the columns of a table, in their types."""
    return rows.select(pl.col(name).cast(kind) for name, kind in schema.items())


def put_answers(run, values):
    """`values` by (spec, metric, protocol): (n,) for a metric that draws nothing, (seeds, n) for one that does."""
    keys, frames = keys_of(run), []
    for (spec, metric, protocol), given in values.items():
        for seed, row in enumerate(np.atleast_2d(np.asarray(given, float))):
            named = {"spec": spec, "metric": metric, "protocol": protocol, "seed": seed}
            frames.append(keys.with_columns(value=pl.Series(row), **{k: pl.lit(v) for k, v in named.items()}))  # fmt: skip
    run.answers = framed(pl.concat(frames), ANSWERS)


def put_removal(run, curves):
    """`curves` by (spec, kind): fractions (steps,) and scores (n, steps)."""
    keys, frames = keys_of(run), []
    for (spec, kind), (fractions, scores) in curves.items():
        frames.append(
            keys.with_columns(
                spec=pl.lit(spec), kind=pl.lit(kind),
                fractions=pl.Series([list(map(float, fractions))] * len(keys)), scores=pl.Series(np.asarray(scores, float).tolist()),
            )
        )  # fmt: skip
    run.removal = framed(pl.concat(frames), REMOVAL)


def put_costs(run, rows):
    """`rows`: dictionaries of question, metrics, maps, pictures, seconds."""
    whole = [
        {"split": run.settings.split, "index": 0, "images": len(keys_of(run))} | row for row in rows
    ]
    run.costs = pl.DataFrame(whole, schema=COSTS)


def put_sanity(run, curves, *, chance=None, other=None, stages=STAGES, images=None):
    """`curves` by (spec, how, likeness): (stages, seeds, n); `chance` and `other` by (spec, likeness): (n,)."""
    keys = keys_of(run).head(images) if images else keys_of(run)
    keys, frames = keys.drop("rank", "is_truth"), []

    def add(spec, how, likeness, stage, name, seed, row):
        named = {
            "spec": spec,
            "how": how,
            "likeness": likeness,
            "stage": stage,
            "stage_name": name,
            "seed": seed,
        }
        frames.append(keys.with_columns(value=pl.Series(np.asarray(row, float)), **{k: pl.lit(v) for k, v in named.items()}))  # fmt: skip

    for (spec, how, likeness), values in curves.items():
        for stage, by_seed in enumerate(values):
            for seed, row in enumerate(by_seed):
                add(spec, how, likeness, stage, stages[stage], seed, row)
    for (spec, likeness), row in (chance or {}).items():
        add(spec, "cascading", likeness, -1, "another picture", 0, row)
    for (spec, likeness), row in (other or {}).items():
        add(spec, "random-logit", likeness, 1, "another class", 0, row)
    run.sanity = framed(pl.concat(frames), SANITY)


def ask_everything(run, *, seeds=1, seed=0, specs=None, images=24):
    """Answers to every question about every method, better for the first methods, none for shuffled maps."""
    draw = np.random.default_rng(seed)
    n = len(keys_of(run))
    own = [m for m in run.methods if m not in ("random", "centre", "edges")]
    specs = specs or [*own, "random", "centre", "edges", "shuffled"]
    good = {s: 0.8 - 0.07 * own.index(s) if s in own else 0.25 for s in specs}
    hard = draw.normal(0, 0.1, n)
    answers = {}
    for metric, protocol in PROTOCOLS.items():
        drawn = (
            seeds
            if metric in ("deletion", "insertion", "infidelity", "max-sensitivity", "road-morf")
            else 1
        )
        for spec in specs:
            level = good[spec] + hard + draw.normal(0, 0.08, (drawn, n))
            level = 1 - level if metric in LOWER else level
            if metric in ("increase", "win"):
                level = (level > 0.5).astype(float)
            answers[spec, metric, protocol] = np.clip(level, 0, 1)
    answers[specs[0], "gain", "weighted"][..., 0] = np.nan
    put_answers(run, answers)
    steps, shares = np.linspace(0, 1, 29), np.arange(1, 10) / 10
    curves = {}
    for spec in specs:
        start = np.clip(0.85 + hard, 0, 1)[:, None]
        curves[spec, "deletion"] = steps, start * np.exp(-steps * 8 * good[spec]) + 0.02
        curves[spec, "insertion"] = steps, start * (1 - np.exp(-steps * 6 * good[spec])) + 0.02
        curves[spec, "deletion-lerf"] = steps, start * (1 - steps ** (6 * good[spec])) + 0.02
        curves[spec, "road-morf"] = shares, start * np.exp(-shares * 3 * good[spec])
        curves[spec, "road-lerf"] = shares, start * (1 - 0.8 * shares ** (5 * good[spec]))
    put_removal(run, curves)
    maps = n * len(specs)
    put_costs(run, [
        {"question": q, "metrics": list(m), "maps": maps, "pictures": p * maps, "seconds": 0.002 * p * maps}
        for q, (m, p) in QUESTIONS.items()
    ])  # fmt: skip
    count = min(images, n)
    alike, chance, other = {}, {}, {}
    for spec in [*own, "edges", "random", "centre"]:
        fade = 0.0 if spec in ("edges", "random", "centre") else 0.35 if "guided" in spec else 1.2
        for likeness in ("spearman-abs", "ssim"):
            for how in ("cascading", "independent"):
                top = np.exp(-fade * np.arange(len(STAGES)) * (1 if how == "cascading" else 0.3))
                noise = draw.normal(0, 0.08, (len(STAGES), 3, count)) * (fade > 0)
                noise[0] = 0
                alike[spec, how, likeness] = np.clip(top[:, None, None] + noise, -1, 1)
            flat = spec == "centre"
            chance[spec, likeness] = (
                np.ones(count) if flat else np.clip(draw.normal(0.2, 0.1, count), -1, 1)
            )
            other[spec, likeness] = np.clip(
                draw.normal(1.0 if fade < 1 else 0.5, 0.05, count), -1, 1
            )
    put_sanity(run, alike, chance=chance, other=other, images=count)
