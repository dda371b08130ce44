import json
from base64 import b64decode

import numpy as np
import pytest

from saliscope.report.image_rows import make_rows


@pytest.fixture(scope="module")
def rows(material):
    return make_rows(material, {"fox/p0003.png": 7})


def column(rows, name, kind):
    return np.frombuffer(b64decode(rows[name]), kind)


def test_every_image_has_a_row(rows, made):
    assert rows["ids"] == made.images["id"].to_list()
    assert not rows["several"]
    json.dumps(rows, allow_nan=False)


def test_names_and_states(rows, made):
    names = [*rows["names"], None]
    assert [names[i] for i in column(rows, "class", "<i4")] == made.images["class"].to_list()
    predicted = [names[i] for i in column(rows, "predicted", "<i4")]
    assert predicted[:5] == ["owl <b>of</b> snow"] * 4 + ["fox"]
    assert predicted[-2:] == [None, None]
    assert column(rows, "state", "u1").tolist() == [0] * 4 + [1] * 18 + [3] * 2
    assert column(rows, "picture", "<i4").tolist() == [7 if i == 3 else -1 for i in range(24)]


def test_scores_come_back(rows, material, made):
    assert [s["label"] for s in rows["scores"]] == [m.label for m in material.metrics]
    for score, metric in zip(rows["scores"], material.metrics, strict=True):
        numbers = np.frombuffer(b64decode(score["data"]), "<u2").reshape(len(material.sources), -1)
        values = np.where(numbers == 65535, np.nan, score["low"] + numbers * score["step"])
        wide = made.by_method(metric.metric, metric.protocol)
        for place, source in enumerate(material.sources):
            if source.spec not in wide.columns:
                assert np.isnan(values[place]).all()
                continue
            np.testing.assert_allclose(values[place][:22], wide[source.spec], atol=score["step"])
            assert np.isnan(values[place][22:]).all()


def test_shares_have_equal_steps(rows):
    steps = {s["label"]: (s["low"], s["step"]) for s in rows["scores"]}
    assert steps["IoU (yang2025)"] == (0.0, 1 / 65534)
    assert steps["enrichment (boxes)"][1] > 1 / 65534
