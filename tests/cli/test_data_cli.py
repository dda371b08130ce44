"""`saliscope data`, from the words of a command line to what is on stdout, stderr and disk."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import saliscope as sc
from saliscope.boxes import Box
from saliscope.cli import data as verb
from saliscope.cli.app import main
from saliscope.data import Archive, DataKind, Listing, Region, Sample, catalog
from saliscope.data.choosing import choose_samples
from saliscope.errors import DataError, OptionError

CLASSES = ("red_fox", "arctic fox", "owl")
ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error", "COLUMNS": "100"}


def photograph(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def open_beasts(*, name, split, root, year=1, seed=0):
    """Images are root/SPLIT/LABEL_n.jpg; one whose name holds "bad" has a damaged annotation."""
    folder = Path(root) / split
    if not folder.is_dir():
        raise DataError(f"beasts: {folder} is missing")
    files = sorted(folder.iterdir())
    labels = [int(file.name[0]) for file in files]

    def read(index):
        if "bad" in files[index].name:
            raise DataError(f"{files[index].name} is no XML")
        region = Region(Box(5, 5, 30, 20), "fox")
        own = f"{split}/{files[index].stem}"
        return Sample(own, files[index], labels[index], split, (region,), (30, 40))

    ids = [f"{split}/{file.stem}" for file in files]
    return Listing(name, split, CLASSES, ids, labels, read)


KIND = DataKind(
    name="beasts",
    title="Beasts of the wood",
    opener=open_beasts,
    splits=("train", "val", "test", "all"),
    licence="For reading only.",
    citation="A. Author: Beasts. 2024.",
    home="http://beasts.example/",
    counts={"train": 3, "test": 1000},
    num_classes=5,
    masks="body",
    shape="train/0_1.jpg\ntest/1_1.jpg\n",
)


@pytest.fixture
def kinds(monkeypatch, tmp_path):
    """Two kinds of data sets and an empty cache; `kinds.beasts` may be replaced."""
    own = SimpleNamespace(beasts=KIND)

    class Home(ModuleType):
        @property
        def KIND(self):
            return own.beasts

    endless = ModuleType("endless_home")
    endless.KIND = DataKind("endless", "Endless beasts", lambda **_: None, ("test",), needs="")
    monkeypatch.setitem(sys.modules, "beasts_home", Home("beasts_home"))
    monkeypatch.setitem(sys.modules, "endless_home", endless)
    homes = {"beasts": "beasts_home", "endless": "endless_home"}
    monkeypatch.setattr(catalog, "_HOMES", homes)
    monkeypatch.setenv("SALISCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return own


@pytest.fixture
def said(kinds, capsys):
    """Run a command in this process: `said("list")` gives code, out and err."""

    def call(*words):
        code = main(["data", *map(str, words)])
        streams = capsys.readouterr()
        return SimpleNamespace(code=code, out=streams.out, err=streams.err)

    return call


@pytest.fixture
def beasts(tmp_path):
    """A clean copy: three of train, two of test."""
    root = tmp_path / "beasts"
    for number, place in enumerate(["train/0_1", "train/0_2", "train/1_1", "test/1_9", "test/2_9"]):
        path = root / f"{place}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photograph(number))
    return root


def cells(out):
    """The rows of a printed table, cells stripped."""
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in out.splitlines()
    ]


# --- the verb --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["data", "--help"], ["data", "check", "--help"], ["--help"]])
def test_help_imports_nothing_heavy(words):
    script = (
        "import sys\nfrom saliscope.cli.app import main\n"
        f"code = main({words})\n"
        "heavy = {'torch', 'numpy', 'PIL', 'saliscope.data'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: saliscope" in done.stdout


def test_the_verb_is_listed(capsys):
    assert main(["--help"]) == 0
    assert "List, download, check and show data sets." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["chek"], 'Did you mean "check"?'),
        (["check"], "NAME requires an argument. See `saliscope data check --help`"),
        (["check", "beast"], 'no data set is called "beast"; nearest: "beasts"'),
        (["list", "beast"], 'no data set is called "beast"; nearest: "beasts"'),
        (["download", "beast"], 'nearest: "beasts"'),
        (["check", "beasts"], "beasts is not in "),
        (["check", "beasts:yaer=2", "--root", "."], 'beasts has no option "yaer"; nearest: "year"'),
        (["check", "beasts", "--split", "tset", "--root", "."], 'no split "tset"; nearest: "test"'),
        (["check", "beasts", "--root", "."], "train is missing"),
        (["show", "beasts"], "--output"),
        (["show", "beasts", "-o", "a.pdf"], '-o is a picture, .jpg, .jpeg, .png, .webp; got "a.pdf"'),
        (["download", "endless"], "there is nothing to download: endless is made by the program"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_words_are_one_line(said, words, told):
    done = said(*words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("saliscope: ")
    assert told in done.err


# --- list ------------------------------------------------------------------------------------------------------------


def test_list(said, tmp_path):
    done = said("list")
    assert (done.code, done.err) == (0, "")
    header, _, beasts, endless = cells(done.out)
    assert header == ["name", "what", "images", "classes", "regions", "masks", "here"]
    assert beasts == ["beasts", "Beasts of the wood", "1,003", "5", "boxes", "body", "no"]
    assert endless == ["endless", "Endless beasts", "boxes", "made when opened"]
    place = tmp_path / "cache" / "data" / "beasts"
    place.mkdir(parents=True)
    (place / ".saliscope-agreed").touch()
    assert cells(said("list").out)[2][-1] == "no"
    (place / "train").mkdir()
    assert cells(said("list").out)[2][-1] == str(place)


def test_list_as_json(said, tmp_path):
    beasts, endless = json.loads(said("list", "--json").out)
    assert beasts["name"] == "beasts"
    assert beasts["counts"] == {"train": 3, "test": 1000}
    assert (beasts["classes"], beasts["licence"]) == (5, "For reading only.")
    assert beasts["root"] == str(tmp_path / "cache" / "data" / "beasts")
    assert beasts["here"] is False
    assert endless["root"] is None
    assert endless["here"] is None
    assert json.loads(said("list", "beasts", "--json").out) == beasts


def test_list_of_one(said):
    out = said("list", "beasts").out
    assert "citation  A. Author: Beasts. 2024." in out
    assert "counts    train 3, test 1,000" in out
    assert out.endswith("folders\n  train/0_1.jpg\n  test/1_1.jpg\n")


@pytest.mark.parametrize(
    ("counts", "images"),
    [
        ({}, ""),
        ({"train": 10, "val": 2, "test": 3}, "15"),
        ({"trainval": 12, "test": 3}, "15"),
        ({"trainval": 12, "train": 10, "val": 2, "test": 3}, "15"),
        ({"trainval": 12, "test": 3, "all": 16}, "16"),
    ],
)
def test_images_are_counted_once(kinds, said, counts, images):
    kinds.beasts = replace(KIND, counts=counts)
    assert verb._row(kinds.beasts)[2] == images


def test_the_real_ones_are_listed(capsys):
    assert main(["data", "list", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["stanford_dogs"]["images"] == 20_580
    assert set(found) >= {"voc", "ilsvrc", "cub", "pets", "coco", "folder", "hf", "critters"}
    for one in found.values():
        assert one["title"]
        assert one["needs"] in ("root", "path", "name", "")
        if one["needs"] == "root":
            assert one["shape"]
            assert one["licence"]
            assert one["citation"]
            assert one["archives"] or one["by_hand"]


# --- download --------------------------------------------------------------------------------------------------------


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(kinds, tmp_path, monkeypatch):
    """A server that has the data set's only archive."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    with tarfile.open(folder / "beasts.tar", "w") as tar:
        info = tarfile.TarInfo("test/1_9.jpg")
        info.size = len(photograph(0))
        tar.addfile(info, io.BytesIO(photograph(0)))
    data = (folder / "beasts.tar").read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/beasts.tar"
    checksum = "sha256:" + hashlib.sha256(data).hexdigest()
    archive = Archive(url, len(data), checksum, members=("test",))
    kinds.beasts = replace(KIND, archives=(archive,))
    yield archive
    server.shutdown()
    server.server_close()
    thread.join()


