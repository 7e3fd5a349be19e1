"""`--where`: comparisons over the fields of a version record, evaluated for all versions of a collection at once.

    expression := term { "or" term }          term := factor { "and" factor }
    factor     := "not" factor | "(" expression ")" | FIELD OPERATOR VALUE
    OPERATOR   := = != < <= > >= ~            (== is =)

A field is a name of the version record or `metadata.KEY…`, `metrics.KEY…`; a value is a bare word, a number, `true`, `false`,
`null`, or quoted text. A version without the field matches only `!=`, `not`, and `= null`. A list matches when any
element does; `!=` is always the opposite of `=`, and of a list means that no element is equal.
"""

from __future__ import annotations

from regcli.domain.patterns import Pattern, PatternError
from regcli.errors import UsageError
from regcli.model import fold, is_unprintable, quote, version_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    Test = Callable[[Any], bool]
    Path = tuple[str, ...]

    class Rows(Protocol):
        """What is searched: as many rows as there are versions, and the values of a field in their order."""

        @property
        def count(self) -> int:
            """How many rows."""

        def column(self, path: Path) -> Sequence[Any]:
            """Return the values of a field; None where a version has none."""


# Names that are found whatever their case; everything else is compared as written.
NAMES = frozenset((
    "ref", "name", "type", "registry", "collection", "entity", "project", "aliases", "protected_aliases", "signed_aliases",
    "tags", "source", "links", "inputs", "logged_by", "used_by", "version", "state",
))  # fmt: skip
FIELDS = NAMES | frozenset((
    "digest", "digest_algorithm", "size", "file_count", "reference_count", "metadata", "metrics", "description", "ttl", "id",
    "expires_at", "created_at", "created_by", "updated_at", "linked_at", "linked_by", "is_link",
))  # fmt: skip
NESTED = ("metadata", "metrics")
OPERATORS = ("!=", "<=", ">=", "==", "=", "<", ">", "~")
MAX_LENGTH = 10_000
MAX_DEPTH = 100
_STOPS = frozenset("()'\"=!<>~")
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


class ExpressionError(UsageError):
    """A `--where` expression is wrong; the hint shows where."""

    kind = "invalid-expression"

    def __init__(self, message: str, text: str, position: int) -> None:
        """Point at the offset `position` of `text`."""
        super().__init__(f"{message}, at character {position + 1} of the expression", hint=point_at(text, position))
        self.position = position


def point_at(text: str, position: int) -> str:
    """Return the text and, on a line below it, a caret under the offset; a long text is shown around it."""
    start = max(0, position - 60)
    shown = "".join("?" if is_unprintable(c) else c for c in text[start : position + 40])
    before = shown[: position - start]
    width = len(before)
    if not before.isascii():
        import unicodedata

        width = sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in before)
    return f"{shown}\n{' ' * width}^"


class Comparison:
    """One field compared with one value.

    Attributes:
        path: the field, such as `("metadata", "accuracy")`. field: as written. operator: one of OPERATORS.
    """

    __slots__ = ("_number", "_test", "field", "operator", "path")

    def __init__(self, path: Path, operator: str, test: Test, number: float | None = None) -> None:
        """Take what was parsed; `number` is given where two numbers are simply put in order."""
        self._number = number
        self.path = path
        self.field = ".".join(path)
        self.operator = operator
        self._test = test

    def mask(self, rows: Rows) -> list[bool]:
        """Tell for each row whether it matches."""
        test = self._test
        values = rows.column(self.path)
        if self._number is not None and {int, float}.issuperset(map(type, values)):
            return _ordered(self.operator, values, self._number)
        found = [test(value) for value in values]
        return [not match for match in found] if self.operator == "!=" else found


class Junction:
    """`and` or `or` of several parts."""

    __slots__ = ("is_and", "parts")

    def __init__(self, parts: Sequence[Expression], *, is_and: bool) -> None:
        """Join the parts."""
        self.parts = parts
        self.is_and = is_and

    def mask(self, rows: Rows) -> list[bool]:
        """Tell for each row whether it matches; later parts are left out once nothing depends on them."""
        found = self.parts[0].mask(rows)
        for part in self.parts[1:]:
            if self.is_and:
                if not any(found):
                    break
                found = [a and b for a, b in zip(found, part.mask(rows), strict=True)]
            else:
                if all(found):
                    break
                found = [a or b for a, b in zip(found, part.mask(rows), strict=True)]
        return found


class Negation:
    """The opposite of an expression."""

    __slots__ = ("part",)

    def __init__(self, part: Expression) -> None:
        """Take what is negated."""
        self.part = part

    def mask(self, rows: Rows) -> list[bool]:
        """Tell for each row whether it matches."""
        return [not match for match in self.part.mask(rows)]


