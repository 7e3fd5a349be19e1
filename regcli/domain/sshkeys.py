"""SSH keys: `ssh-keygen -Y` signs and checks, so that agents, hardware keys and certificates work as everywhere.

The program is the user's own `ssh-keygen`, found by the user's PATH; nothing that lies in a root is ever run.
"""

from __future__ import annotations

import os

from regcli.errors import SignatureRefusedError, UsageError, reason_of
from regcli.model import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from regcli.domain.trust import Trust

NAMESPACE = "regcli-alias-v1"
PROGRAM = "ssh-keygen"
# Both fit into a pipe, so that they can be handed over before the program runs.
MAX_STATEMENT = 16 << 10
MAX_SIGNATURE = 16 << 10
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")


def check_signature(signers_path: str, principal: str, text: bytes, signature: bytes, revoked_path: str | None) -> str | None:
    """Return why a signature is not one of `principal` over `text`, or None when it is.

    Args:
        signers_path: the list of allowed signers.
        principal: who must have signed.
        text: what was signed.
        signature: armored.
        revoked_path: keys that are believed no more, or None.

    Raises:
        SignatureRefusedError: it cannot be checked here.
    """
    if len(text) > MAX_STATEMENT or len(signature) > MAX_SIGNATURE:
        return "it is too large"
    command = [PROGRAM, "-Y", "verify", "-f", signers_path, "-I", principal, "-n", NAMESPACE]
    revoking = [] if revoked_path is None else ["-r", revoked_path]
    try:
        code, output = _run_check([*command, *revoking], text, signature)
        # The program does not tell a key that is revoked from one that is not listed.
        if code != 0 and revoking and _run_check(command, text, signature)[0] == 0:
            return f"its key is revoked by {revoked_path}, or that file is no list of keys"
    except OSError as error:
        # Whether it is valid nobody knows.
        raise SignatureRefusedError(
            f"no signature can be checked: {PROGRAM} cannot be run: {reason_of(error)}", hint="install OpenSSH"
        ) from None
    if code == 0:
        return None
    return _reason(output)


def _reason(output: bytes) -> str:
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Could not verify signature")]
    shown = "".join(c if c.isprintable() else "?" for c in (lines[-1] if lines else ""))
    return shown[:200] or "no key that is listed for this name made it"


def _run_check(command: list[str], text: bytes, signature: bytes) -> tuple[int, bytes]:
    """Run the check; importing `subprocess` would take longer than the check itself."""
    if not hasattr(os, "posix_spawnp"):
        return _run_check_portably(command, text, signature)
    opened: list[int] = []

    def pipe(data: bytes) -> int:
        read, write = os.pipe()
        opened.extend((read, write))
        os.write(write, data)
        os.close(write)
        opened.remove(write)
        return read

    try:
        message, armored = pipe(text), pipe(signature)
        answer, output = os.pipe()
        opened.extend((answer, output))
        # As `-s` for the file: the pipe's own number, which the child has too.
        os.set_inheritable(armored, True)  # noqa: FBT003 - it takes no keyword
        actions = [
            (os.POSIX_SPAWN_DUP2, message, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ]
        child = os.posix_spawnp(PROGRAM, [*command, "-s", f"/dev/fd/{armored}"], {"LC_ALL": "C"}, file_actions=actions)
        os.close(output)
        opened.remove(output)
        collected = b""
        while part := os.read(answer, 4096):
            collected += part
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), collected
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _run_check_portably(command: list[str], text: bytes, signature: bytes) -> tuple[int, bytes]:
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="regcli-") as directory:
        path = os.path.join(directory, "signature")
        with open(path, "wb") as stream:
            stream.write(signature)
        done = subprocess.run([*command, "-s", path], input=text, capture_output=True, check=False)
    return done.returncode, done.stdout + done.stderr


class SigningKey:
    """A key to sign with.

    Attributes:
        path: the private key, or a public key whose private one an agent has; None for a key of which only `public` is known.
        public: type and base64, as in a `.pub` file.
    """

    __slots__ = ("path", "public")

    def __init__(self, path: str | None, public: str) -> None:
        """Bundle both."""
        self.path = path
        self.public = public