def at_terminal(monkeypatch, answer):
    stdin = io.StringIO(answer)
    stdin.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stdin)


def test_download(said, served, tmp_path):
    done = said("download", "beasts", "--yes")
    place = tmp_path / "cache" / "data" / "beasts"
    assert (done.code, done.out) == (0, f"{place}\n")
    assert (place / "test" / "1_9.jpg").read_bytes() == photograph(0)
    lines = done.err.splitlines()
    assert lines[:4] == [
        "Beasts of the wood",
        "licence:  For reading only.",
        "citation: A. Author: Beasts. 2024.",
        "home:     http://beasts.example/",
    ]
    assert lines[4].startswith("download: 0.0 MB into ")
    assert lines[5].startswith("download beasts.tar: 0.0 of 0.0 MB")
    assert not (place / "beasts.tar").exists()


def test_terms_are_shown_once(said, served, tmp_path):
    root = tmp_path / "own"
    assert "licence:" in said("download", "beasts", "--yes", "--root", root).err
    again = said("download", "beasts", "--root", root)
    assert (again.code, again.out, again.err) == (0, f"{root}\n", "")
    (root / "test" / "1_9.jpg").unlink()
    (root / "test").rmdir()
    again = said("download", "beasts", "--root", root)  # agreed to before
    assert again.code == 0
    assert "licence:" not in again.err


