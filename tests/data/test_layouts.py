"""Folders and lists of data sets."""

from typing import Literal

import pytest

from saliscope.data.layouts import (
    check_options,
    find_place,
    list_folders,
    list_images,
    read_rows,
)
from saliscope.errors import DataError, OptionError


def test_rows_are_words_and_the_last_takes_the_rest(tmp_path):
    (tmp_path / "a.txt").write_text("# head\n1 left eye\n\n  7   beak \n")
    rows = read_rows(tmp_path / "a.txt", kind="birds", columns=2, hint="try again")
    assert rows == [["1", "left eye"], ["7", "beak"]]
    (tmp_path / "b.txt").write_text("a b.jpg,m.png,\n")
    rows = read_rows(tmp_path / "b.txt", kind="birds", columns=3, separator=",", hint="")
    assert rows == [["a b.jpg", "m.png", ""]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 a\n2\n", r'birds: line 2 of .*a.txt is "2", but needs 2 values; try again'),
        (b"1 \xff\n", r"birds: the list .*a.txt cannot be read .*; try again"),
    ],
)
def test_bad_lists_are_named(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / "a.txt", kind="birds", columns=2, hint="try again")


def test_images_are_listed_by_stem(tmp_path):
    for name in ("b.JPEG", "a.jpg", "a.xml", "a.mat", ".c.jpg", "d.e.png"):
        (tmp_path / name).touch()
    assert list_images(tmp_path) == {"a": "a.jpg", "b": "b.JPEG", "d.e": "d.e.png"}
    for name in ("y", "x", ".z"):
        (tmp_path / name).mkdir()
    assert list_folders(tmp_path) == [tmp_path / "x", tmp_path / "y"]


def test_the_first_place_that_exists_is_taken(tmp_path):
    (tmp_path / "b").mkdir()
    assert find_place(tmp_path, ("a", "b", "."), kind="birds", hint="") == tmp_path / "b"
    with pytest.raises(DataError, match=r'birds: .* holds none of "a", "c"; unpack it'):
        find_place(tmp_path, ("a", "c"), kind="birds", hint="unpack it")


def test_options_are_one_of_their_literals():
    check_options("birds", classes=("all", Literal["all", "present"]))
    with pytest.raises(OptionError, match='birds has no classes "al"; nearest: "all"'):
        check_options("birds", classes=("al", Literal["all", "present"]))
