"""The statement about an alias that is signed: which version it names, of which collection of which root.

Canonical JSON: ASCII, compact, keys sorted. Every field below is in it (FORMAT.md 4.1).
"""

from __future__ import annotations

from regcli.errors import IntegrityError, SignatureRefusedError
from regcli.model import fold, is_unprintable
from regcli.store import jsontext
from regcli.store.trust import sha256_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Statement = dict[str, Any]

TYPE = "regcli-alias-v1"
SET = "set"
CLEAR = "clear"
# Seconds that a signature holds unless another time is asked for.
DEFAULT_LIFETIME = 90 * 86400
MAX_COUNTER = 1 << 53
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "type": str,
    "root": str,
    "collection": dict,
    "alias": str,
    "action": str,
    "version": (int, type(None)),
    "version_id": (str, type(None)),
    "source": (dict, type(None)),
    "digest": (str, type(None)),
    "manifest": (str, type(None)),
    "manifest_sha256": (str, type(None)),
    "files": (dict, type(None)),
    "counter": int,
    "previous": (str, type(None)),
    "settings_seq": int,
    "issued": str,
    "expires": str,
    "signer": str,
}


def encode_statement(statement: Statement) -> str:
    """Return the text that is signed."""
    return jsontext.dumps(_sorted(statement))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value


def about(record: dict[str, Any] | None, index: int | None) -> Statement:
    """Return the fields of a statement that say which version is meant; None for an alias that is cleared."""
    if record is None:
        return dict.fromkeys(("version", "version_id", "source", "digest", "manifest", "manifest_sha256"))
    source = record.get("source")
    return {
        "version": index,
        "version_id": record["id"],
        "source": None if source is None else {"place": source["place"], "version": source["version"]},
        "digest": record["digest"],
        "manifest": record["manifest"],
        "manifest_sha256": record["manifest_sha256"],
    }


class Signed:
    """A statement with its signature, as a commit holds them.

    Attributes:
        text: the statement as it was signed. signature: armored. statement: its fields, of the right types.
    """

    __slots__ = ("signature", "statement", "text")

    def __init__(self, text: str, signature: str, statement: Statement) -> None:
        """Bundle the parts."""
        self.text = text
        self.signature = signature
        self.statement = statement

    @property
    def sha256(self) -> str:
        """The hash that the next statement names."""
        return sha256_hex(self.text.encode())

    @property
    def counter(self) -> int:
        """The number of the statement among those about the alias."""
        counter: int = self.statement["counter"]
        return counter


def parse_signed(value: Any, what: str) -> Signed:
    """Check the form of what anybody may have written into a commit; nothing is believed yet.

    Raises:
        SignatureRefusedError: it is no statement with a signature.
    """
    text = value.get("statement") if isinstance(value, dict) else None
    signature = value.get("signature") if isinstance(value, dict) else None
    if not isinstance(text, str) or not isinstance(signature, str) or not text.isascii() or not signature.isascii():
        raise SignatureRefusedError(f"the signature of {what} is malformed")
    try:
        statement = jsontext.loads(text.encode(), f"the statement of {what}")
    except IntegrityError as error:
        raise SignatureRefusedError(error.message) from None
    if not _is_statement(statement) or encode_statement(statement) != text:
        raise SignatureRefusedError(f"the signed statement of {what} is malformed")
    return Signed(text, signature, statement)


def _is_statement(statement: Any) -> bool:
    if not isinstance(statement, dict) or statement.keys() != _FIELDS.keys() or statement["type"] != TYPE:
        return False
    for key, kind in _FIELDS.items():
        if not isinstance(statement[key], kind) or isinstance(statement[key], bool):
            return False
    collection = statement["collection"]
    signer = statement["signer"]
    return (
        collection.keys() == {"id", "place", "name"}
        and all(isinstance(part, str) for part in collection.values())
        and 0 < statement["counter"] < MAX_COUNTER
        and statement["action"] in (SET, CLEAR)
        and (statement["action"] == SET) == isinstance(statement["version"], int)
        and (statement["files"] is None or _are_files(statement["files"]))
        and (statement["action"] == CLEAR or statement["files"] is not None)
        and 0 < len(signer) <= 256
        and not any(c.isspace() or is_unprintable(c) for c in signer)
        and not signer.startswith("-")
    )


def _are_files(files: dict[str, Any]) -> bool:
    return (
        files.keys() == {"list", "blake3"}
        and isinstance(files["list"], str)
        and len(files["list"]) == 32
        and isinstance(files["blake3"], str)
        and len(files["blake3"]) == 64
        and frozenset("0123456789abcdef").issuperset(files["list"] + files["blake3"])
    )


def same_alias(statement: Statement, alias: str) -> bool:
    """Tell whether a statement is about an alias of this name."""
    return fold(statement["alias"]) == fold(alias)