if TYPE_CHECKING:
    Expression = Comparison | Junction | Negation


def parse_where(text: str, *, metrics: bool = False) -> Expression:
    """Parse an expression.

    Args:
        text: as given.
        metrics: a name that is no field means the metric of that name.

    Raises:
        ExpressionError: it is malformed; the message and the hint point at the spot.
    """
    return _Parser(text, metrics=metrics).parse()


def first_field(expression: Expression) -> Path:
    """Return the field that is compared first, for telling why a version was found."""
    if isinstance(expression, Negation):
        return first_field(expression.part)
    if isinstance(expression, Junction):
        return first_field(expression.parts[0])
    return expression.path


def parse_field(text: str) -> Path:
    """Parse a field alone, as `--sort` and `--metric` take it.

    Raises:
        UsageError: there is no such field.
    """
    parser = _Parser(text, metrics=False)
    path = parser.field()
    parser.skip()
    if parser.at < len(text):
        raise parser.error("only a field is expected")
    return path


def dig(value: Any, path: Path) -> Any:
    """Return what a dotted path names in nested objects, None where there is nothing; a key may itself hold dots."""
    if not path:
        return value
    if not isinstance(value, dict):
        return None
    if len(path) == 1:
        return value.get(path[0])
    for length in range(len(path), 0, -1):
        key = ".".join(path[:length])
        if key in value:
            found = dig(value[key], path[length:])
            if found is not None:
                return found
    return None