def sign(key: SigningKey, text: bytes) -> str:
    """Return the armored signature of `text`; the program may ask for a passphrase or a touch.

    Raises:
        SignatureRefusedError: it did not sign.
    """
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="regcli-") as directory:
        path = key.path
        if path is None:
            path = os.path.join(directory, "key.pub")
            with open(path, "w", encoding="ascii") as stream:
                stream.write(key.public + "\n")
        # A hardware key asks for its touch on standard error; otherwise what is said there becomes part of our own message.
        stderr = None if key.public.startswith("sk-") else subprocess.PIPE
        try:
            done = subprocess.run(
                [PROGRAM, "-q", "-Y", "sign", "-n", NAMESPACE, "-f", path], input=text, stdout=subprocess.PIPE, stderr=stderr,
                check=False,
            )  # fmt: skip
        except OSError as error:
            raise SignatureRefusedError(
                f"cannot sign: {PROGRAM} cannot be run: {reason_of(error)}", hint="install OpenSSH"
            ) from None
    if done.returncode != 0 or b"BEGIN SSH SIGNATURE" not in done.stdout:
        if key.path is None:
            # What the program says of it names our temporary file.
            raise SignatureRefusedError(
                f"cannot sign with the key {fingerprint(key.public)}: the SSH agent did not do it",
                hint="`ssh-add -l` lists the agent's keys; `ssh-add FILE` gives it one",
            )
        raise SignatureRefusedError(f"cannot sign with {quote(key.path)}: {_reason(done.stderr or b'')}")
    return done.stdout.decode("ascii")


def find_key(trust: Trust) -> SigningKey:
    """Return the key to sign with: the one that was named, git's `user.signingkey`, or the agent's first that is trusted.

    Raises:
        SignatureRefusedError: there is none. UsageError: the named file is no key.
    """
    if trust.sign_key is not None:
        return _key_of(trust.sign_key)
    named = _git_key()
    if named is not None:
        return named
    from regcli.domain.signers import find_principal

    offered = _agent_keys()
    for public in offered:
        if find_principal(trust, public) is not None:
            return SigningKey(None, public)
    have = f"none of the agent's {len(offered)} keys is a trusted signer's" if offered else "there is no key to sign with"
    raise SignatureRefusedError(
        f"a signature is needed, but {have}", hint="name one with --sign-key FILE, or list yours with `regcli trust add`"
    )


def _key_of(path: str) -> SigningKey:
    path = os.path.expanduser(path)
    for candidate in (path, f"{path}.pub"):
        public = read_public(candidate)
        if public is not None:
            return SigningKey(path, public)
    if not os.path.exists(path):
        raise UsageError(f"there is no key {path}", hint="name a private key's file, or a public one whose key an agent has")
    code, output = _ask([PROGRAM, "-y", "-f", path])
    public = parse_public(output) if code == 0 else None
    if public is None:
        raise UsageError(f"{path} is not an SSH key that can be used")
    return SigningKey(path, public)


def read_public(path: str) -> str | None:
    """Return type and base64 of the public key in a file, or None when it holds none."""
    try:
        with open(path, "rb") as stream:
            text = stream.read(1 << 16).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return parse_public(text)


def parse_public(text: str) -> str | None:
    """Return `TYPE BASE64` of a public key's line, or None when it is none."""
    import binascii

    words = text.split()
    if len(words) < 2 or not words[0].startswith(_KEY_TYPES):
        return None
    try:
        data = binascii.a2b_base64(words[1], strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    name = words[0].encode()
    # The key's bytes begin with the length and the name of their type.
    if data[:4] != len(name).to_bytes(4, "big") or data[4 : 4 + len(name)] != name:
        return None
    return f"{words[0]} {words[1]}"


def fingerprint(public: str) -> str:
    """Return a public key's fingerprint as `ssh-keygen -l` shows it."""
    import binascii
    from hashlib import sha256

    digest = sha256(binascii.a2b_base64(public.split()[1])).digest()
    return f"SHA256:{binascii.b2a_base64(digest, newline=False).decode().rstrip('=')}"


def _git_key() -> SigningKey | None:
    """Return git's `user.signingkey` where git signs with SSH keys."""
    if _ask(["git", "config", "--get", "gpg.format"])[1].strip() != "ssh":
        return None
    value = _ask(["git", "config", "--get", "user.signingkey"])[1].strip()
    if not value:
        return None
    public = parse_public(value.removeprefix("key::"))
    return SigningKey(None, public) if public is not None else _key_of(value)


def _agent_keys() -> list[str]:
    code, output = _ask(["ssh-add", "-L"])
    if code != 0:
        return []
    return [public for line in output.splitlines() if (public := parse_public(line)) is not None]


def _ask(command: list[str]) -> tuple[int, str]:
    """Return exit code and output of one of the user's own programs; what it says otherwise is of no interest."""
    import subprocess

    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return 127, ""
    return done.returncode, done.stdout.decode("utf-8", "replace")
