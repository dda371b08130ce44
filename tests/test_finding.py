import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saliscope.errors import ImageError
from saliscope.finding import find_images


@pytest.fixture
def tree(tmp_path):
    names = ["b/img10.jpg", "b/img2.JPG", "b/deep/x.png", "a.webp", "notes.txt", "raw.dat"]
    names += [".hidden.jpg", ".cache/y.jpg", "b/._img2.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names_of(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


def test_a_folder_is_searched_naturally_sorted_without_hidden_files(tree):
    assert names_of(find_images([tree]), tree) == [
        "a.webp",
        "b/deep/x.png",
        "b/img2.JPG",
        "b/img10.jpg",
    ]


def test_the_order_of_arguments_is_kept_and_duplicates_go(tree):
    given_ = [tree / "b" / "img10.jpg", tree / "b", str(tree / "b" / ".." / "a.webp"), tree]
    found = find_images(given_)
    assert [path.name for path in found] == ["img10.jpg", "x.png", "img2.JPG", "a.webp"]


def test_a_file_is_kept_whatever_its_suffix(tree):
    found = find_images([tree / "notes.txt", str(tree / ".hidden.jpg")])
    assert names_of(found, tree) == ["notes.txt", ".hidden.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("b/*", ["b/img2.JPG", "b/img10.jpg"]),
        ("**/*", ["a.webp", "b/deep/x.png", "b/img2.JPG", "b/img10.jpg"]),
        ("b/img?.*", ["b/img2.JPG"]),
        ("b/img[0-9]*.jpg", ["b/img10.jpg"]),
        ("*.dat", ["raw.dat"]),
        ("**/*.png", ["b/deep/x.png"]),
    ],
)
def test_globs(tree, monkeypatch, pattern, expected):
    assert names_of(find_images([f"{tree}/{pattern}"]), tree) == expected
    monkeypatch.chdir(tree)
    assert [path.as_posix() for path in find_images([pattern])] == expected


def test_a_file_with_glob_signs_in_its_name_is_itself(tree):
    (tree / "dog[1].jpg").touch()
    (tree / "dog1.jpg").touch()
    assert names_of(find_images([tree / "dog[1].jpg"]), tree) == ["dog[1].jpg"]


def test_a_single_string_is_one_source(tree):
    assert names_of(find_images(str(tree / "a.webp")), tree) == ["a.webp"]


def test_nothing_found_raises_with_the_name(tree):
    (tree / "nothing").mkdir()
    (tree / "nothing" / "readme.txt").touch()
    with pytest.raises(ImageError, match=r"there is no file or folder .*dgo\.jpg; check the path"):
        find_images([tree / "a.webp", tree / "dgo.jpg"])
    with pytest.raises(ImageError, match=r"the folder .*nothing holds no pictures"):
        find_images([tree / "nothing"])
    with pytest.raises(ImageError, match=r'no picture matches ".*\*\.tiff"; pictures end in'):
        find_images([f"{tree}/*.tiff"])
    with pytest.raises(ImageError, match=r"no picture matches .*\(1 other files do\)"):
        find_images([f"{tree}/nothing/*"])
    with pytest.raises(ImageError, match="no images were given"):
        find_images([])


@given(st.permutations([f"img{i}.jpg" for i in (1, 2, 9, 10, 11, 100)] + ["Img3.jpg", "a.jpg"]))
@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_natural_order_does_not_depend_on_the_folder(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("natural")
    for name in names:
        (folder / name).touch()
    expected = ["a.jpg", "img1.jpg", "img2.jpg", "Img3.jpg", "img9.jpg", "img10.jpg", "img11.jpg"]
    assert names_of(find_images([folder]), folder) == [*expected, "img100.jpg"]
