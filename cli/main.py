"""The `familiar` command: its groups, its exit codes and what it says when something fails.

Exit codes: 0 done; 1 could not be done, and a sentence says why; 2 wrong usage; 75 the same as 1,
where it may work later by itself; 130 Ctrl+C.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from cli import (
    compare,
    compare_methods,
    compare_precisions,
    data,
    embed,
    evaluate,
    evaluate_detector,
    gallery_index,
    models,
    processes,
    similar,
    train,
)
from cli.demo.command import demo
from cli.supervisor import AWAY
from cli.terminal import messages, results
from core import program

FAILED: Final = 1
INTERRUPTED: Final = 130


@dataclass(slots=True)
class Invocation:
    """What was asked of the command as a whole.

    Attributes:
        debug: Unexpected errors show their traceback instead of keeping it in a file.
        interrupted: Ctrl+C was pressed. A library may have made another error of it.
    """

    debug: bool = False
    interrupted: bool = False

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Note Ctrl+C, and end what is being done as Python does."""
        self.interrupted = True
        signal.default_int_handler(number, frame)


app = typer.Typer(
    name="familiar",
    help="Who is this character like? Pictures in, the nearest characters of a gallery out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        results.print(f"familiar {program.version()}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if isinstance(context.obj, Invocation):
        context.obj.debug = debug
    _tell_misspelled()


def _tell_misspelled() -> None:
    """Say of each setting that nobody knows that it is none, and which may be meant."""
    from core.problem import Problem
    from core.settings import misspelled

    try:
        found = misspelled()
    except (Problem, OSError):  # said by every command that needs the settings
        return
    for name, meant in found.items():
        hint = f"; {meant} is one" if meant else ", and is not read from .env"
        messages.print(f"{name} is no setting{hint}.")


app.command("demo")(demo)
app.command("up")(processes.up)
app.command("worker")(processes.worker)
app.command("bot")(processes.bot)
app.add_typer(gallery_index.app, name="index")
app.command("similar")(similar.similar)
app.command("compare")(compare.compare)
app.command("embed")(embed.embed)
app.command("detect")(embed.detect)
app.command("evaluate")(evaluate.evaluate)
app.command("evaluate-detector")(evaluate_detector.evaluate_detector)
app.command("compare-methods")(compare_methods.compare_methods)
app.command("compare-precisions")(compare_precisions.compare_precisions)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")


def _expected(error: Exception) -> str | None:
    """The sentence of an error that is nobody's fault in the code, or None."""
    from core.problem import Problem, Refusal

    if isinstance(error, (Problem, Refusal)):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}."
    return None


def _code(error: Exception) -> int:
    from core.problem import Problem

    return AWAY if isinstance(error, Problem) and error.passing else FAILED


def _without_secrets(text: str) -> str:
    from core.problem import Problem
    from core.redaction import redact, secrets_of
    from core.settings import load_settings

    try:
        return redact(text, secrets_of(load_settings()))
    except (Problem, OSError):  # the sentence that is shown may be about just that
        return redact(text)


def _report(error: Exception, debug: bool) -> None:
    """Say what went wrong in one line on stderr; keep the traceback of the unexpected."""
    sentence = _expected(error)
    if sentence is not None:
        if debug:
            messages.print(_without_secrets(traceback.format_exc()), end="")
        messages.print(_without_secrets(sentence))
        return
    details = _without_secrets("".join(traceback.format_exception(error)))
    if debug:
        messages.print(details, end="")
        return
    with tempfile.NamedTemporaryFile(
        "w", prefix="familiar-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write(details)
    summary = _without_secrets(f"{type(error).__name__}: {error}".splitlines()[0])
    messages.print(
        f"Something unexpected went wrong ({summary}). The details are in {file.name};"
        " please send them with your report."
    )


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process.

    Args:
        arguments: Without the program's name; None: those of the process.
    """
    invocation = Invocation()
    command = typer.main.get_command(app)
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, invocation.interrupt)
    try:
        command.main(
            None if arguments is None else list(arguments), prog_name="familiar", obj=invocation
        )
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the one place where every error becomes a sentence
        if invocation.interrupted:
            sys.exit(INTERRUPTED)
        _report(error, invocation.debug)
        sys.exit(_code(error))
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)
        # Where Ctrl+C falls into code that is executed from text, as `dataclass` executes some,
        # Python remembers it and ends by the signal whatever exit code it is given; executing
        # anything makes it forget.
        exec("")  # noqa: S102 - nothing is executed
    sys.exit(0)


if __name__ == "__main__":
    main()