def test_other_terms_are_shown_again(said, served, kinds, tmp_path):
    said("download", "beasts", "--yes")
    kinds.beasts = replace(kinds.beasts, licence="Never.", archives=(replace(served, members=("no",)),))  # fmt: skip
    done = said("download", "beasts")
    assert done.code == 2
    assert "Never." in done.err


def test_without_a_terminal_one_says_yes(said, served, tmp_path):
    done = said("download", "beasts")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("saliscope: say that you agree to the terms of beasts: add --yes\n")
    assert "For reading only." in done.err
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("answer", ["\n", "y\n", "YES\n"])
def test_at_a_terminal_one_is_asked(said, served, monkeypatch, answer):
    at_terminal(monkeypatch, answer)
    done = said("download", "beasts")
    assert done.code == 0
    assert "Agree and download? [Y/n] " in done.err


@pytest.mark.parametrize("answer", ["n\n", "no\n", "what?\n"])
def test_at_a_terminal_one_may_refuse(said, served, monkeypatch, answer, tmp_path):
    at_terminal(monkeypatch, answer)
    done = said("download", "beasts")
    assert done.code == 2
    assert done.err.endswith("saliscope: nothing was downloaded\n")
    assert not (tmp_path / "cache").exists()


def test_a_terminal_that_was_closed_agrees_to_nothing(said, served, monkeypatch, tmp_path):
    at_terminal(monkeypatch, "")
    assert said("download", "beasts").code == 2
    assert not (tmp_path / "cache").exists()


def test_archives_can_be_kept(said, served, tmp_path):
    assert said("download", "beasts", "--yes", "--keep", "--root", "own").code == 0
    assert (tmp_path / "own" / "beasts.tar").is_file()


def test_no_network_is_one_sentence_and_the_same_command_goes_on(
    said, served, kinds, tmp_path, monkeypatch
):
    from saliscope.data import fetch

    monkeypatch.setattr(fetch, "time", SimpleNamespace(sleep=lambda _: None))
    dead = replace(served, url="http://127.0.0.1:9/beasts.tar")
    kinds.beasts = replace(kinds.beasts, archives=(dead,))
    done = said("download", "beasts", "--yes", "--root", "own")
    assert done.code == 2
    assert done.err.splitlines()[-1].endswith(
        "put beasts.tar (http://127.0.0.1:9/beasts.tar) into the folder own and run the same command again"
    )
    (tmp_path / "served" / "beasts.tar").rename(tmp_path / "own" / "beasts.tar")
    done = said("download", "beasts", "--yes", "--root", "own")
    assert (done.code, done.out) == (0, "own\n")
    assert "licence" not in done.err
    assert (tmp_path / "own" / "test" / "1_9.jpg").is_file()


def test_what_is_got_by_hand_says_how(said, kinds):
    kinds.beasts = replace(KIND, by_hand="write to its authors")
    done = said("download", "beasts")
    assert done.code == 2
    assert done.err.startswith("Beasts of the wood\nlicence:  For reading only.")
    assert "beasts has to be got by hand: write to its authors; its folder is " in done.err


def test_a_place_that_cannot_be_written_to(said, served, tmp_path):
    (tmp_path / "f").touch()
    done = said("download", "beasts", "--yes", "--root", "f/below")
    assert done.code == 2
    assert "cannot write into f/below: Not a directory; choose another folder" in done.err


