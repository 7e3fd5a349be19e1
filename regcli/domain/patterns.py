"""Regular expressions that cannot run away: matched in time proportional to the text, whatever the pattern.

Python's `re` backtracks: a pattern such as `(a+)+b` from a script or a colleague could keep a search busy for years. Here
the pattern is parsed by `re` itself (same syntax, same messages) and run as a set of states, the transitions kept as they
are met. What needs backtracking (back references, look-around, atomic groups) is refused.
"""

from __future__ import annotations

from regcli.errors import UsageError
from regcli.model import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Test = Callable[[str], bool]

MAX_LENGTH = 500
MAX_NODES = 5000
MAX_TEXT = 100_000
_MAX_STATES = 2000
_GROWTH = "is too large: its repetitions multiply"


class PatternError(UsageError):
    """A regular expression is malformed, too large, or needs backtracking; `position` is where, if known."""

    kind = "invalid-pattern"

    def __init__(self, message: str, *, position: int | None = None) -> None:
        """Take the sentence and the offset in the pattern."""
        super().__init__(message, hint="`regcli help search` says what a pattern may hold")
        self.position = position


class Pattern:
    """A compiled pattern; `found_in(text)` tells whether any part of the text matches.

    Attributes:
        text: the pattern as written.
    """

    __slots__ = ("_ends", "_ids", "_nodes", "_rows", "_sets", "_start", "text")

    def __init__(self, text: str) -> None:
        """Compile a pattern.

        Raises:
            PatternError: it is malformed, longer than 500 characters, too large, or needs backtracking.
        """
        self.text = text
        builder = _Builder(text)
        self._nodes = builder.nodes
        self._start = builder.start
        self._forget()

    def _forget(self) -> None:
        self._sets: list[tuple[frozenset[int], bool, bool]] = []
        self._ids: dict[tuple[frozenset[int], bool, bool], int] = {}
        self._rows: list[dict[str, int]] = []
        self._ends: list[bool | None] = []
        self._identify(frozenset((self._start,)), at_start=True, after_word=False)

    def _identify(self, nodes: frozenset[int], *, at_start: bool, after_word: bool) -> int:
        key = (nodes, at_start, after_word)
        known = self._ids.get(key)
        if known is None:
            known = len(self._sets)
            self._ids[key] = known
            self._sets.append(key)
            self._rows.append({})
            self._ends.append(None)
        return known

    def found_in(self, text: str) -> bool:
        """Tell whether the pattern matches somewhere in the text (its first 100,000 characters)."""
        if len(text) > MAX_TEXT:
            text = text[:MAX_TEXT]
        rows = self._rows
        state = 0
        for character in text:
            following = rows[state].get(character)
            if following is None:
                if len(rows) > _MAX_STATES:
                    nodes, at_start, after_word = self._sets[state]
                    self._forget()
                    rows = self._rows
                    state = self._identify(nodes, at_start=at_start, after_word=after_word)
                following = self._step(state, character)
            if following < 0:
                return True
            state = following
        end = self._ends[state]
        if end is None:
            nodes, at_start, after_word = self._sets[state]
            place = {"start": at_start, "end": True, "boundary": after_word, "inside": not after_word}
            end = self._close(nodes, place) is None
            self._ends[state] = end
        return end

    def _step(self, state: int, character: str) -> int:
        """Return the state after one more character, -1 where the pattern has matched before it."""
        nodes, at_start, after_word = self._sets[state]
        is_word = _is_word(character)
        on_boundary = after_word != is_word
        place = {"start": at_start, "end": False, "boundary": on_boundary, "inside": not on_boundary}
        closed = self._close(nodes, place)
        if closed is None:
            following = -1
        else:
            reached = {node[2] for node in closed if node[1](character)}
            reached.add(self._start)
            following = self._identify(frozenset(reached), at_start=False, after_word=is_word)
        self._rows[state][character] = following
        return following

    def _close(self, nodes: Iterable[int], place: dict[str, bool]) -> Any:
        """Return the character nodes that can be reached without reading, or None when the end of the pattern can."""
        seen = set(nodes)
        todo = list(seen)
        found = []
        while todo:
            node = self._nodes[todo.pop()]
            kind = node[0]
            if kind == "accept":
                return None
            if kind == "char":
                found.append(node)
                continue
            if kind == "at" and not place[node[1]]:
                continue
            for target in node[2] if kind == "split" else (node[2],):
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        return found


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


_CATEGORIES: dict[str, Test] = {
    "CATEGORY_DIGIT": str.isdecimal,
    "CATEGORY_NOT_DIGIT": lambda c: not c.isdecimal(),
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda c: not c.isspace(),
    "CATEGORY_WORD": _is_word,
    "CATEGORY_NOT_WORD": lambda c: not _is_word(c),
}
_PLACES = {
    "AT_BEGINNING": "start",
    "AT_BEGINNING_STRING": "start",
    "AT_END": "end",
    "AT_END_STRING": "end",
    "AT_BOUNDARY": "boundary",
    "AT_NON_BOUNDARY": "inside",
}


