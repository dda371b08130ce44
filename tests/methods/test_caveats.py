from saliscope.methods import CAVEATS, METHODS


def test_the_caveats_are_those_of_the_methods():
    assert {name: kind.caveat for name, kind in METHODS.items() if kind.caveat} == dict(CAVEATS)