def test_a_bar_at_a_terminal(said, served, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    done = said("download", "beasts", "--yes")
    assert done.code == 0
    assert "unpack beasts.tar" in done.err


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_of_a_clean_copy(said, beasts):
    done = said("check", "beasts", "--root", beasts)
    assert done.code == 0
    assert done.err.splitlines() == [
        f"val is not checked: beasts: {beasts / 'val'} is missing",
        "beasts: no faults",
    ]
    rows = cells(done.out)
    assert rows[2] == ["train", "3", "3", "1 to 2, median 1.5", "1 classes without a sample"]
    assert rows[3][:4] == ["test", "2", "1,000", "1 to 1, median 1"]
    assert "partial copy: 0.2%" in rows[3][4]
    assert ["3 of 5 classes"] in rows
    assert ["images that cannot be read", "0"] in rows
    assert not any("masks" in row[0] for row in rows if row)


def test_check_of_a_damaged_copy(said, beasts):
    (beasts / "train" / "0_bad.jpg").write_bytes(photograph(50))
    (beasts / "train" / "1_torn.jpg").write_bytes(photograph(51)[:-200])
    (beasts / "test" / "0_leak.jpg").write_bytes(photograph(0))
    done = said("check", "beasts", "--root", beasts)
    assert done.code == 1
    assert done.err.splitlines()[-1] == "beasts: 4 faults"
    rows = cells(done.out)
    assert ["more than published", "1", "train, 5 samples, published 3"] in rows
    assert ["annotations that cannot be read", "1", "train/0_bad, 0_bad.jpg is no XML"] in rows
    assert ["equal files in different splits", "1", "train: train/0_1 = test: test/0_leak"] in rows
    (torn,) = [row for row in rows if row and row[0] == "images that cannot be read"]
    assert torn[1] == "1"
    assert torn[2].startswith("train/1_torn, ")


def test_check_shows_three_of_each_or_all(said, beasts):
    for number in range(5):
        (beasts / "train" / f"0_bad{number}.jpg").write_bytes(b"")
    rows = cells(said("check", "beasts", "--root", beasts).out)
    start = next(i for i, row in enumerate(rows) if row[:1] == ["annotations that cannot be read"])
    assert rows[start + 1] == ["train/0_bad1, 0_bad1.jpg is no XML"]
    assert rows[start + 3] == ["and 2 more (--all)"]
    out = said("check", "beasts", "--root", beasts, "--all").out
    assert "0_bad4" in out
    assert "more (--all)" not in out


def test_check_of_one_split(said, beasts):
    (beasts / "train" / "0_bad.jpg").write_bytes(b"")
    done = said("check", "beasts", "--root", beasts, "--split", "test", "--split", "test")
    assert done.code == 0
    assert [row[0] for row in cells(done.out)[:4] if row] == ["split", "-----", "test"]


def test_check_as_json(said, beasts):
    (beasts / "train" / "0_bad.jpg").write_bytes(b"")
    done = said("check", "beasts", "--root", beasts, "--json")
    found = json.loads(done.out)
    assert done.code == 1
    assert found["clean"] is False
    assert [f["what"] for f in found["findings"]] == ["surplus", "annotation"]
    assert found["findings"][1]["ids"] == ["train/0_bad"]
    assert found["counts"][0]["published"] == 3


def test_published_counts_are_those_of_the_plain_name(said, beasts):
    """Options that make another data set of it have no published numbers here: more would not be a fault."""
    (beasts / "train" / "0_5.jpg").write_bytes(photograph(60))
    assert said("check", "beasts", "--root", beasts).code == 1
    assert said("check", "beasts:seed=3", "--root", beasts).code == 1
    assert said("check", "beasts:year=2", "--root", beasts).code == 0


def test_deep_tells_of_masks(said, beasts):
    assert "masks that cannot be read" in said("check", "beasts", "--root", beasts, "--deep").out


def test_where_no_split_is_here_all_is_checked(said, tmp_path):
    (tmp_path / "own" / "all").mkdir(parents=True)
    (tmp_path / "own" / "all" / "0_1.jpg").write_bytes(photograph(1))
    done = said("check", "beasts", "--root", "own")
    assert done.code == 0
    assert cells(done.out)[2][0] == "all"


# --- show ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch):
    """The ids on the sheet, and what it was asked for."""
    from saliscope.report import contact_sheet as module

    kept, own = SimpleNamespace(ids=[], more={}), module.contact_sheet

    def sheet(samples, **more):
        samples = list(samples)
        kept.ids, kept.more = [sample.id for sample in samples], more
        return own(samples, **more)

    monkeypatch.setattr(module, "contact_sheet", sheet)
    return kept


def test_show(said, beasts, shown):
    done = said("show", "beasts", "--root", beasts, "-o", "sheet.png")
    assert (done.code, done.out) == (0, "")
    assert done.err == "2 shown, 0 failed -> sheet.png\n"
    assert shown.ids == ["test/1_9", "test/2_9"]
    assert shown.more["classes"] == CLASSES
    assert shown.more["title"] == "beasts, test: 2 of 2 samples"
    assert sc.load_image("sheet.png").size[1] == 2 * 16 + 2 * 220 + 10


def test_show_draws_by_seed_and_in_order(said, beasts, shown):
    for number in range(20):
        (beasts / "test" / f"0_{number:02}.jpg").write_bytes(photograph(number))
    words = ["show", "beasts", "--root", beasts, "-o", "s.webp", "--limit", "6", "--size", "64"]
    said(*words)
    first = shown.ids
    assert first == sorted(first)
    assert len(set(first)) == 6
    said(*words)
    assert shown.ids == first
    said(*words, "--seed", "1")
    assert shown.ids != first


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [("red fox", ["train/0_1", "train/0_2"]), ("Arctic-Fox", ["train/1_1"]), ("1", ["train/1_1"])],
)
def test_show_of_one_class(said, beasts, shown, wanted, ids):
    words = ["--split", "train", "--only-class", wanted]
    assert said("show", "beasts", "--root", beasts, "-o", "s.png", *words).code == 0
    assert shown.ids == ids


