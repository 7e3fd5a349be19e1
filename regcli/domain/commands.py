"""The words of an automation's command, which is run without a shell."""

from __future__ import annotations

from regcli.errors import UsageError
from regcli.model import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_OPERATORS = frozenset("&|;<>")


def check_command(text: str) -> str:
    """Return the command as it is kept.

    Raises:
        UsageError: it is empty or no words, or it has what only a shell would understand, outside quotes.
    """
    import shlex

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"command {quote(text)} cannot be split into words: {error}") from None
    if not words:
        raise UsageError("the command is empty")
    for found in _for_a_shell(text):
        raise UsageError(
            f"{quote(found)} in the command means something to a shell only, and the command is run without one",
            hint=f"run a shell: {shlex.join(['sh', '-c', text])}; or put single quotes around what is meant as it is written",
        )
    return text


def _for_a_shell(text: str) -> Iterator[str]:
    """Yield each operator and each variable or command that a shell would replace: what stands in no quotes that keep it."""
    inside = ""
    at = 0
    while at < len(text):
        character = text[at]
        # As `shlex` splits: in double quotes a backslash keeps these two only.
        if character == "\\" and (not inside or (inside == '"' and text[at + 1 : at + 2] in ('"', "\\"))):
            at += 2
            continue
        if character in "'\"" and inside in ("", character):
            inside = "" if inside else character
        elif character in _OPERATORS and not inside:
            end = at
            while text[end : end + 1] in _OPERATORS and end < len(text):
                end += 1
            yield text[at:end]
            at = end
            continue
        elif inside != "'" and (character == "`" or (character == "$" and _begins_name(text[at + 1 : at + 2]))):
            yield character if character == "`" else _variable(text, at)
        at += 1


def _begins_name(character: str) -> bool:
    return character in ("{", "(") or character == "_" or (character.isascii() and character.isalpha())


def _variable(text: str, at: int) -> str:
    end = at + 2
    while text[at + 1] not in "{(" and end < len(text) and text[end].isascii() and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return text[at:end]
