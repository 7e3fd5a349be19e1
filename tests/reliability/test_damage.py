"""Every file of a store damaged in every way: found and named, never delivered, healed where it is derived (T9)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.reliability.harness import (
    LONG,
    HangError,
    inside,
    inside_as_nobody,
    is_root,
    remove_tree,
    scaled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL = {"a.txt": b"alpha\n" * 50, "dir/b.bin": bytes(range(256)) * 8, "same.txt": b"alpha\n" * 50}
LARGE = {"large.bin": bytes(range(251)) * 5000}
# Enough that old records go from the head into pages.
MANY = 170
DIFFERENT = 12


def build(base: Path) -> Path:
    """Make a small root with every kind of file: 4 collections, packs and their index, large blobs, pages, markers."""
    root, work = base / "master", base / "in"
    for name, data in (*SMALL.items(), *LARGE.items()):
        path = work / ("small" if name in SMALL else "large") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (work / "other.txt").write_text("another version\n")
    (work / "later.txt").write_text("a later version\n")

    def do(*arguments: str) -> None:
        inside(*arguments, root=root, cwd=work).ok()

    do("log", "small", "-n", "zoo", "-t", "dataset", "-a", "first")
    do("log", "large", "-n", "big", "-t", "model", "--input", "zoo:v0", "--run", "train")
    do("log", "other.txt", "-n", "zoo", "-t", "dataset", "-a", "second")
    do("link", "zoo:v0", "model/zoo", "-a", "prod")
    do("link", "big:v0", "model/big", "-a", "prod")
    do("protect", "model", "prod")
    for number in range(MANY):
        # A dozen packs are merged into an index file; what is the same is stored once.
        (work / "many.txt").write_text(str(min(number, DIFFERENT)))
        do("log", "many.txt", "-n", "many", "-t", "dataset", "--new-version")
    do("tag", "add", "zoo:v0", "seen")
    return root


WANTED = {
    "zoo:first": SMALL,
    "model/zoo:prod": SMALL,
    "model/big:prod": LARGE,
    "zoo:second": {"other.txt": b"another version\n"},
    "many:v3": {"many.txt": b"3"},
    "many:latest": {"many.txt": str(DIFFERENT).encode()},
}
TRUTH = ("/log/", "/settings/", ".pack", "/blobs/", "regcli.toml")


def same_file(left: Path, right: Path) -> bool:
    return left.is_file() and not left.is_symlink() and left.read_bytes() == right.read_bytes()


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def is_truth(path: Path) -> bool:
    """Tell whether a file cannot be made again from others."""
    return any(part in f"/{path}" for part in TRUTH)


def flip(path: Path, where: float) -> None:
    data = bytearray(path.read_bytes() or b"x")
    position = min(int(len(data) * where), len(data) - 1)
    data[position] ^= 1 << (position % 8)
    replace(path, bytes(data))


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def swap(path: Path, other: Path) -> None:
    mine, theirs = path.read_bytes(), other.read_bytes()
    replace(path, theirs)
    replace(other, mine)


def become(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def neighbour(path: Path) -> Path | None:
    """Return a file of the same kind with other content, as something may swap them: near by, else anywhere in the root."""
    top = path
    while not (top / "regcli.toml").exists() and top != top.parent:
        top = top.parent
    same = [other for other in path.parent.iterdir() if other != path and other.is_file() and other.suffix == path.suffix]
    far = [other for other in sorted(top.rglob(f"*{path.suffix}")) if other != path and other.is_file()]
    far.sort(key=lambda other: (other.name != path.name, str(other)))
    candidates = sorted(same) + far if len(path.parent.name) == 2 else far
    data = path.read_bytes()
    kind = is_truth(path.relative_to(top))
    return next(
        (other for other in candidates if other.read_bytes() != data and is_truth(other.relative_to(top)) == kind), None
    )


def swap_with_neighbour(path: Path) -> None:
    other = neighbour(path)
    if other is None:
        replace(path, b"")
    else:
        swap(path, other)


def move_and_link(path: Path) -> None:
    path.symlink_to(path.rename(f"{path}.there"))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flip-first": lambda path: flip(path, 0),
    "flip-middle": lambda path: flip(path, 0.5),
    "flip-last": lambda path: flip(path, 1),
    "truncate": lambda path: replace(path, b""),
    "halve": lambda path: replace(path, path.read_bytes()[: path.stat().st_size // 2]),
    "append": lambda path: replace(path, path.read_bytes() + b"x"),
    "delete": lambda path: path.unlink(),
    "swap": swap_with_neighbour,
    "directory": lambda path: become(path, Path.mkdir),
    "link-away": lambda path: become(path, lambda gone: gone.symlink_to("/dev/zero")),
    "link-moved": move_and_link,
    "fifo": lambda path: become(path, os.mkfifo),
}
# Losing the newest commit of a log together with its head cannot be seen from inside; the head is kept here.


class Patient:
    """A copy of a root, of which one file is damaged at a time."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.master = build(base)
        self.root = base / "root"
        self.files = sorted(
            path.relative_to(self.master) for path in self.master.rglob("*") if path.is_file() and ".tmp-" not in path.name
        )

    def fresh(self) -> None:
        remove_tree(self.root)
        remove_tree(self.base / "out")
        # Files of a store are replaced, never written into, so that links to the master's are as good as copies.
        shutil.copytree(self.master, self.root, symlinks=True, copy_function=os.link)

    def run(self, *arguments: str) -> object:
        return inside(*arguments, root=self.root, cwd=self.base)

    def examine(self, file: Path, damage: Callable[[Path], None]) -> list[str]:
        """Damage one file; return everything that is wrong with how the program takes it."""
        self.fresh()
        damage(self.root / file)
        try:
            harmless = not is_truth(file)
            found = [*self._fetch(harmless=harmless), *self._verify(file)]
            if harmless:
                found += self._fetch(harmless=True)
            return [*found, *self._write()]
        except HangError as error:
            return [str(error)]

    def _write(self) -> list[str]:
        """Changes to a damaged store are made or refused; when the damage is mended, nothing is wrong."""
        found = []
        for arguments in (
            ["tag", "add", "zoo:first", "later"],
            ["log", "in/later.txt", "-n", "zoo", "-t", "dataset"],
            ["link", "zoo:first", "model/later"],
            ["alias", "add", "model/zoo:v0", "later"],
            ["protect", "model", "later"],
        ):
            done = inside(*arguments, root=self.root, cwd=self.base)
            if not done.is_clean:
                found.append(f"a change ended badly: {done}")
        for file in self.files:
            if is_truth(file) and not same_file(self.root / file, self.master / file):
                clear(self.root / file)
                os.link(self.master / file, self.root / file)
        for path in self.root.rglob("*.there"):
            path.unlink()
        verified = inside("verify", root=self.root, cwd=self.base)
        return [*found, f"a change made the damage lasting: {verified}"] if verified.code else found

    def _fetch(self, *, harmless: bool) -> list[str]:
        found = []
        for reference, files in WANTED.items():
            out = self.base / "out" / reference.replace("/", "-")
            remove_tree(out)
            done = inside("download", reference, "-o", str(out), root=self.root, cwd=self.base)
            if not done.is_clean or done.code not in (0, 3, 6, 8):
                found.append(f"download ended badly: {done}")
            if harmless and done.code:
                found.append(f"a derived file stands in the way: {done}")
            got = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
            found += [f"wrong bytes delivered: {reference} {name}" for name, data in got.items() if data != files.get(name)]
            if done.code == 0 and got.keys() != files.keys():
                found.append(f"success without all files: {reference}")
        return found

    def _verify(self, file: Path) -> list[str]:
        done = inside("verify", "--json", root=self.root, cwd=self.base)
        if not done.is_clean or done.code not in (0, 1, 6):
            return [f"verify ended badly: {done}"]
        if not is_truth(file):
            # Derived: written again, at the latest by this, and then all is well.
            again = inside("verify", root=self.root, cwd=self.base)
            return [f"a derived file did not heal: {again}"] if again.code else []
        if done.code == 0:
            return [f"verify found nothing: {done}"]
        text = done.stdout + done.stderr
        if file.suffix == ".pack" and not (self.root / file).exists():
            # What a pack held is known by those who miss it.
            return [] if '"kind": "missing"' in text else [f"verify does not say what is missing: {text[:2000]}"]
        return [] if names(text, file) else [f"verify does not name {file}: {text[:2000]}"]


