"""The command `saliscope`: which verbs there are, and how their endings become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper

from cyclopts import App, CycloptsError, UnusedCliTokensError

from saliscope import __version__
from saliscope.cli.bench import bench
from saliscope.cli.compare import compare
from saliscope.cli.demo import demo
from saliscope.cli.explain import explain
from saliscope.cli.info import info
from saliscope.cli.layers import layers
from saliscope.cli.methods import methods
from saliscope.cli.metrics import metrics
from saliscope.errors import SaliscopeError

__all__ = ["app", "main"]

DONE, SOME_FAILED, BAD_ARGUMENTS, INTERRUPTED = 0, 1, 2, 130

app = App(
    name="saliscope",
    help="See what an image classifier looked at, and measure whether the picture is right.",
    version=__version__,
    suppress_keyboard_interrupt=False,  # ours below says so, and what is kept
    help_epilogue=(
        "Exit codes: 0 done, 1 finished with failed images, 2 bad arguments, 130 interrupted. "
        "`saliscope VERB --help` explains a verb."
    ),
)

# These modules are light: what a verb needs it imports when it runs, so that --help stays fast.
app.command(demo)
app.command(explain, usage="Usage: saliscope explain IMAGES... [OPTIONS]")
app.command(compare, usage="Usage: saliscope compare IMAGE [METHODS...] [OPTIONS]")
for _verb in (layers, methods, metrics, info, bench):
    app.command(_verb)
app.command("saliscope.cli.data:app", name="data", help="List, download, check and show data sets.")
app.command(
    "saliscope.cli.train:app",
    name="train",
    help="Train a network, and write it where --model DIR opens it.",
)
app.command(
    "saliscope.cli.evaluate:app",
    name="evaluate",
    help="Explain and measure a whole data set; the same command continues.",
)
app.command(
    "saliscope.cli.measure:app",
    name="measure",
    help="Score the maps of a run again, with other protocols or thresholds.",
)
app.command(
    "saliscope.cli.report:app",
    name="report",
    help="A page, tables and figures of one evaluation, or of several side by side.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; only bugs leave with a traceback."""
    for stream in (sys.stdout, sys.stderr):  # no letter that a terminal cannot show stops a run
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(
            list(sys.argv[1:] if arguments is None else arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()  # a pipe that closed says so here, not when Python ends
    except CycloptsError as err:
        return _complain(_explained(err))
    except SaliscopeError as err:
        return _complain(f"{err}")
    except (MemoryError, RuntimeError) as err:
        if not isinstance(err, MemoryError) and "DefaultCPUAllocator" not in f"{err}":
            raise
        return _complain("the memory is not enough; choose a smaller --size or --batch-size")
    except KeyboardInterrupt:
        print("saliscope: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `saliscope layers resnet50 | head`
        _forget_stdout()
        return DONE
    return code if isinstance(code, int) else DONE


def _explained(err: CycloptsError) -> str:
    """What is wrong with the words of a command line, and where its verb is explained."""
    message = f"{err}".strip()
    if isinstance(err, UnusedCliTokensError):
        spare = ", ".join(f'"{token}"' for token in err.unused_tokens or ())
        message = f"nothing takes the argument {spare}."
    elif message.startswith("Command "):
        message = message.partition(" parameter ")[2]
    verb = "".join(f"{word} " for word in err.command_chain or ())
    return f"{message} See `saliscope {verb}--help`"


def _forget_stdout() -> None:
    """Point stdout at nothing, so that Python does not complain about the closed pipe when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> int:
    line = " ".join(message.split())
    print(f"saliscope: {line}", file=sys.stderr)
    return BAD_ARGUMENTS
