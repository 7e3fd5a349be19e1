"""The program: builds the command tree, runs it, and turns every failure into one sentence and an exit code.

How to write a command: see `regcli.cli.commands`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from typer import Abort, BadParameter, Exit
from typer._click.exceptions import ClickException, MissingParameter, NoSuchOption
from typer._click.exceptions import UsageError as ParserError

from regcli.cli.commands import COMMANDS
from regcli.cli.context import SCHEMA_VERSION, Session, deliver, drop_standard_output, write_error
from regcli.cli.interrupts import INTERRUPTED, end_with
from regcli.cli.lazy import PROGRAM, TopGroup
from regcli.cli.output import escape, paint
from regcli.cli.settings import Options
from regcli.errors import RegcliError, StorageError, UsageError, reason_of
from regcli.model import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERNAL = 70
# How the parser begins to complain of words that no parameter takes.
_EXTRA = "Got unexpected extra argument(s) ("

HELP = """Keep versions of models and datasets in a directory, and publish them in registries

No server, no account: a root is made by the first command that needs it.

Examples:
    regcli log data.csv -n zoo -t dataset
    regcli link zoo:latest model/zoo -a staging
    regcli download model/zoo:staging -o data
"""


def build_program() -> TopGroup:
    """Return the whole command tree, its commands not yet imported."""
    return TopGroup(COMMANDS, help=HELP, rich_markup_mode=None)


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    _reserve_standard_descriptors()
    session = Session(Options())
    try:
        # What the fast lane could not deliver comes up here.
        _flush()
        _escape_unencodable()
        code = _run(session, list(argv))
        _flush()
    except BaseException as error:  # noqa: BLE001 - the one funnel
        code = report(session, argv, error)
    # The answer is out, and Ctrl-C does not unsay it.
    end_with(code)
    _report_warnings(session)
    session.start_delivery()
    return code


def _run(session: Session, argv: list[str]) -> int:
    """Run a command; what it returns, if a number, is the exit code (1 for differences found)."""
    program = build_program()
    try:
        with program.make_context(PROGRAM, argv, obj=session) as ctx:
            answer = program.invoke(ctx)
    except Exit as done:
        return done.exit_code
    return answer if isinstance(answer, int) else 0


def _flush() -> None:
    if sys.stdout is not None:
        deliver(sys.stdout, "")


def report(session: Session, argv: Sequence[str], error: BaseException) -> int:
    """Print a failure and return its exit code."""
    if isinstance(error, BrokenPipeError) and error.filename is None:
        # The reader (`| head`) has seen enough. That is no failure: pipelines under `set -o pipefail` must not break.
        drop_standard_output()
        return session.verdict
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else INTERNAL
    code, kind, message, hint = explain(error)
    as_json = session.is_json or _asks_for_json(argv)
    verbosity = session.options.verbosity
    if verbosity >= 2:
        _print_traceback(error)
    session.pass_warnings_on(known=message)
    made = session.made
    if made:
        # What was committed stays so, whatever failed afterwards.
        commits = [f"commit {seq} of {place or 'the root'}" for place, seq in made]
        message += f"; done before that: {', '.join(commits)}"
    if as_json:
        document: dict[str, Any] = {"error": {"code": code, "kind": kind, "message": message, "hint": hint}}
        if made:
            document["error"]["made"] = [{"place": place, "seq": seq} for place, seq in made]
        if session.warnings:
            document["warnings"] = session.warnings
            session.warnings = []
        _print_json(document)
    else:
        color = session.wants_color(sys.stderr)
        write_error(paint("error:", "error", color=color) + f" {escape(message)}\n")
        if hint:
            lines = hint.split("\n") if kind == "invalid-expression" else [hint]
            write_error(paint("hint:", "heading", color=color) + f" {escape(lines[0])}\n")
            # The second line points at a place in the first.
            write_error("".join(f"      {escape(line)}\n" for line in lines[1:]))
    return code


def explain(error: BaseException) -> tuple[int, str, str, str | None]:
    """Return exit code, kind, message and hint of any exception."""
    if isinstance(error, RegcliError):
        return error.exit_code, error.kind, error.message, error.hint
    if isinstance(error, ClickException):
        return UsageError.exit_code, UsageError.kind, *_explain_usage(error)
    if isinstance(error, (KeyboardInterrupt, Abort)):
        return INTERRUPTED, "interrupted", "interrupted", None
    if isinstance(error, MemoryError):
        return StorageError.exit_code, StorageError.kind, "out of memory", None
    if isinstance(error, OSError):
        reason = reason_of(error)
        where = f"{_text(error.filename)}: " if error.filename is not None else ""
        return StorageError.exit_code, StorageError.kind, where + reason, None
    encoding = sys.getfilesystemencoding()
    if isinstance(error, UnicodeEncodeError) and encoding != "utf-8":
        name = f"this locale ({encoding}) cannot write the name {quote(error.object)}"
        return UsageError.exit_code, UsageError.kind, name, "set PYTHONUTF8=1, or a locale such as C.UTF-8"
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return INTERNAL, RegcliError.kind, f"internal error: {what}", "this is a bug; run again with -vv for the traceback"


def _text(name: Any) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)


# What is looked for where it cannot be, and what serves instead.
_NO_OPTION = {
    "regcli edit --metric": "metrics stay as they were logged; `compare` shows numbers of --meta too, as in --meta acc=0.93",
}


def _explain_usage(error: ClickException) -> tuple[str, str | None]:
    """Return the parser's complaint in our form."""
    hint = None
    if isinstance(error, ParserError) and error.ctx is not None:
        hint = f"see `{error.ctx.command_path} --help`"
    if isinstance(error, NoSuchOption):
        if error.ctx is not None and (told := _NO_OPTION.get(f"{error.ctx.command_path} {error.option_name}")):
            return f"there is no option {error.option_name}", told
        if error.possibilities:
            hint = f"did you mean {' or '.join(error.possibilities)}? {hint or ''}".strip()
        return f"there is no option {error.option_name}", hint
    if isinstance(error, MissingParameter) and error.param is not None:
        name = error.param.metavar or (error.param.name or "").upper()
        if error.param.param_type_name == "option":
            name = " / ".join(error.param.opts)
        elif "|" in name:
            return f"one word is missing: {' or '.join(name.split('|'))}", hint
        return f"{name} is missing", hint
    if isinstance(error, BadParameter) and error.param is not None and error.param_hint is None:
        name = " / ".join(error.param.opts) if error.param.param_type_name == "option" else error.param.human_readable_name
        if "|" in name:
            # The words that it may be, which the complaint lists.
            return _lower(error.message), hint
        return f"{name}: {_range_problem(error) or _lower(error.message)}", hint
    message = error.format_message()
    if message.startswith(_EXTRA):
        return f"unexpected argument {quote(message.removeprefix(_EXTRA).removesuffix(')'))}", hint
    return _lower(message.replace("requires an argument", "needs a value")), hint