class _Builder:
    """Turns the tree that `re` parses into nodes: `(char, test, next)`, `(split, None, nexts)`, `(at, place, next)`."""

    __slots__ = ("_dot_all", "_ignore_case", "_text", "nodes", "start")

    def __init__(self, text: str) -> None:
        import re
        from re import _parser  # type: ignore[attr-defined]

        self._text = text
        if len(text) > MAX_LENGTH:
            raise PatternError(f"the pattern is longer than {MAX_LENGTH} characters")
        try:
            tree = _parser.parse(text)
        except re.error as error:
            raise PatternError(f"pattern {quote(text)} is malformed: {error.msg}", position=error.pos) from None
        except (RecursionError, OverflowError):
            raise PatternError(f"pattern {quote(text)} is nested too deeply") from None
        if tree.state.flags & (re.MULTILINE | re.LOCALE):
            raise self._refuse("the flags m and L")
        self._ignore_case = bool(tree.state.flags & re.IGNORECASE)
        self._dot_all = bool(tree.state.flags & re.DOTALL)
        self.nodes: list[tuple[Any, ...]] = [("accept", None, None)]
        try:
            self.start = self._sequence(tree, 0)
        except RecursionError:
            raise PatternError(f"pattern {quote(text)} is nested too deeply") from None

    def _refuse(self, what: str) -> PatternError:
        return PatternError(f"pattern {quote(self._text)} uses {what}, which is not supported")

    def _add(self, *node: Any) -> int:
        if len(self.nodes) >= MAX_NODES:
            raise PatternError(f"pattern {quote(self._text)} {_GROWTH}")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _sequence(self, items: Iterable[Any], after: int) -> int:
        for operation, argument in reversed(list(items)):
            after = self._item(str(operation), argument, after)
        return after

    def _item(self, name: str, argument: Any, after: int) -> int:
        if name in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return self._add("char", self._test(name, argument), after)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, items = argument
            return self._repeat(least, most, items, after)
        if name == "SUBPATTERN":
            _, added, removed, items = argument
            if added or removed:
                raise self._refuse("flags inside a group")
            return self._sequence(items, after)
        if name == "BRANCH":
            return self._add("split", None, tuple(self._sequence(branch, after) for branch in argument[1]))
        if name == "AT" and str(argument) in _PLACES:
            return self._add("at", _PLACES[str(argument)], after)
        words = {"GROUPREF": "a back reference", "ASSERT": "look-around", "ASSERT_NOT": "look-around"}
        raise self._refuse(words.get(name, "a construct that needs backtracking"))

    def _repeat(self, least: int, most: Any, items: Any, after: int) -> int:
        if str(most) == "MAXREPEAT":
            loop = self._add("split", None, ())
            body = self._sequence(items, loop)
            self.nodes[loop] = ("split", None, (body, after))
            after = loop
        else:
            if int(most) > MAX_NODES:
                raise PatternError(f"pattern {quote(self._text)} {_GROWTH}")
            end = after
            for _ in range(int(most) - least):
                after = self._add("split", None, (self._sequence(items, after), end))
        if least > MAX_NODES:
            raise PatternError(f"pattern {quote(self._text)} {_GROWTH}")
        for _ in range(least):
            after = self._sequence(items, after)
        return after

    def _test(self, name: str, argument: Any) -> Test:
        if name == "ANY":
            return (lambda _: True) if self._dot_all else (lambda c: c != "\n")
        plain = self._plain_test(name, argument)
        if not self._ignore_case:
            return plain
        return lambda c: plain(c) or plain(c.lower()) or plain(c.upper())

    def _plain_test(self, name: str, argument: Any) -> Test:
        if name == "LITERAL":
            return chr(argument).__eq__
        if name == "NOT_LITERAL":
            wrong = {chr(argument)}
            if self._ignore_case:
                wrong |= {chr(argument).lower(), chr(argument).upper()}
            return lambda c: c not in wrong
        negated = bool(argument) and str(argument[0][0]) == "NEGATE"
        singles: set[str] = set()
        tests: list[Test] = []
        for kind, value in argument[negated:]:
            if str(kind) == "LITERAL":
                singles.add(chr(value))
            elif str(kind) == "RANGE":
                tests.append(lambda c, low=value[0], high=value[1]: low <= ord(c) <= high)  # type: ignore[misc]
            else:
                tests.append(_CATEGORIES[str(value)])

        def among(character: str) -> bool:
            return character in singles or any(test(character) for test in tests)

        if not negated:
            return among
        if self._ignore_case:
            # Applied to the character itself in both cases: what any spelling of is listed is excluded.
            return lambda c: not (among(c) or among(c.lower()) or among(c.upper()))
        return lambda c: not among(c)
