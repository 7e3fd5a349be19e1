"""The funnel: every failure becomes one sentence and a documented exit code; global options work anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import pytest
import typer

from regcli import errors
from regcli.cli import app as program
from regcli.cli import lazy
from regcli.cli.context import Session, session_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Result

    Invoke = Callable[..., Result]

BIDI = "\N{RIGHT-TO-LEFT OVERRIDE}"


class Probe:
    """A command that does what a test tells it, and keeps the session it ran with."""

    def __init__(self) -> None:
        self.action: Callable[[Session], int | None] = lambda _: None
        self.session: Session | None = None
        self.cwd = ""

    def seen(self) -> Session:
        assert self.session is not None
        return self.session


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Put `regcli ls [-o TEXT] [WORD…]` and the group `regcli tag add` under the test's control."""
    probe = Probe()
    single = typer.Typer()
    group = typer.Typer(help="Label things")

    @single.command("ls")
    @group.command("add")
    def act(
        ctx: typer.Context,
        words: Annotated[list[str] | None, typer.Argument(metavar="WORD")] = None,
        text: Annotated[str, typer.Option("--text", "-o", help="Any text")] = "",
        number: Annotated[int, typer.Option("--number", help="Any number")] = 0,
    ) -> int | None:
        """Do something

        Examples:
            regcli ls
        """
        probe.session = session_of(ctx)
        probe.cwd = os.getcwd()
        return probe.action(probe.session)

    @group.command("rm")
    def remove() -> None:
        """Remove something"""

    apps = {"ls": single, "tag": group}
    monkeypatch.setattr(lazy, "load_command", lambda name: lazy.build_command(name, apps[name]))
    return probe


def failing(error: BaseException) -> Callable[[Session], None]:
    def action(_session: Session) -> None:
        raise error

    return action


