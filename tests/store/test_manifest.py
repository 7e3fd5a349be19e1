from __future__ import annotations

import hashlib
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regcli.errors import IntegrityError, UsageError
from regcli.store import manifest as manifests
from regcli.store.manifest import (
    EXECUTABLE,
    REFERENCE,
    Decoder,
    InvalidPathError,
    decode_manifest,
    encode_manifest,
    manifest_digest,
    normalize_path,
    plain_digests,
)
from tests.store.content_cases import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from regcli.store.manifest import Entry


def entry(path: str, text: str, algorithm: str = "XXH128") -> Entry:
    data = text.encode()
    extra = {"md5": hashlib.md5(data).hexdigest()} if algorithm == "MD5" else None
    return (path, digest_of(data), len(data), 0, extra)


# W&B's own vectors: semantics.md H-09 to H-12.
THREE = [("file1.txt", "hello"), ("nest/file2.txt", "my"), ("nest/nest/file3.txt", "dude")]


@pytest.mark.parametrize(
    ("files", "algorithm", "expected"),
    [
        ([], "XXH128", "f13c5dd8602ab5d18a0c87ce730a735e"),
        ([("file1.txt", "hello")], "XXH128", "fe0d6c1a25b6d98451da9b04ebf6d80c"),
        ([], "MD5", "64e7c61456b10382e2f3b571ac24b659"),
        ([("file1.txt", "hello")], "MD5", "a00c2239f036fb656c1dcbf9a32d89b4"),
        ([("great-file.txt", "hello")], "MD5", "585b9ada17797e37c9cbab391e69b8c5"),
        ([("subdir/file1.txt", "hello")], "MD5", "a757208d042e8627b2970d72a71bed5b"),
        (THREE, "MD5", "72414374bfd4b0f60a116e7267845f71"),
        ([(f"top/{path}", text) for path, text in THREE], "MD5", "f718baf2d4c910dc6ccd0d9c586fa00f"),
    ],
)
def test_manifest_digest_is_wandbs(files: list[tuple[str, str]], algorithm: str, expected: str) -> None:
    entries = [entry(path, text, algorithm) for path, text in files]
    assert manifest_digest(entries, algorithm) == expected
    assert manifest_digest(reversed(entries), algorithm) == expected


@pytest.mark.parametrize(
    ("path", "digest", "expected"),
    [
        ("file1.txt", "abc", "48237ccc050a88af9dcd869dd5a7e9f4"),
        ("ref", "ref://example.com/somefile.txt", "410ade94865e89ebe1f593f4379ac228"),
    ],
)
def test_manifest_digest_of_references_uses_the_recorded_digest(path: str, digest: str, expected: str) -> None:
    assert manifest_digest([(path, digest, 0, REFERENCE, {"ref": "x://y"})], "MD5") == expected


SAMPLE: list[Entry] = [
    ("a b", digest_of(b""), 0, 0, None),
    ("line\nbreak\t\x1b[31m", digest_of(b"1"), 1, 0, None),
    ('q"uo\\te', digest_of(b"2"), 1, EXECUTABLE, None),
    ("weights/raw.bin", '"9d2f"', 12, REFERENCE, {"ref": "s3://bucket/raw.bin", "etag": '"9d2f"'}),
    ("모델/가중치", digest_of(b"3"), (1 << 63) - 1, 0, None),
    ("\U0001f600", digest_of(b"4"), 1, 0, None),
]


def test_manifest_round_trips_and_is_deterministic() -> None:
    data = encode_manifest(SAMPLE)
    assert encode_manifest(reversed(SAMPLE)) == data
    algorithm, entries = decode_manifest(data, "manifest")
    assert algorithm == "XXH128"
    assert entries == sorted(SAMPLE)
    assert data.isascii()
    assert data.count(b"\n") == 1 + len(SAMPLE)


def test_manifest_keeps_md5() -> None:
    entries = [entry("x", "hello", "MD5")]
    assert decode_manifest(encode_manifest(entries, "MD5"), "m") == ("MD5", entries)


def test_empty_manifest_round_trips() -> None:
    assert decode_manifest(encode_manifest([]), "m") == ("XXH128", [])


ZERO = digest_of(b"")
HEADER = '{"format":1,"algorithm":"XXH128","entries":%d}\n'


def manifest(*lines: str, entries: int | None = None) -> bytes:
    return (HEADER % (len(lines) if entries is None else entries) + "".join(f"{line}\n" for line in lines)).encode()