class _Parser:
    """A recursive-descent parser that knows where it is."""

    __slots__ = ("_metrics", "at", "text")

    def __init__(self, text: str, *, metrics: bool) -> None:
        self.text = text
        self.at = 0
        self._metrics = metrics
        if len(text) > MAX_LENGTH:
            raise UsageError(f"the expression is longer than {MAX_LENGTH} characters")

    def error(self, message: str, position: int | None = None) -> ExpressionError:
        return ExpressionError(message, self.text, self.at if position is None else position)

    def parse(self) -> Expression:
        found = self._either(0)
        self.skip()
        if self.at < len(self.text):
            if self.text[self.at] == ")":
                raise self.error("')' closes nothing")
            raise self.error("'and' or 'or' is expected")
        return found

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _word(self) -> str:
        """Return the bare word at the current place without moving."""
        end = self.at
        while end < len(self.text) and not self.text[end].isspace() and self.text[end] not in _STOPS:
            end += 1
        return self.text[self.at : end]

    def _keyword(self, word: str) -> bool:
        self.skip()
        if self._word().lower() != word:
            return False
        self.at += len(word)
        return True

    def _either(self, depth: int) -> Expression:
        parts = [self._both(depth)]
        while self._keyword("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Junction(parts, is_and=False)

    def _both(self, depth: int) -> Expression:
        parts = [self._factor(depth)]
        while self._keyword("and"):
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else Junction(parts, is_and=True)

    def _factor(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise self.error("nested too deeply")
        if self._keyword("not"):
            return Negation(self._factor(depth + 1))
        self.skip()
        if self.at < len(self.text) and self.text[self.at] == "(":
            opened = self.at
            self.at += 1
            inner = self._either(depth + 1)
            self.skip()
            if self.at >= len(self.text):
                raise self.error("'(' is never closed", opened)
            if self.text[self.at] != ")":
                raise self.error("')', 'and' or 'or' is expected")
            self.at += 1
            return inner
        return self._comparison()

    def field(self) -> Path:
        self.skip()
        start = self.at
        segments: list[str] = []
        while True:
            if self.at < len(self.text) and self.text[self.at] in "'\"":
                segments.append(self._quoted())
            else:
                word = self._word()
                self.at += len(word)
                segments.extend(word.split("."))
                if segments[-1] == "" and len(segments) > 1 and self.at < len(self.text) and self.text[self.at] in "'\"":
                    segments.pop()
                    continue
            if self.text.startswith((".", ".'", '."'), self.at):
                self.at += 1
                continue
            break
        if segments == [""]:
            raise self.error("a field is expected, such as size or metadata.accuracy", start)
        return self._known(tuple(segments), start)

    def _known(self, path: Path, start: int) -> Path:
        name = path[0]
        if "" in path:
            raise self.error("a name between dots is missing", start)
        if name.lower() in FIELDS and (len(path) == 1 or name.lower() in NESTED):
            return (name.lower(), *path[1:])
        if self._metrics:
            return ("metrics", *path)
        from regcli.domain.nearest import nearest

        if name.lower() in FIELDS:
            raise self.error(f"field {quote(name)} has no parts", start)
        close = nearest(name, sorted(FIELDS))
        more = f"did you mean {quote(close)}?" if close else f"write metadata.{name} or metrics.{name} for one of your own"
        raise self.error(f"there is no field {quote(name)}; {more}", start)

    def _comparison(self) -> Comparison:
        path = self.field()
        self.skip()
        operator = next((item for item in OPERATORS if self.text.startswith(item, self.at)), None)
        if operator is None:
            raise self.error("an operator is expected after the field: = != < <= > >= ~")
        self.at += len(operator)
        self.skip()
        start = self.at
        if start < len(self.text) and self.text[start] in "'\"":
            value, quoted = self._quoted(), True
        else:
            value, quoted = self._word(), False
            self.at += len(value)
            if not value:
                raise self.error(f"a value is expected after '{operator}'")
        operator = "=" if operator == "==" else operator
        if operator == "~":
            try:
                pattern = Pattern(value)
            except PatternError as error:
                raise self.error(error.message, start + quoted + (error.position or 0)) from None
            return Comparison(path, operator, _pattern_test(pattern))
        number = _literal(path[0], value)
        test = _value_test(path[0], operator, value, number, quoted=quoted)
        return Comparison(path, operator, test, number if operator[0] in "<>" else None)

    def _quoted(self) -> str:
        opened = self.at
        mark = self.text[opened]
        self.at += 1
        parts: list[str] = []
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == mark:
                self.at += 1
                return "".join(parts)
            # Only the quote and the backslash itself need escaping, so that patterns such as '\d' stay as they are.
            if character == "\\" and self.text[self.at + 1 : self.at + 2] in (mark, "\\"):
                self.at += 1
                character = self.text[self.at]
            parts.append(character)
            self.at += 1
        raise self.error("the quoted text is never closed", opened)


def _ordered(operator: str, values: Sequence[Any], number: float) -> list[bool]:
    """Compare numbers only: the usual case, without a call for each."""
    if operator == "<":
        return [value < number for value in values]
    if operator == "<=":
        return [value <= number for value in values]
    if operator == ">":
        return [value > number for value in values]
    return [value >= number for value in values]


def _number(text: str) -> float | int | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def _size(text: str) -> float | int | None:
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    number = _number(digits)
    unit = _UNITS.get(text[len(digits) :].lower())
    return number * unit if number is not None and unit is not None else None


def _any_element(test: Test) -> Test:
    """Extend a test of single values to lists."""

    def on_lists(value: Any) -> bool:
        if isinstance(value, list):
            return any(test(item) for item in value)
        return test(value)

    return on_lists


def _pattern_test(pattern: Pattern) -> Test:
    known: dict[str, bool] = {}

    def test(value: Any) -> bool:
        if value is None or isinstance(value, dict):
            return False
        text = value if isinstance(value, str) else _text(value)
        found = known.get(text)
        if found is None:
            found = pattern.found_in(text)
            if len(known) < 10_000 and len(text) < 200:
                known[text] = found
        return found

    return _any_element(test)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _literal(field: str, text: str) -> float | int | None:
    number = _number(text)
    return _size(text) if field == "size" and number is None else number


def _value_test(field: str, operator: str, text: str, number: float | None, *, quoted: bool) -> Test:
    if operator in ("=", "!="):
        return _equality(text, number, folded=field in NAMES, quoted=quoted)
    return _order(operator, field, text, number)


def _equality(text: str, number: float | None, *, folded: bool, quoted: bool) -> Test:
    wanted = fold(text) if folded else text
    constants = {"true": True, "false": False}
    constant = None if quoted else constants.get(text.lower())
    is_null = not quoted and text.lower() in ("null", "none")

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return (fold(value) if folded else value) == wanted
        if value is None:
            return is_null
        if isinstance(value, bool):
            return value is constant
        if isinstance(value, (int, float)):
            return number is not None and value == number
        return False

    return _any_element(test)


def _order(operator: str, field: str, text: str, number: float | None) -> Test:
    import operator as operators

    compare = {"<": operators.lt, "<=": operators.le, ">": operators.gt, ">=": operators.ge}[operator]
    if field == "version":
        index = version_index(text.lower()) if number is None else number

        def by_index(value: Any) -> bool:
            return index is not None and bool(compare(int(value[1:]), index))

        return by_index

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return _compare_text(compare, value, text, number)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return number is not None and bool(compare(value, number))
        return False

    return _any_element(test)


def _compare_text(compare: Callable[[Any, Any], bool], value: str, text: str, number: float | None) -> bool:
    if number is not None:
        stored = _number(value)
        if stored is not None:
            return compare(stored, number)
    return compare(value, text)