def names(text: str, file: Path) -> bool:
    """Tell whether a report names the damaged file, or what was in it."""
    return str(file) in text or file.stem in text


def cases(patient: Patient) -> Iterator[tuple[Path, str]]:
    """Yield (file, damage): all of them in the long form, else every kind of file and every damage, evenly mixed."""
    everything = [(file, damage) for file in patient.files for damage in DAMAGES]
    if LONG:
        yield from everything
        return
    # Of the many commits of one collection a few are enough.
    few = [case for case in everything if "many/log" not in str(case[0]) or case[0].stem in ("0000000001", "0000000170")]
    count = scaled(32, 0)
    for index in range(count):
        yield few[(index * len(few)) // count + index % 3 if index < count - 3 else index * len(few) // count]


def test_damage_is_found_named_and_never_delivered(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    kinds = {file.suffix for file in patient.files}
    assert {".json", ".pack", ".toml", ".lock", ""} <= kinds
    wrong = []
    count = 0
    for file, damage in cases(patient):
        count += 1
        found = patient.examine(file, DAMAGES[damage])
        if found:
            wrong.append(f"{damage} {file}\n  " + "\n  ".join(found))
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)


def test_files_that_cannot_be_read_are_named(open_path: Path) -> None:
    patient = Patient(open_path)
    patient.fresh()
    # Root may read everything: an ordinary user looks.
    look = inside_as_nobody if is_root() else inside
    inside("verify", "--json", root=patient.root, cwd="/").ok()
    look("verify", "--json", root=patient.root, cwd="/").ok()
    for file in patient.files:
        if not is_truth(file) or ("many/log" in str(file) and file.stem != "0000000001"):
            continue
        path = patient.root / file
        mode = path.stat().st_mode
        path.chmod(0)
        done = look("verify", "--json", root=patient.root, cwd="/")
        path.chmod(mode)
        assert done.is_clean, done
        assert done.code in (1, 6, 8), done
        assert names(done.stdout + done.stderr, file), done


def only_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the store: content is checked by its size alone."""
    from regcli.store import check

    check_content = check.check_content
    monkeypatch.setattr(check, "check_content", lambda content, **more: check_content(content, **{**more, "quick": True}))


def believe_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the store: derived files are not proven."""
    from regcli.store import jsontext

    monkeypatch.setattr(jsontext, "unseal", jsontext.loads_trusted)


def believe_foreign_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the store: a head is taken whatever it is about."""
    from regcli.store import chain, files, jsontext

    read_head = chain.Chain._read_head

    def lax(self: chain.Chain) -> chain.Snapshot | None:
        place = self.place
        try:
            self.place = (jsontext.unseal(files.read_document(f"{self.base}/head.json")) or {}).get("place", place)
            return read_head(self)
        except OSError:
            return None
        finally:
            self.place = place

    monkeypatch.setattr(chain.Chain, "_read_head", lax)


@pytest.mark.parametrize(
    ("break_it", "kind", "damage"),
    [
        (only_size, ".pack", "flip-middle"),
        (believe_heads, "head.json", "flip-middle"),
        (believe_foreign_heads, "head.json", "swap"),
    ],
)
def test_what_is_not_checked_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None], kind: str, damage: str
) -> None:
    monkeypatch.setattr("tests.reliability.test_damage.MANY", 1)
    monkeypatch.delitem(WANTED, "many:v3")
    monkeypatch.delitem(WANTED, "many:latest")
    patient = Patient(tmp_path)
    break_it(monkeypatch)
    files = [file for file in patient.files if str(file).endswith(kind)]
    assert any(patient.examine(file, DAMAGES[damage]) for file in files)


@pytest.mark.parametrize("hidden", ["marker", "log"])
def test_what_a_damaged_link_may_forbid_is_not_done(tmp_path: Path, hidden: str) -> None:
    """A protected link keeps its source. Damage that hides the link must not open the way to deleting or changing it."""
    root = tmp_path / "root"
    (tmp_path / "file.txt").write_text("content")

    def do(*arguments: str) -> int:
        return inside(*arguments, root=root, cwd=tmp_path).code

    assert do("log", "file.txt", "-n", "zoo", "-t", "dataset") == 0
    assert do("link", "zoo", "model/zoo", "-a", "prod") == 0
    assert do("protect", "model", "prod") == 0
    assert do("delete", "zoo:v0", "--force") == 5
    if hidden == "marker":
        (path,) = (root / "backrefs").rglob("link-*.json")
        replace(path, b"")
    else:
        replace(root / "registries/model/collections/zoo/log/0000000001.json", b"")
        (root / "registries/model/collections/zoo/head.json").unlink()
    assert do("delete", "zoo:v0", "--force") == 6
    assert do("resolve", "zoo:v0") == 0
    if hidden == "marker":
        assert do("verify") == 0, "a marker is derived: it is written again"
        assert do("delete", "zoo:v0", "--force") == 5