def line(path: str, digest: str = ZERO, size: str = "0", flags: str = "0", rest: str = "") -> str:
    return f'["{path}","{digest}",{size},{flags}{rest}]'


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "../x",
        "x/../y",
        "x/..",
        "/etc/passwd",
        "//x",
        "x//y",
        "x/",
        "./x",
        "x/./y",
        "C:x",
        "c:/x",
        "C:\\\\x",
        "\\\\\\\\server\\\\share",
        "\\\\x",
        "..\\\\x",
        "x\\\\..\\\\y",
        "a\\u0000b",
        "\\ud800",
        "ok/\\udcff",
    ],
)
def test_hostile_paths_in_a_manifest_are_refused(path: str) -> None:
    with pytest.raises(IntegrityError):
        decode_manifest(manifest(line(path)), "m")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"[]\n",
        b"null\n",
        b'{"format":2,"algorithm":"XXH128","entries":0}\n',
        b'{"format":1,"algorithm":"SHA1","entries":0}\n',
        b'{"format":1,"algorithm":["XXH128"],"entries":0}\n',
        b'{"format":1,"format":1,"algorithm":"XXH128","entries":0}\n',
        b'{"format":1,"algorithm":"XXH128","entries":0}',
        manifest(line("a"), entries=2),
        manifest(line("a"), line("a")),
        manifest(line("b"), line("a")),
        manifest(line("a"), line("a/b")),
        manifest(line("a"), line("a-b"), line("a/b/c")),
        manifest(line("a", digest="0" * 31)),
        manifest(line("a", digest="0" * 31 + "G")),
        manifest(line("a", digest="A" * 32)),
        manifest(line("a", digest="\u0660" * 32)),
        manifest(line("a", size="-1")),
        manifest(line("a", size=str(1 << 63))),
        manifest(line("a", size="1e3")),
        manifest(line("a", size="true")),
        manifest(line("a", size="9" * 5000)),
        manifest(line("a", size='"1"')),
        manifest(line("a", flags="3")),
        manifest(line("a", flags="true")),
        manifest(line("a", flags="2")),
        manifest(line("a", flags="2", rest=',{"ref":1}')),
        manifest(line("a", digest="x\\ny", flags="2", rest=',{"ref":"s3://x"}')),
        manifest(line("a", rest=",[]")),
        manifest(line("a", rest=',{"md5":"zz"}')),
        manifest(line("a", rest=",{},{}")),
        manifest('["a"]'),
        manifest("[]"),
        manifest("1"),
        manifest(line("a") + "," + line("b")),
        manifest('["a', 'b","' + ZERO + '",0,0]', entries=1),
        manifest("[" * 100_000),
        manifest(line("a", rest="," + '{"x":' * 5000 + "1" + "}" * 5000)),
        manifest(line("a", size="NaN")),
        manifest(line("a")) + b"\xff\n",
        manifest(line("a"))[:-1],
        manifest(line("a"), "", entries=1),
        b'{"format":1,"algorithm":"MD5","entries":1}\n' + line("a").encode() + b"\n",
    ],
)
def test_malformed_manifests_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="manifest-7"):
        decode_manifest(data, "manifest-7")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("./x//y", "x/y"),
        ("x/", "x"),
        ("x/./y", "x/y"),
        ("a\\b", "a\\b"),
        ("...", "..."),
        ("x/..y", "x/..y"),
        ("x\ny", "x\ny"),
        ("CON", "CON"),
        ("x/C:/y", "x/C:/y"),
        ("모델", "모델"),
        (PureWindowsPath("a\\b"), "a/b"),
    ],
)
def test_artifact_paths_are_normalized(path: str, expected: str) -> None:
    assert normalize_path(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "./",
        "/",
        "/x",
        "//x",
        "..",
        "x/..",
        "x/../y",
        "C:",
        "C:\\x",
        "c:x",
        "./C:x",
        "\\\\h\\s",
        "\\x",
        "..\\x",
        "x\\..\\..\\y",
        "a\0b",
        "\udcff",
    ],
)
def test_paths_that_leave_the_artifact_are_refused(path: str) -> None:
    with pytest.raises(InvalidPathError) as caught:
        normalize_path(path)
    assert caught.value.kind == "invalid-path"
    assert caught.value.exit_code == 2


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0\\:"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(names, min_size=1, max_size=3).map("/".join), unique=True, max_size=12))
def test_any_legal_names_round_trip(paths: list[str]) -> None:
    taken = set(paths)
    kept = [path for path in paths if not any(other.startswith(f"{path}/") for other in taken)]
    entries: list[Entry] = [(path, digest_of(path.encode()), number, 0, None) for number, path in enumerate(kept)]
    assert decode_manifest(encode_manifest(entries), "m")[1] == sorted(entries)
    assert [normalize_path(path) for path in kept] == kept


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=60), st.integers(0, 300))
def test_damaged_manifests_never_raise_anything_else(noise: bytes, at: int) -> None:
    data = encode_manifest(SAMPLE)
    damaged = data[:at] + noise + data[at + len(noise) :]
    try:
        decode_manifest(damaged, "m")
    except IntegrityError:
        pass