def test_show_of_ids_in_their_order(said, beasts, shown):
    words = ["--split", "train", "--ids", "1_1, train/0_2"]
    assert said("show", "beasts", "--root", beasts, "-o", "s.png", *words).code == 0
    assert shown.ids == ["train/1_1", "train/0_2"]


@pytest.mark.parametrize(
    ("words", "masks"), [([], None), (["--masks", "none"], []), (["--masks", "a,b"], ["a", "b"])]
)
def test_show_of_masks(said, beasts, shown, words, masks):
    said("show", "beasts", "--root", beasts, "-o", "s.png", *words)
    assert shown.more["masks"] == masks


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--only-class", "foxx"], 'beasts has no class "foxx"; nearest: "red_fox"'),
        (["--only-class", "3"], 'has no class "3"'),
        (["--only-class", "owl", "--split", "train"], 'beasts, train, has no sample of "owl"'),
        (["--ids", "tst/1_9"], 'beasts, test, has no sample "tst/1_9"; nearest: "test/1_9"'),
        (["--limit", "0"], "at least one sample is chosen; got limit=0"),
        (["--ids", ","], "a contact sheet needs samples"),
        (["--size", "10"], "squares of 64 pixels"),
    ],
    ids=str,
)
def test_nothing_to_show(said, beasts, tmp_path, words, told):
    done = said("show", "beasts", "--root", beasts, "-o", "s.png", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert told in done.err
    assert not (tmp_path / "s.png").exists()


def test_an_end_that_fits_several():
    listing = Listing("x", "test", (), ["a/1", "b/1", "1"], [None] * 3, lambda _: None)
    assert choose_samples(listing, ids=["1"]) == [2]  # a whole id comes first
    listing = replace(listing, ids=["a/1", "b/1", "c"])
    with pytest.raises(OptionError, match='"1" is the end of 2 ids; write more of it'):
        choose_samples(listing, ids=["1"])
    with pytest.raises(OptionError, match="x has no classes, so none can be chosen"):
        choose_samples(listing, only_class="dog")


def test_a_damaged_sample_is_shown_as_such(said, beasts):
    (beasts / "test" / "0_bad.jpg").write_bytes(b"")
    (beasts / "test" / "0_torn.jpg").write_bytes(b"torn")
    done = said("show", "beasts", "--root", beasts, "-o", "s.png")
    assert done.code == 1
    lines = done.err.splitlines()
    assert lines[0] == "failed: test/0_bad: 0_bad.jpg is no XML"
    assert lines[1].startswith("failed: test/0_torn: ")
    assert lines[2] == "2 shown, 2 failed -> s.png"


def test_a_sheet_into_no_folder(said, beasts):
    done = said("show", "beasts", "--root", beasts, "-o", "no/s.png")
    assert done.code == 2
    assert 'the folder "no" does not exist; create it first' in done.err


# --- the guide -------------------------------------------------------------------------------------------------------


def test_the_guide_draws_the_folders_that_are_expected():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for name in catalog.data_names():
        kind = catalog.data_kind(name)
        assert f"| `{name}" in page
        if kind.shape:
            assert f"### {name}\n" in page
            assert f"```text\n{kind.shape.rstrip()}\n```" in page


def test_the_guide_states_the_published_numbers():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    rows = {line.split("`")[1]: line for line in reversed(lines)}  # the first table of each
    for name in catalog.data_names():
        kind = catalog.data_kind(name)
        if images := verb._row(kind)[2]:
            assert f"| {images} of {kind.num_classes:,}" in rows[name]
