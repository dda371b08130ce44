"""`saliscope data`: which data sets there are, getting them, checking them, looking at them."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from saliscope.cli.tables import print_table
from saliscope.errors import DataError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saliscope.data import DataKind, DataSet
    from saliscope.data.download import Plan

__all__ = ["app"]

app = App(name="data", help="List, download, check and show data sets.")

Root = Annotated[
    Path | None,
    Parameter(help="the folder of the data set; default: its place in the cache folder"),
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="print as JSON")]


# --- list ------------------------------------------------------------------------------------------------------------


@app.command(name="list")
def list_(
    name: Annotated[str | None, Parameter(help="say everything about this one")] = None,
    /,
    *,
    as_json: Json = False,
) -> int:
    """List the data sets: images, classes, annotations, and whether they are here.

    Numbers are the published ones. Your own pictures are opened as folder:PATH, those of Hugging Face as hf:NAME.
    """
    from saliscope.data import data_kind, data_names

    kinds = [data_kind(each) for each in (data_names() if name is None else [name])]
    if as_json:
        facts = [_facts(kind) for kind in kinds]
        print(json.dumps(facts if name is None else facts[0], indent=1, ensure_ascii=False))
    elif name is None:
        header = ("name", "what", "images", "classes", "regions", "masks", "here")
        print_table(header, [_row(kind) for kind in kinds])
    else:
        _print_facts(_facts(kinds[0]))
    return 0


def _facts(kind: DataKind) -> dict[str, Any]:
    return {
        "name": kind.name,
        "title": kind.title,
        "splits": list(kind.splits),
        "images": _images(kind),
        "counts": dict(kind.counts),
        "classes": kind.num_classes,
        "regions": kind.regions,
        "masks": kind.masks,
        "licence": kind.licence,
        "citation": kind.citation,
        "home": kind.home,
        "by_hand": kind.by_hand,
        "archives": [{"url": a.url, "size": a.size, "checksum": a.checksum} for a in kind.archives],
        "shape": kind.shape.rstrip("\n"),
        "needs": kind.needs,
        "root": str(_place(kind)) if kind.needs == "root" else None,
        "here": _is_here(kind),
    }


def _print_facts(facts: dict[str, Any]) -> None:
    """One fact a line, the folders last."""
    counts = ", ".join(f"{split} {count:,}" for split, count in facts["counts"].items())
    shown = {**facts, "splits": ", ".join(facts["splits"]), "counts": counts, "images": None}
    shown["archives"] = "  ".join(archive["url"] for archive in facts["archives"])
    shown["here"] = {True: "yes", False: "no", None: ""}[facts["here"]]
    for key, value in shown.items():
        if value not in (None, "") and key not in ("shape", "needs"):
            print(f"{key.replace('_', ' '):9s} {value}")
    if facts["shape"]:
        print("folders")
        print("\n".join(f"  {line}" for line in facts["shape"].splitlines()))


def _row(kind: DataKind) -> tuple[str, ...]:
    here = {"root": "no", "path": "your own", "name": "when opened", "": "made when opened"}
    images = _images(kind)
    return (
        kind.name,
        kind.title,
        "" if images is None else f"{images:,}",
        "" if kind.num_classes is None else f"{kind.num_classes:,}",
        kind.regions,
        kind.masks,
        f"{_place(kind)}" if _is_here(kind) else here[kind.needs],
    )


def _images(kind: DataKind) -> int | None:
    """All published images: splits that overlap are counted once."""
    counts = kind.counts
    if not counts or "all" in counts:
        return counts.get("all")
    train = counts.get("trainval", counts.get("train", 0) + counts.get("val", 0))
    return train + counts.get("test", 0)


def _place(kind: DataKind) -> Path:
    from saliscope.data import cache_folder

    return cache_folder() / "data" / kind.name


def _is_here(kind: DataKind) -> bool | None:
    """Whether the folder in the cache holds something; None for kinds that need none."""
    if kind.needs != "root":
        return None
    place = _place(kind)
    return place.is_dir() and any(not entry.name.startswith(".") for entry in place.iterdir())


# --- download --------------------------------------------------------------------------------------------------------


@app.command
def download(
    name: str,
    /,
    *,
    root: Root = None,
    yes: Annotated[
        bool,
        Parameter(name=["--yes", "-y"], negative=(), help="agree to the terms without a question"),
    ] = False,
    keep: Annotated[
        bool, Parameter(negative=(), help="keep the archives after they are unpacked")
    ] = False,
) -> int:
    """Download a data set, check it against its published checksums, and unpack it.

    Terms and citation are shown before the first download. On a terminal you are asked whether you agree, once for each
    folder; elsewhere --yes says so. Where it was interrupted, the same command continues. Without a network it names the
    files and the folder to put them in; the same command then goes on with those. The folder is printed on stdout.
    """
    from saliscope.cli.transfer import Transfer
    from saliscope.data import data_kind
    from saliscope.data import download as library

    kind = data_kind(name)
    plan = library.plan_download(kind, root)
    if plan.missing and not kind.by_hand:
        _agree(plan, yes=yes)
    elif plan.missing or not kind.archives:
        _say_terms(kind)
    with Transfer() as bar:
        place = library.download(kind, plan.root, keep=keep, watch=bar.step)
    print(place)
    return 0


def _say_terms(kind: DataKind) -> None:
    lines = [kind.title, f"licence:  {kind.licence}", f"citation: {kind.citation}"]
    print("\n".join([*lines, f"home:     {kind.home}"]), file=sys.stderr)


def _agree(plan: Plan, *, yes: bool) -> None:
    """Show the terms unless they were agreed to for this folder; ask where there is somebody to ask."""
    mark = plan.root / ".saliscope-agreed"
    if mark.is_file() and mark.read_text(encoding="utf-8") == plan.kind.licence:
        return
    _say_terms(plan.kind)
    size = plan.bytes_missing
    amount = "an unknown number of" if size is None else f"{size / 1e6:,.1f}"
    print(f"download: {amount} MB into {plan.root}", file=sys.stderr)
    if not yes:
        _ask(plan.kind)
    try:
        plan.root.mkdir(parents=True, exist_ok=True)
        mark.write_text(plan.kind.licence, encoding="utf-8")
    except OSError as err:
        raise DataError(
            f"cannot write into {plan.root}: {err.strerror or err}; choose another folder with --root DIR"
        ) from err


def _ask(kind: DataKind) -> None:
    if not sys.stdin.isatty():
        raise OptionError(f"say that you agree to the terms of {kind.name}: add --yes")
    print("Agree and download? [Y/n] ", end="", file=sys.stderr, flush=True)
    # A line that is only ended agrees; a terminal that was closed gives no line at all.
    line = sys.stdin.readline()
    if not line or line.strip().lower() not in ("", "y", "yes"):
        raise OptionError("nothing was downloaded")


# --- check -----------------------------------------------------------------------------------------------------------


@app.command
def check(
    name: Annotated[str, Parameter(help="a data set with its options, as everywhere")],
    /,
    *,
    split: Annotated[
        list[str] | None,
        Parameter(negative=(), help="repeat for several; default: train, val and test"),
    ] = None,
    root: Root = None,
    deep: Annotated[
        bool, Parameter(negative=(), help="decode every image and read every mask")
    ] = False,
    every: Annotated[
        bool, Parameter(name="--all", negative=(), help="print every finding, not three of each")
    ] = False,
    as_json: Json = False,
    progress: Annotated[bool, Parameter(help="show a progress bar")] = True,
) -> int:
    """Check a copy of a data set: is it whole, readable, free of duplicates, and do its boxes fit.

    A partial copy is no fault, nor are images without regions, other pictures behind .jpg names and other colour modes:
    these are told and used. Truncated files are found without --deep. Exit code 0: no faults, 1: some.
    """
    from saliscope.cli.audit_table import print_audit
    from saliscope.cli.progress import Progress
    from saliscope.data.check import audit

    kind = _counted(name)
    splits = _open_splits(name, split, root)
    with Progress(sum(map(len, splits)), shown=progress) as bar:
        found = audit(splits, kind, deep=deep, watch=lambda done, _: bar.step(done, 0))
    if as_json:
        from dataclasses import asdict

        print(json.dumps(asdict(found) | {"clean": found.clean}, indent=1, ensure_ascii=False))
    else:
        print_audit(found, every=every)
    return 0 if found.clean else 1


# Options that change neither which images belong to a data set nor how many.
_NEUTRAL = frozenset(
    ["root", "validation", "seed", "corners", "classes", "label", "border", "boxes"]
)


def _counted(name: str) -> DataKind:
    """The kind of a data set; without published numbers where options make another one of it (voc:year=2012)."""
    from dataclasses import replace

    from saliscope.data.opening import parse_data

    kind, _, options = parse_data(name)
    if options.keys() <= _NEUTRAL:
        return kind
    return replace(kind, counts={}, num_classes=None)


def _open_splits(name: str, wanted: Sequence[str] | None, root: Path | None) -> list[DataSet]:
    """The splits asked for, or those of train, val and test that are here; "all" where none of them is."""
    from saliscope.data import open_data
    from saliscope.data.opening import parse_data

    if wanted:
        return [open_data(name, each, root=root) for each in dict.fromkeys(wanted)]
    known = parse_data(name)[0].splits
    found: list[DataSet] = []
    problems: dict[str, DataError] = {}
    for part in [part for part in ("train", "val", "test") if part in known]:
        try:
            found.append(open_data(name, part, root=root))
        except DataError as err:
            problems[part] = err
    if not found and "all" in known:
        with suppress(DataError):  # what is wrong with the others says more
            found.append(open_data(name, "all", root=root))
    if not found:
        raise next(iter(problems.values()))
    for left_out, problem in problems.items():
        print(f"{left_out} is not checked: {problem}", file=sys.stderr)
    return found


# --- show ------------------------------------------------------------------------------------------------------------


@app.command
def show(
    name: Annotated[str, Parameter(help="a data set with its options, as everywhere")],
    /,
    *,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="the picture: .png, .jpg or .webp")
    ],
    split: Annotated[str | None, Parameter(help="default: test, else val")] = None,
    root: Root = None,
    limit: Annotated[int, Parameter(help="at most so many samples, chosen by --seed")] = 24,
    only_class: Annotated[
        str | None, Parameter(help="samples of this class: name or index")
    ] = None,
    seed: Annotated[int, Parameter(help="another seed shows other samples")] = 0,
    ids: Annotated[
        str | None, Parameter(help="just these, in this order: ids or their ends, with commas")
    ] = None,
    masks: Annotated[
        str | None, Parameter(help="draw these masks, names with commas; none: no mask")
    ] = None,
    columns: Annotated[int | None, Parameter(help="samples side by side")] = None,
    size: Annotated[int, Parameter(help="pixels of a sample's side")] = 220,
) -> int:
    """Draw a contact sheet of samples with their boxes and masks.

    A sample that cannot be read has a tile that says why; the exit code is then 1.

    Example: saliscope data show stanford_dogs -o dogs.png --only-class beagle
    """
    from saliscope.data import open_data, read_samples
    from saliscope.data.choosing import choose_samples
    from saliscope.data.opening import parse_data
    from saliscope.pictures import SUFFIXES, encode
    from saliscope.report.contact_sheet import contact_sheet

    if output.suffix.lower() not in SUFFIXES:
        raise OptionError(f'-o is a picture, {", ".join(SUFFIXES)}; got "{output}"')
    known = parse_data(name)[0].splits
    usual = next((part for part in ("test", "val") if part in known), known[-1])
    data = open_data(name, split or usual, root=root)
    named = None if ids is None else [part.strip() for part in ids.split(",") if part.strip()]
    chosen = choose_samples(data, limit=limit, only_class=only_class, seed=seed, ids=named)
    failed: list[str] = []
    sheet = contact_sheet(
        (sample for _, sample in read_samples(data, chosen)),
        classes=data.classes,
        columns=columns,
        size=size,
        title=f"{data.name}, {data.split}: {len(chosen):,} of {len(data):,} samples",
        masks=None if masks is None else [part for part in masks.split(",") if part != "none"],
        on_failed=lambda sample: failed.append(f"{sample.id}: {sample.message}"),
    )
    try:
        encode(sheet, output)
    except OSError as err:
        raise DataError(f"{output}: {err.strerror}") from err
    for line in failed:
        print(f"failed: {' '.join(line.split())}", file=sys.stderr)
    print(f"{len(chosen) - len(failed)} shown, {len(failed)} failed -> {output}", file=sys.stderr)
    return 1 if failed else 0