digests = st.sampled_from([digest_of(text) for text in (b"a", b"b", b"c")])
listings = st.dictionaries(names, digests, max_size=8)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(listings, st.booleans(), st.sampled_from(["XXH128", "MD5"])), min_size=2, max_size=6))
def test_manifests_decoded_one_after_the_other_are_what_each_is_alone(versions: list[tuple[dict[str, str], bool, str]]) -> None:
    decoder = Decoder()
    base: dict[str, str] = {}
    for changes, is_odd, algorithm in versions:
        base = {**base, **changes}
        md5 = {"md5": hashlib.md5(b"", usedforsecurity=False).hexdigest()} if algorithm == "MD5" else None
        data = encode_manifest([(path, digest, 1, 0, md5) for path, digest in base.items()], algorithm)
        if is_odd:
            # Somebody else may put spaces between things.
            data = data.replace(b",1,0", b", 1,0")
        assert decoder.decode(data, "x") == decode_manifest(data, "x")[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [lines[0], *lines],
        lambda lines: [*lines[:-1], lines[-1][:-3]],
        lambda lines: [*lines[:-1], lines[-1].replace(b'"z', b'"../z')],
        lambda lines: [*lines[:-1], lines[-1].replace(b'"z', b'"a/z')],
        lambda lines: [*lines[:-1], lines[-1].replace(b'"z', b'"a"]')],
        lambda lines: [*lines[:-1], lines[-1] + b"," + lines[-1]],
        lambda lines: [*lines[:-1], b""],
        lambda lines: lines[:-1],
    ],
)
def test_what_is_wrong_with_a_manifest_is_found_after_a_good_one_too(change: Callable[[list[bytes]], list[bytes]]) -> None:
    entries = [entry(name, name) for name in "abcdefz"]
    good = encode_manifest(entries)
    decoder = Decoder()
    assert decoder.decode(good, "x") == entries
    assert decoder.decode(good, "x") == entries
    header, *lines = good.split(b"\n")[:-1]
    bad = b"\n".join([header, *change(lines), b""])
    with pytest.raises(IntegrityError) as alone:
        decode_manifest(bad, "x")
    with pytest.raises(IntegrityError) as after:
        decoder.decode(bad, "x")
    assert str(after.value) == str(alone.value)
    assert decoder.decode(good, "x") == entries


@pytest.mark.parametrize(
    "path",
    ["a", "b c", "deep/d", 'quo"te', "back\\slash", 'comma","x', "line\nbreak", "é", "\x7f", '","' + "0" * 32 + '",1,0]'],
)
@pytest.mark.parametrize("extra", [None, {"object": {"kind": "table"}}])
def test_digests_without_decoding_are_right_or_left_to_decoding(path: str, extra: dict[str, object] | None) -> None:
    entries: list[Entry] = [(path, digest_of(path.encode()), 1, 0, extra), ("z", digest_of(b"z"), 1, EXECUTABLE, None)]
    found = plain_digests(encode_manifest(entries))
    assert found in (None, {bytes.fromhex(item[1]) for item in entries})
    assert (found is not None) == (extra is None and '"' not in path)


def test_no_manifest_is_written_that_could_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry(f"file-{number}", "x") for number in range(1000)]
    size = len(encode_manifest(entries))
    # A gigabyte takes too long to make.
    monkeypatch.setattr(manifests, "MAX_MANIFEST", size)
    assert decode_manifest(encode_manifest(entries), "x")[1] == sorted(entries)
    monkeypatch.setattr(manifests, "MAX_MANIFEST", size - 1)
    with pytest.raises(UsageError, match="the list of 1000 files takes more"):
        encode_manifest(entries)


def test_digests_of_what_is_no_manifest_are_not_guessed() -> None:
    data = encode_manifest([entry("a", "a"), entry("b", "b")])
    assert plain_digests(data) is not None
    for broken in (data[:-10], data.replace(b'"a"', b"a"), data + b'"', b"", b"\n", data.replace(b'",', b'g",', 1)):
        assert not plain_digests(broken) or plain_digests(broken) == plain_digests(data)