FAILURES = [
    (errors.UsageError("bad input"), 2, "usage"),
    (errors.NotFoundError("no such thing"), 3, "not-found"),
    (errors.ConflictError("taken"), 4, "conflict"),
    (errors.ProtectedError("protected"), 5, "protected"),
    (errors.IntegrityError("corrupt"), 6, "integrity"),
    (errors.BusyError("busy"), 7, "busy"),
    (errors.StorageError("disk full"), 8, "storage"),
    (PermissionError(13, "Permission denied", "/x"), 8, "storage"),
    (MemoryError(), 8, "storage"),
    (ZeroDivisionError("division by zero"), 70, "internal"),
    (RecursionError(), 70, "internal"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (typer.Abort(), 130, "interrupted"),
]


@pytest.mark.parametrize(("error", "code", "kind"), FAILURES, ids=lambda value: type(value).__name__)
def test_every_failure_is_one_sentence_with_its_code(
    invoke: Invoke, probe: Probe, error: BaseException, code: int, kind: str
) -> None:
    probe.action = failing(error)
    result = invoke("ls")
    assert result.code == code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert all(line.startswith(("error: ", "hint: ")) for line in result.stderr.splitlines())

    result = invoke("ls", "--json")
    assert result.code == code
    assert result.error["code"] == code
    assert result.error["kind"] == kind
    assert set(result.error) == {"code", "kind", "message", "hint"}
    assert json.loads(result.stderr)["schema_version"] == 1


def test_message_names_path_and_reason_of_a_failure_nobody_explained(invoke: Invoke, probe: Probe) -> None:
    probe.action = failing(FileNotFoundError(2, "No such file or directory", "/some/where"))
    assert invoke("ls").stderr == "error: /some/where: no such file or directory\n"


def test_two_v_show_the_traceback_and_one_does_not(invoke: Invoke, probe: Probe) -> None:
    probe.action = failing(ZeroDivisionError("oops"))
    assert "Traceback" not in invoke("-v", "ls").stderr
    for arguments in (["-v", "ls", "-v"], ["ls", "-vv"], ["-vv", "ls"]):
        assert "Traceback" in invoke(*arguments).stderr


def test_quiet_never_hides_errors(invoke: Invoke, probe: Probe) -> None:
    probe.action = failing(errors.NotFoundError("gone", hint="look elsewhere"))
    assert invoke("-q", "ls").stderr == "error: gone\nhint: look elsewhere\n"


def test_nothing_in_a_message_steers_the_terminal(invoke: Invoke, probe: Probe) -> None:
    probe.action = failing(errors.NotFoundError(f"a\x1b[31mb\n{BIDI}c\udce9", hint="\x07[bold]x[/bold]"))
    result = invoke("ls")
    assert result.stderr == "error: a\\x1b[31mb\\n\\u202ec\\udce9\nhint: \\x07[bold]x[/bold]\n"
    assert invoke("ls", "--json").error["message"] == f"a\x1b[31mb\n{BIDI}c\udce9"


def test_a_command_may_return_its_exit_code(invoke: Invoke, probe: Probe) -> None:
    probe.action = lambda _: 1
    assert invoke("ls").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["ls", "--no-such-option"],
        ["ls", "--number", "x"],
        ["ls", "--number"],
        ["--wait", "-1", "ls"],
        ["--color", "blue", "ls"],
        ["tag"],
        ["tag", "no-such-command"],
        ["-C", "a\0b", "ls"],
        ["--root", "", "ls"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2_also_as_json(invoke: Invoke, probe: Probe, arguments: list[str]) -> None:
    probe.action = lambda session: len(session.settings.root.value)
    result = invoke(*arguments)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    result = invoke("--json", *arguments)
    assert (result.code, result.error["kind"]) == (2, "usage")


def test_json_anywhere_on_a_line_that_cannot_be_parsed_gives_a_json_error(invoke: Invoke, probe: Probe) -> None:
    assert invoke("ls", "--nope", "--json").error["code"] == 2
    assert invoke("nope", "--json").error["code"] == 2
    assert invoke("ls", "--nope", "--", "--json").stderr.startswith("error: ")


def test_wrong_words_get_the_nearest(invoke: Invoke, probe: Probe) -> None:
    assert "did you mean `regcli search`?" in invoke("serach").stderr
    assert "did you mean `regcli log` or `regcli link`?" in invoke("push").stderr
    assert "did you mean `regcli tag rm`?" in invoke("tag", "rmm").stderr
    assert "did you mean --number?" in invoke("ls", "--numbr", "1").stderr
    assert "one of: add, rm" in invoke("tag").stderr


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_global_options_are_accepted_anywhere(invoke: Invoke, probe: Probe, work: Path, place: str) -> None:
    probe.action = lambda session: 0 * len(session.settings.root.value)
    (work / "sub").mkdir()
    given = ["--root", "r", "-C", "sub", "--project=e/p", "--json", "-q", "--color", "never", "--no-progress", "--wait", "1.5"]
    line = {"before": [*given, "tag", "add"], "between": ["tag", *given, "add"], "after": ["tag", "add", *given]}[place]
    invoke(*line).ok()
    session = probe.seen()
    assert session.command == "tag add"
    assert session.settings.root.value == str(work / "sub" / "r")
    assert session.settings.project is not None
    assert session.settings.project.value == "e/p"
    assert session.settings.wait_seconds == 1.5
    assert (session.options.json, session.options.quiet, session.options.color) == (True, True, "never")
    assert session.options.progress is False
    assert probe.cwd == str(work / "sub")


def test_the_last_global_option_wins(invoke: Invoke, probe: Probe, work: Path) -> None:
    probe.action = lambda session: 0 * len(session.settings.root.value)
    invoke("--root", "a", "ls", "--root", "b").ok()
    assert probe.seen().settings.root.value == str(work / "b")


def test_the_value_of_an_option_is_never_taken_for_a_global_option(invoke: Invoke, probe: Probe) -> None:
    invoke("ls", "--text", "--json", "-o", "-q", "--", "--json", "-v").ok()
    assert (probe.seen().options.json, probe.seen().options.quiet, probe.seen().options.verbosity) == (False, False, 0)


def test_an_option_of_the_command_wins_over_a_global_one_of_the_same_name(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    seen: list[str] = []

    @app.command()
    def show(quick: Annotated[bool, typer.Option("-q", help="Be quick")] = False) -> None:
        """Show something"""
        seen.append(str(quick))

    monkeypatch.setattr(lazy, "load_command", lambda name: lazy.build_command(name, app))
    invoke("ls", "-q", "--quiet").ok()
    assert seen == ["True"]


def test_version_is_one_line_and_json_on_demand(invoke: Invoke) -> None:
    from regcli import __version__

    assert invoke("--version").stdout == f"regcli {__version__}\n"
    for arguments in (["--version", "--json"], ["--json", "--version"], ["help", "--version", "--json"]):
        assert invoke(*arguments).ok().json["version"] == __version__


def test_without_arguments_the_help_is_the_answer(invoke: Invoke) -> None:
    bare = invoke().ok()
    assert bare.stdout == invoke("--help").ok().stdout == invoke("-h").ok().stdout
    assert bare.stderr == ""


def test_notes_and_warnings_go_to_standard_error(invoke: Invoke, probe: Probe) -> None:
    def action(session: Session) -> None:
        session.note("by the way")
        session.warn("take\x1bcare")
        session.emit({"x": 1}, ["done"])

    probe.action = action
    result = invoke("ls")
    assert (result.stdout, result.stderr) == ("done\n", "by the way\nwarning: take\\x1bcare\n")
    assert invoke("ls", "-q").stderr == "warning: take\\x1bcare\n"
    result = invoke("ls", "--json")
    assert result.stderr == ""
    assert result.json == {"schema_version": 1, "x": 1, "warnings": ["take\x1bcare"]}


def test_a_warning_without_a_document_is_not_lost(invoke: Invoke, probe: Probe) -> None:
    probe.action = lambda session: session.warn("careful")
    assert json.loads(invoke("ls", "--json").stderr)["warning"]["message"] == "careful"


def test_warnings_before_an_error_are_part_of_its_document(invoke: Invoke, probe: Probe) -> None:
    def action(session: Session) -> None:
        session.context.warnings += ["one log is damaged", "gone", "gone"]
        session.warn("careful")
        raise errors.IntegrityError("gone")

    probe.action = action
    result = invoke("ls", "--json")
    assert json.loads(result.stderr)["warnings"] == ["careful", "one log is damaged"]
    assert result.error["code"] == 6
    result = invoke("ls")
    assert result.stderr == "warning: careful\nwarning: one log is damaged\nerror: gone\n"


def test_json_is_pure_ascii_without_control_characters(invoke: Invoke, probe: Probe) -> None:
    probe.action = lambda session: session.emit({"x": f"한\x7f\x1b{BIDI}\udc80"})
    result = invoke("ls", "--json")
    assert result.stdout.isascii()
    assert result.stdout.rstrip("\n").isprintable()
    assert json.loads(result.stdout)["x"] == f"한\x7f\x1b{BIDI}\udc80"


def test_confirm_without_a_terminal_is_no(invoke: Invoke, probe: Probe) -> None:
    probe.action = lambda session: int(session.confirm("sure?"))
    assert invoke("ls", input="y\n").code == 0


def shell(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHON": sys.executable},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("arguments", ["--version", "--help", "help references", "completion bash --json"])
class TestStandardOutput:
    """What happens when nobody takes the output."""

    def test_full_device_is_a_storage_error(self, home: Path, arguments: str) -> None:
        done = shell(f'"$PYTHON" -m regcli {arguments} > /dev/full', home)
        assert done.returncode == 8, done.stderr
        assert "cannot write to standard output: no space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr

    def test_closed_output_is_a_storage_error(self, home: Path, arguments: str) -> None:
        done = shell(f'"$PYTHON" -m regcli {arguments} >&-', home)
        assert done.returncode == 8, done.stderr
        assert "standard output" in done.stderr

    def test_broken_pipe_is_silent_and_no_failure(self, home: Path, arguments: str) -> None:
        done = shell(f'"$PYTHON" -m regcli {arguments} | true', home)
        assert (done.returncode, done.stderr) == (0, "")

    def test_closed_error_stream_changes_nothing(self, home: Path, arguments: str) -> None:
        done = shell(f'"$PYTHON" -m regcli {arguments} 2>&-', home)
        assert done.returncode == 0
        assert done.stdout


def test_damage_is_told_by_the_exit_code_though_nobody_reads_to_the_end(home: Path, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("data")
    log = f'cd {tmp_path} && export REGCLI_ROOT={tmp_path}/root && "$PYTHON" -m regcli log data.txt -n zoo -t dataset -q'
    assert shell(log, home).returncode == 0
    for arguments in ("verify -q", "verify -q --color never", "diff zoo zoo --exit-code"):
        done = shell(f'export REGCLI_ROOT={tmp_path}/root; "$PYTHON" -m regcli {arguments} | true', home)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    (next((tmp_path / "root" / "packs").glob("*.pack"))).unlink()
    for arguments in ("verify -q", "verify -q --color never"):
        done = shell(f'export REGCLI_ROOT={tmp_path}/root; "$PYTHON" -m regcli {arguments} | true', home)
        assert (done.returncode, done.stderr) == (1, "")


def test_an_error_with_every_stream_closed_still_has_its_code(home: Path) -> None:
    assert shell('"$PYTHON" -m regcli nope <&- >&- 2>&-', home).returncode == 2


def test_ascii_terminals_get_escapes(home: Path) -> None:
    done = shell('PYTHONIOENCODING=ascii "$PYTHON" -m regcli help 한', home)
    assert done.returncode == 3
    assert "\\ud55c" in done.stderr


def test_exit_codes_of_the_funnel_are_those_of_the_classes() -> None:
    for error in (errors.RoleError("x"), errors.OutcomeUnknownError("x"), errors.RenamedError("x")):
        assert program.explain(error) == (error.exit_code, error.kind, "x", None)


def test_control_c_is_exit_130_without_a_traceback(home: Path) -> None:
    code = (
        "import os, signal, sys\n"
        # Whoever started the tests may have told them to ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from regcli.cli import app\n"
        "app.build_program = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(app.run(['ls']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", env={"HOME": str(home)}, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_a_name_that_the_locale_cannot_write_is_bad_input(run: Invoke, work: Path) -> None:
    (work / "d").mkdir()
    (work / "d" / "파일.txt").write_text("x")
    run("log", "d", "-n", "a", "-t", "dataset").ok()
    ascii_only = {"LANG": "", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = run("download", "a", "-o", "out", environment=ascii_only)
    assert result.code == 2
    assert "this locale (ascii) cannot write the name" in result.stderr
    assert "PYTHONUTF8=1" in result.stderr
    run("download", "a", "-o", "out", environment={**ascii_only, "PYTHONUTF8": "1"}).ok()
    assert (work / "out" / "파일.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["download", "zoo", "out"], "unexpected argument 'out'", "see `regcli download --help`"),
        (["download", "zoo", "out (1)", "x"], "unexpected argument 'out (1) x'", "see `regcli download --help`"),
        (
            ["hook", "install"],
            "one word is missing: pre-commit or pre-push or post-checkout or post-merge",
            "see `regcli hook install --help`",
        ),
        (
            ["hook", "run", "x"],
            "'x' is not one of 'pre-commit', 'pre-push', 'post-checkout', 'post-merge', 'verify', 'large-files', 'sync'",
            "see `regcli hook run --help`",
        ),
        (["completion"], "one word is missing: bash or zsh or fish or install", "see `regcli completion --help`"),
        (["search", "--limit", "0"], "--limit: 0 is less than 1", "see `regcli search --help`"),
        (["search", "--limit", "x"], "--limit: 'x' is not a whole number", "see `regcli search --help`"),
        (["download", "zoo", "-j", "99"], "--jobs / -j: 99 is not 1 to 64", "see `regcli download --help`"),
        (["--wait", "x", "ls"], "--wait: 'x' is not a number", "see `regcli --help`"),
        (["log", "--nmae"], "there is no option --nmae", "did you mean --name or --meta or --base? see `regcli log --help`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_parser_finds_wrong_is_said_in_plain_words(
    invoke: Invoke, arguments: list[str], message: str, hint: str
) -> None:
    failed = invoke("--json", *arguments)
    assert (failed.code, failed.error["message"], failed.error["hint"]) == (2, message, hint)
