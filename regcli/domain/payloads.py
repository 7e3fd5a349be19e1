"""What a receiver gets: the event as JSON, a template filled in, or a message for Slack, and its signature.

Variables of a template are those of W&B's webhooks (`${alias}`, `${artifact_metadata.KEY}`, …) and all fields of the default
payload. Inside a JSON string a value is escaped; outside one it is written as JSON, so `{"n": ${artifact_metadata.n}}` works.
"""

from __future__ import annotations

from regcli.domain.events import EVENTS, event_type
from regcli.errors import UsageError
from regcli.model import REGISTRY_PREFIX, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Lookup = Callable[[str], Any]

MAX_TEMPLATE = 64 * 1024
_SENTENCES = {
    "version-created": "*{ref}* was logged",
    "linked": "*{ref}* was linked",
    "unlinked": "*{ref}* was unlinked",
    "version-deleted": "*{ref}* was deleted",
    "alias-added": "alias *{alias}* is now on *{ref}*",
    "alias-removed": "alias *{alias}* was taken from *{ref}*",
    "tag-added": "tag *{tag}* was added to *{ref}*",
    "tag-removed": "tag *{tag}* was removed from *{ref}*",
    "protection-changed": "alias *{alias}* is {now} protected in *{ref}*",
    "metric": "*{ref}* meets _{match}_",
}


def default_payload(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload of an automation without a template: every fact, and the event's name in W&B's words."""
    told = {key: value for key, value in facts.items() if key not in ("place", "depth")}
    return {"event_type": event_type(dict(facts)), **told}


def slack_payload(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message for an incoming webhook of Slack."""
    said = {key: _slack(facts.get(key)) for key in ("ref", "alias", "tag", "match", "previous", "user")}
    text = _SENTENCES[facts["event"]].format(**said, now="now" if facts.get("protected") else "no longer")
    moved = f" (it was on {said['previous']})" if facts.get("previous") else ""
    return {"text": f"{text}{moved} by {said['user']}"}


def _slack(text: Any) -> str:
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def variables(facts: Mapping[str, Any], secrets: Mapping[str, str], token: str | None) -> Lookup:
    """Return what looks up the variables of a template; what does not apply is blank."""
    registry = facts.get("registry")
    held = facts.get("alias") or facts.get("version")
    collection_ref = str(facts["ref"]).partition(":")[0]
    known = {
        "project_name": f"{REGISTRY_PREFIX}{registry}" if registry else facts.get("project"),
        "entity_name": facts.get("entity"),
        "event_type": event_type(dict(facts)),
        "event_author": facts.get("user"),
        "artifact_collection_name": facts.get("collection"),
        "artifact_version": f"wandb-artifact://_id/{facts['id']}" if facts.get("id") else None,
        "artifact_version_string": f"{collection_ref}:{held}" if held else collection_ref,
        "ACCESS_TOKEN": token,
        **secrets,
    }

    def look_up(name: str) -> Any:
        if name.startswith("artifact_metadata."):
            return (facts.get("metadata") or {}).get(name.partition(".")[2])
        value = known[name] if name in known else facts.get(name)
        return "" if value is None else value

    return look_up


def render(template: str, look_up: Lookup) -> str:
    """Fill in a template; `$${` stands for `${`."""
    import json

    pieces: list[str] = []
    at = 0
    inside = False
    while at < len(template):
        character = template[at]
        if template.startswith("$${", at):
            pieces.append("${")
            at += 3
            continue
        end = template.find("}", at) if template.startswith("${", at) else -1
        if end > 0:
            value = look_up(template[at + 2 : end].strip())
            if inside:
                text = value if isinstance(value, str) else json.dumps(value)
                pieces.append(json.dumps(text)[1:-1])
            else:
                pieces.append(json.dumps(value))
            at = end + 1
            continue
        if inside and character == "\\":
            pieces.append(template[at : at + 2])
            at += 2
            continue
        if character == '"':
            inside = not inside
        pieces.append(character)
        at += 1
    return "".join(pieces)


def check_template(template: str, secret_names: Sequence[str]) -> None:
    """Make sure that a template gives JSON, by filling it in with an example.

    Raises:
        UsageError: it does not, or is too large.
    """
    import json

    if len(template) > MAX_TEMPLATE:
        raise UsageError(f"the template is larger than {MAX_TEMPLATE} characters")
    try:
        json.loads(render(template, variables(example(), dict.fromkeys(secret_names, "secret"), "token")))
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"the template does not give JSON: {error}", hint='it is the whole body, such as {"text": "${alias} is on ${ref}"}'
        ) from None


def example(event: str = "alias-added") -> dict[str, Any]:
    """Return the facts of an event that never happened, for checking and testing."""
    if event not in EVENTS:
        raise UsageError(f"event {quote(event)} is unknown")
    facts: dict[str, Any] = {
        "event_id": "0" * 32, "event": event, "automation": "example", "time": "2026-01-01T00:00:00.000000Z",
        "user": "somebody", "host": "somewhere", "ref": "model/example:v1", "registry": "model", "entity": "local",
        "project": None,
        "collection": "example", "version": "v1", "alias": None, "previous": None, "tag": None, "type": "model",
        "id": "0" * 32, "digest": "0" * 32, "size": 1, "aliases": ["latest"], "tags": [], "metadata": {}, "metrics": {},
        "description": "", "source": "local/default/example:v1", "reason": None, "seq": 1, "match": None, "protected": None,
    }  # fmt: skip
    if event.startswith("alias") or event == "protection-changed":
        facts["alias"] = "example"
    if event.startswith("tag"):
        facts["tag"] = "example"
    return facts


def signature(secret: str, body: bytes) -> str:
    """Return the base64 of the HMAC-SHA256 of the body as it is sent, as W&B signs its webhooks."""
    import base64
    import hashlib
    import hmac

    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
