"""The command `saliscope`: which verbs there are, and how their endings become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from saliscope import __version__
from saliscope.cli.bench import bench
from saliscope.cli.compare import compare
from saliscope.cli.demo import demo
from saliscope.cli.explain import explain
from saliscope.cli.info import info
from saliscope.cli.layers import layers
from saliscope.cli.methods import methods
from saliscope.errors import SaliscopeError

__all__ = ["app", "main"]

DONE, SOME_FAILED, BAD_ARGUMENTS, INTERRUPTED = 0, 1, 2, 130

app = App(
    name="saliscope",
    help="See what an image classifier looked at, and measure whether the picture is right.",
    version=__version__,
    help_epilogue=(
        "Exit codes: 0 done, 1 finished with failed images, 2 bad arguments, 130 interrupted. "
        "`saliscope VERB --help` explains a verb."
    ),
)

# These modules are light: what a verb needs it imports when it runs, so that --help stays fast.
for _verb in (demo, explain, compare, layers, methods, info, bench):
    app.command(_verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; only bugs leave with a traceback."""
    try:
        code = app(
            list(sys.argv[1:] if arguments is None else arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as err:
        return _complain(f"{err}".strip())
    except SaliscopeError as err:
        return _complain(f"{err}")
    except KeyboardInterrupt:
        print("saliscope: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `saliscope layers resnet50 | head`
        sys.stderr.close()
        return DONE
    return code if isinstance(code, int) else DONE


def _complain(message: str) -> int:
    line = " ".join(message.split())
    print(f"saliscope: {line}", file=sys.stderr)
    return BAD_ARGUMENTS
