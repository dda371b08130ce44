"""`import saliscope` is quick and harmless, and its public names are few and documented."""

import inspect
import subprocess
import sys
import time

import pytest

import saliscope as sc

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "cv2",
    "matplotlib",
    "scipy",
    "transformers",
    "PIL",
    "numpy",
)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_public_names_are_few_and_documented():
    assert len(sc.__all__) <= 25
    assert sorted(set(sc.__all__)) == sorted(sc.__all__)
    for name in sc.__all__:
        value = getattr(sc, name)
        if callable(value):
            assert inspect.getdoc(value), name
    assert set(dir(sc)) == {*sc.__all__, "__version__"}


def test_every_door_of_the_readme_is_there():
    for name in ("explain", "compare", "attribute", "load_model", "Model", "Box", "SaliscopeError"):
        assert name in sc.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'saliscope' has no attribute 'explian'"):
        sc.explian  # noqa: B018 - reading it is the test


def test_errors_are_the_matching_built_ins():
    pairs = {
        "ImageError": ValueError, "DataError": ValueError, "ModelError": RuntimeError,
        "LayerError": LookupError, "TargetError": ValueError, "MethodError": ValueError,
        "OptionError": ValueError, "DependencyError": ImportError,
    }  # fmt: skip
    for name, parent in pairs.items():
        assert issubclass(getattr(sc, name), (sc.SaliscopeError))
        assert issubclass(getattr(sc, name), parent)


def test_import_loads_nothing_heavy():
    loaded = run(f"import sys, saliscope; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded == "[]"


def test_boxes_and_errors_need_no_torch():
    loaded = run(
        "import sys, saliscope as sc\n"
        "assert sc.iou(sc.Box(0, 0, 2, 2), sc.Box(0, 0, 2, 1)) == 0.5\n"
        "sc.LayerError, sc.Frame\n"
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    assert loaded == "False False"


def test_the_front_doors_load_no_plotting_and_no_zoo():
    loaded = run(
        "import sys, saliscope as sc\n"
        "sc.explain, sc.Model, sc.attribute\n"
        "print([m for m in ('matplotlib', 'timm', 'torchvision', 'transformers') if m in sys.modules])"
    )
    assert loaded == "[]"


def test_import_has_no_side_effects():
    code = (
        "import os, sys, warnings, logging, random\n"
        "import torch, numpy\n"
        "def state():\n"
        "    return (dict(os.environ), list(warnings.filters), logging.getLogger().handlers[:],\n"
        "        logging.getLogger().level, random.getstate(), torch.get_rng_state().tolist(),\n"
        "        torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype(),\n"
        "        os.getcwd(), sys.path[:], sys.excepthook, numpy.geterr(),\n"
        "        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)\n"
        "before = state()\n"
        "import saliscope as sc\n"
        "[getattr(sc, n) for n in sc.__all__]\n"
        "print(before == state())"
    )
    assert run(code) == "True"


def test_import_is_quick():
    """A plain interpreter is the yardstick, so that a slow machine does not fail the test."""

    def best(code):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            run(code)
            times.append(time.perf_counter() - start)
        return min(times)

    assert best("import saliscope") - best("pass") < 0.15