def _range_problem(error: BadParameter) -> str | None:
    """Say of a number what the parser says of `int range` and `1<=x<=64`; None where it complains of something else."""
    kind = getattr(error.param, "type", None)
    what, _, complaint = error.message.partition(" is not ")
    if complaint.startswith("a valid int"):
        return f"{what} is not a whole number"
    if complaint.startswith("a valid float"):
        return f"{what} is not a number"
    if not complaint.startswith("in the range "):
        return None
    least, most = getattr(kind, "min", None), getattr(kind, "max", None)
    return f"{what} is not {least} to {most}" if most is not None else f"{what} is less than {least}"


def _lower(message: str) -> str:
    message = message.strip().removesuffix(".")
    return message[:1].lower() + message[1:] if message[1:2].islower() or message[1:2] == " " else message


def _asks_for_json(argv: Sequence[str]) -> bool:
    """Tell whether `--json` stands on a line that could not be parsed."""
    options = list(argv)
    return "--json" in (options[: options.index("--")] if "--" in options else options)


def _print_json(document: dict[str, Any]) -> None:
    import json

    text = json.dumps({"schema_version": SCHEMA_VERSION, **document})
    write_error(text.replace("\x7f", "\\u007f") + "\n")


def _print_traceback(error: BaseException) -> None:
    import traceback

    for block in traceback.format_exception(error):
        write_error("".join(escape(line) + "\n" for line in block.splitlines()))


def _report_warnings(session: Session) -> None:
    """Print the warnings that no result carried."""
    session.pass_warnings_on()
    for message in session.warnings:
        _print_json({"warning": {"message": message}})


def _reserve_standard_descriptors() -> None:
    """Occupy closed standard descriptors, lest a file of the store gets number 1 and is printed into."""
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        import os

        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(descriptor)


def _escape_unencodable() -> None:
    """Let a terminal or pipe that takes only ASCII see an escape instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
