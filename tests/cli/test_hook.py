"""Git hooks in real repositories, run by git itself and by the pre-commit framework."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from regcli.cli.commands.hook import hook_script, parse_size
from regcli.errors import UsageError
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Result

    Invoke = Callable[..., Result]

PROJECT = Path(__file__).parents[2]
MIB = 1 << 20


class Repository:
    """A git repository in the working directory, with `regcli` on the PATH of its hooks."""

    def __init__(self, home: Path, work: Path, root: Path) -> None:
        self.path = work
        program = home / "bin" / "regcli"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m regcli "$@"\n')
        program.chmod(0o755)
        self.environment = {
            **clean_environment(home, root),
            "PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": "tester@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        self.git("init", "-q", "-b", "main")

    def run(self, *arguments: str, cwd: Path | None = None, code: int | None = 0) -> str:
        """Run a program and return what it printed; `code` None takes any exit code."""
        done = subprocess.run(
            arguments,
            cwd=cwd or self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        output = done.stdout + done.stderr
        assert code in (None, done.returncode), output
        return output

    def git(self, *arguments: str, code: int | None = 0) -> str:
        return self.run("git", *arguments, code=code)

    def commit(self, *paths: str, code: int | None = 0) -> str:
        self.git("add", "--", *paths)
        return self.git("commit", "-q", "-m", "change", code=code)


@pytest.fixture
def repository(home: Path, work: Path, root: Path, invoke: Invoke) -> Repository:
    return Repository(home, work, root)


def log(invoke: Invoke, work: Path, text: str) -> None:
    source = work.parent / "source"
    source.mkdir(exist_ok=True)
    (source / "a.txt").write_text(text)
    invoke("log", source, "-n", "zoo", "-t", "dataset").ok()
    invoke("link", "zoo", "model/zoo", "-a", "production").ok()


def damage(root: Path) -> None:
    """Change the stored content of the file, not its size."""
    for path in (root / "packs").rglob("*.pack"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"one", b"0ne"))


# Installing


def test_a_hook_is_installed_once_and_never_overwritten(repository: Repository, invoke: Invoke) -> None:
    first = invoke("hook", "install", "pre-commit", "post-merge", "--json").ok().json["hooks"]
    assert [item["installed"] for item in first] == [True, True]
    path = repository.path / ".git" / "hooks" / "pre-commit"
    assert os.access(path, os.X_OK)
    assert [item["installed"] for item in invoke("hook", "install", "pre-commit", "--json").ok().json["hooks"]] == [False]
    path.write_text("#!/bin/sh\necho mine\n")
    result = invoke("hook", "install", "pre-commit")
    assert result.code == 4
    assert 'regcli hook run pre-commit -- "$@"' in result.stderr
    assert path.read_text() == "#!/bin/sh\necho mine\n"


def test_a_dangling_link_is_a_hook_too(repository: Repository, invoke: Invoke) -> None:
    hooks = repository.path / ".git" / "hooks"
    (hooks / "pre-push").symlink_to("nowhere")
    assert invoke("hook", "install", "pre-push").code == 4
    assert not (hooks / "nowhere").exists()


@pytest.mark.parametrize("below", [False, True])
def test_core_hooks_path_is_respected(repository: Repository, invoke: Invoke, *, below: bool) -> None:
    repository.git("config", "core.hooksPath", "my hooks")
    directory = repository.path / "below"
    directory.mkdir()
    invoke("hook", "install", "pre-commit", cwd=directory if below else None).ok()
    assert sorted(os.listdir(repository.path / "my hooks")) == ["pre-commit"]
    assert "pre-commit" not in os.listdir(repository.path / ".git" / "hooks")


def test_outside_a_repository_the_error_says_so(invoke: Invoke) -> None:
    result = invoke("hook", "install", "pre-commit")
    assert result.code == 3
    assert "git init" in result.stderr


def test_an_unknown_hook_is_wrong_usage(repository: Repository, invoke: Invoke) -> None:
    assert invoke("hook", "install", "pre-receive").code == 2
    assert invoke("hook", "install", "pre-commit", "--max-size", "ten").code == 2
    assert repository.git("status", "--porcelain") == ""


def test_the_script_quotes_what_it_was_given() -> None:
    script = hook_script("pre-commit", ["--max-size", "10MiB"], "/a b/$(c)'d")
    assert "hook run pre-commit --max-size 10MiB --root '/a b/$(c)'\"'\"'d' -- \"$@\"" in script
    assert subprocess.run(["sh", "-n"], input=script, encoding="utf-8", check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10", 10 * MIB),
        ("10MiB", 10 * MIB),
        ("10M", 10_000_000),
        ("500KiB", 500 << 10),
        ("2GiB", 2 << 30),
        ("12b", 12),
        ("0", 0),
        ("1 MB", 1_000_000),
        ("1.5MiB", MIB * 3 // 2),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "ten", "-1", "10X", "KiB", "9" * 30])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


# pre-commit


def test_a_commit_with_a_good_lock_passes(repository: Repository, invoke: Invoke, work: Path) -> None:
    log(invoke, work, "one")
    invoke("lock", "model/zoo:production", "-o", "data").ok()
    invoke("hook", "install", "pre-commit").ok()
    repository.commit("regcli.lock")
    assert repository.git("log", "--oneline").count("\n") == 1


def test_a_lock_of_versions_that_do_not_exist_stops_the_commit(repository: Repository, invoke: Invoke, work: Path) -> None:
    log(invoke, work, "one")
    invoke("lock", "model/zoo:production").ok()
    lock = work / "regcli.lock"
    good = lock.read_text()
    (work / "deep").mkdir()
    (work / "deep" / "regcli.lock").write_text(good.replace("v0", "v7").replace("model/zoo", "model/other"))
    invoke("hook", "install", "pre-commit").ok()
    output = repository.commit("deep/regcli.lock", "regcli.lock", code=1)
    assert "deep/regcli.lock: " in output
    assert "model/other" in output
    # What counts is what is staged, not what lies around.
    (work / "deep" / "regcli.lock").write_text(good)
    repository.git("commit", "-q", "-m", "x", code=1)
    repository.commit("deep/regcli.lock")


def test_conflict_markers_stop_the_commit(repository: Repository, invoke: Invoke, work: Path) -> None:
    log(invoke, work, "one")
    invoke("hook", "install", "pre-commit").ok()
    (work / "regcli.lock").write_text("format = 1\n<<<<<<< HEAD\n")
    assert "merge conflict in line 2" in repository.commit("regcli.lock", code=1)


@pytest.mark.parametrize("first", [True, False])
def test_a_large_file_outside_the_registry_stops_the_commit(
    repository: Repository, invoke: Invoke, work: Path, *, first: bool
) -> None:
    if not first:
        (work / "README").write_text("x")
        repository.commit("README")
    invoke("hook", "install", "pre-commit", "--max-size", "1MiB").ok()
    (work / "모델 1.bin").write_bytes(os.urandom(MIB + 1))
    (work / "small.bin").write_bytes(os.urandom(MIB))
    output = repository.commit("모델 1.bin", "small.bin", code=1)
    assert "모델 1.bin: has 1.0 MB and is not in the registry" in output
    assert "small.bin" not in output
    invoke("log", "모델 1.bin", "-n", "model", "-t", "model").ok()
    repository.git("commit", "-q", "-m", "now it is")
    # It stays committed, so it is nobody's business any more.
    (work / "README").write_text("y")
    repository.commit("README")


def test_a_commit_of_one_file_is_about_that_file(repository: Repository, invoke: Invoke, work: Path) -> None:
    (work / "README").write_text("x")
    repository.commit("README")
    invoke("hook", "install", "pre-commit", "--max-size", "1").ok()
    (work / "big.bin").write_bytes(os.urandom(MIB + 1))
    repository.git("add", "big.bin")
    (work / "README").write_text("y")
    # git gives the hook another index (GIT_INDEX_FILE), in which the large file is not staged.
    repository.git("commit", "-q", "-m", "only this", "README")
    repository.git("commit", "-q", "-m", "the rest", code=1)


def test_links_renamings_and_deletions_are_no_large_files(repository: Repository, invoke: Invoke, work: Path) -> None:
    (work / "big.bin").write_bytes(os.urandom(MIB + 1))
    repository.commit("big.bin")
    invoke("hook", "install", "pre-commit", "--max-size", "0").ok()
    repository.git("mv", "big.bin", "renamed.bin")
    repository.git("commit", "-q", "-m", "the same under another name")
    (work / "renamed.bin").unlink()
    (work / "link").symlink_to("big.bin")
    repository.commit("renamed.bin", "link")


def test_a_name_that_is_no_text_is_told_in_one_piece(repository: Repository, invoke: Invoke, work: Path) -> None:
    (work / os.fsdecode(b"\xff\x1b[2J\n.bin")).write_bytes(os.urandom(MIB + 1))
    repository.git("add", ".")
    assert invoke("hook", "run", "large-files", "--max-size", "1").lines[0].startswith("\\udcff\\x1b[2J\\n.bin: has 1.0 MB")
    problems = invoke("hook", "run", "large-files", "--max-size", "1", "--json").json["problems"]
    assert [problem["kind"] for problem in problems] == ["large-file"]


# pre-push


def test_a_push_of_a_damaged_version_is_stopped(repository: Repository, invoke: Invoke, work: Path, root: Path) -> None:
    log(invoke, work, "one")
    invoke("lock", "model/zoo:production").ok()
    repository.run("git", "init", "-q", "--bare", "../remote")
    repository.git("remote", "add", "origin", "../remote")
    invoke("hook", "install", "pre-push", "pre-commit").ok()
    repository.commit("regcli.lock")
    repository.git("push", "-q", "origin", "main")
    damage(root)
    (work / "README").write_text("x")
    repository.commit("README")
    assert "regcli.lock: " in repository.git("push", "-q", "origin", "main", code=1)
    # Deleting a branch pushes no commit.
    repository.git("push", "-q", "origin", "HEAD~1:refs/heads/old", "--no-verify")
    repository.git("push", "-q", "origin", ":old")
    # Only what is pushed counts: this commit has no lock.
    repository.git("checkout", "-q", "--orphan", "other")
    repository.git("rm", "-q", "--cached", "regcli.lock")
    repository.git("commit", "-q", "-m", "no lock")
    repository.git("push", "-q", "origin", "other")


# post-checkout and post-merge


@pytest.fixture
def branches(repository: Repository, invoke: Invoke, work: Path) -> Repository:
    """Branch `main` locks v0 into `data`, branch `new` locks v1; the hooks are installed, `data` is ignored."""
    log(invoke, work, "one")
    invoke("lock", "model/zoo:production", "-o", "data").ok()
    (work / ".gitignore").write_text("data/\n")
    repository.commit("regcli.lock", ".gitignore")
    repository.git("checkout", "-q", "-b", "new")
    log(invoke, work, "two")
    invoke("lock", "--update").ok()
    repository.commit("regcli.lock")
    invoke("hook", "install", "post-checkout", "post-merge").ok()
    return repository


def test_checkout_and_merge_bring_the_locked_versions(branches: Repository, work: Path) -> None:
    data = work / "data" / "a.txt"
    branches.git("checkout", "-q", "main")
    assert data.read_text() == "one"
    branches.git("checkout", "-q", "new")
    assert data.read_text() == "two"
    branches.git("checkout", "-q", "main")
    # git does not care how this hook ends, so what it said is worth seeing.
    output = branches.git("merge", "-q", "new")
    assert data.read_text() == "two", output


def test_checkout_of_a_file_brings_nothing(branches: Repository, work: Path) -> None:
    branches.git("checkout", "-q", "--", ".gitignore")
    assert not (work / "data").exists()


def test_checkout_leaves_local_changes_alone_and_says_so(branches: Repository, work: Path) -> None:
    branches.git("checkout", "-q", "main")
    (work / "data" / "a.txt").write_text("edited by hand")
    output = branches.git("checkout", "-q", "new", code=None)
    assert "data/a.txt" in output
    assert "traceback" not in output.lower()
    assert (work / "data" / "a.txt").read_text() == "edited by hand"
    assert branches.git("branch", "--show-current") == "new\n"


def test_a_branch_without_lock_is_no_failure(branches: Repository) -> None:
    branches.git("checkout", "-q", "--orphan", "empty")
    branches.git("rm", "-q", "-f", "regcli.lock")
    branches.git("commit", "-q", "-m", "empty")
    branches.git("checkout", "-q", "-b", "another")


def test_a_lock_below_is_synced_where_it_lies(branches: Repository, invoke: Invoke, work: Path) -> None:
    below = work / "sub project"
    below.mkdir()
    invoke("lock", "zoo:v0", "-o", "files", cwd=below).ok()
    branches.commit("sub project/regcli.lock")
    branches.git("checkout", "-q", "-b", "another")
    assert (below / "files" / "a.txt").read_text() == "one"
    result = invoke("hook", "run", "sync", "--json").ok().json
    assert [(item["directory"], item["written"]) for item in result["synced"]] == [("data", 0), ("files", 0)]


def test_a_lock_beside_a_root_of_its_own_uses_that_root(repository: Repository, invoke: Invoke, home: Path, work: Path) -> None:
    del repository.environment["REGCLI_ROOT"]
    below = work / "below"
    below.mkdir()
    (work / ".gitignore").write_text(".regcli/\nfiles/\n")
    (below / "a.txt").write_text("mine")
    repository.run("regcli", "--root", ".regcli", "log", "a.txt", "-n", "own", "-t", "dataset", cwd=below)
    repository.run("regcli", "lock", "own", "-o", "files", cwd=below)
    repository.run("regcli", "hook", "install", "pre-commit", "post-checkout")
    repository.commit(".gitignore", "below/regcli.lock")
    repository.git("checkout", "-q", "-b", "another")
    assert (below / "files" / "a.txt").read_text() == "mine"
    assert not (home / ".local").exists()


def test_a_linked_work_tree_gets_the_locked_versions_too(branches: Repository, work: Path) -> None:
    branches.git("worktree", "add", "-q", "../second", "main")
    assert (work.parent / "second" / "data" / "a.txt").read_text() == "one"
    assert not (work / "data").exists()


# The pre-commit framework


@pytest.fixture
def framework(repository: Repository, home: Path) -> Repository:
    """A repository that uses `.pre-commit-hooks.yaml`, with the program on the PATH instead of a new environment."""
    hooks = home / "hooks"
    hooks.mkdir()
    manifest = (PROJECT / ".pre-commit-hooks.yaml").read_text()
    (hooks / ".pre-commit-hooks.yaml").write_text(manifest.replace("language: python", "language: system"))
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "hooks"]):
        repository.run("git", *arguments, cwd=hooks)
    revision = repository.run("git", "rev-parse", "HEAD", cwd=hooks).strip()
    ids = [line.split()[-1] for line in manifest.splitlines() if line.startswith("- id:")]
    assert ids == ["regcli-verify", "regcli-lock-check", "regcli-large-files", "regcli-sync"]
    listing = "".join(f"  - id: {name}\n" for name in ids)
    (repository.path / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {hooks}\n  rev: {revision}\n  hooks:\n{listing}".replace(
            "  - id: regcli-large-files\n", "  - id: regcli-large-files\n    args: [--max-size, 1MiB]\n"
        )
    )
    repository.environment["PRE_COMMIT_HOME"] = str(home / "cache")
    repository.commit(".pre-commit-config.yaml")
    return repository


def pre_commit(repository: Repository, *arguments: str, code: int | None = 0) -> str:
    program = shutil.which("pre-commit", path=str(Path(sys.executable).parent)) or "pre-commit"
    return repository.run(program, *arguments, code=code)


def test_the_manifest_is_valid(repository: Repository) -> None:
    pre_commit(repository, "validate-manifest", str(PROJECT / ".pre-commit-hooks.yaml"))


def test_the_framework_runs_the_hooks(framework: Repository, invoke: Invoke, work: Path) -> None:
    pre_commit(framework, "install", "--hook-type", "pre-commit", "--hook-type", "post-checkout")
    log(invoke, work, "one")
    invoke("lock", "model/zoo:production", "-o", "data").ok()
    framework.commit("regcli.lock")
    (work / "big.bin").write_bytes(os.urandom(MIB + 1))
    output = framework.commit("big.bin", code=1)
    assert "big.bin: has 1.0 MB and is not in the registry" in output
    framework.git("reset", "-q")
    framework.git("checkout", "-q", "-b", "other")
    assert (work / "data" / "a.txt").read_text() == "one"
    log(invoke, work, "two")
    assert "stale" in pre_commit(framework, "run", "--all-files", "regcli-lock-check", code=1)
    lock = work / "regcli.lock"
    lock.write_text(lock.read_text().replace("v0", "v9").replace("model/zoo", "model/nothing"))
    assert "model/nothing" in framework.commit("regcli.lock", code=1)


@pytest.mark.soak
def test_the_framework_installs_regcli_itself(framework: Repository, invoke: Invoke, home: Path, work: Path) -> None:
    log(invoke, work, "one")
    package = home / "package"
    shutil.copytree(
        PROJECT, package, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "tests"), symlinks=True
    )
    (package / "README.md").touch()
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "package"]):
        framework.run("git", *arguments, cwd=package)
    revision = framework.run("git", "rev-parse", "HEAD", cwd=package).strip()
    (work / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {package}\n  rev: {revision}\n  hooks:\n  - id: regcli-verify\n"
    )
    invoke("lock", "zoo").ok()
    framework.git("add", ".")
    for name, value in os.environ.items():
        if name.startswith(("PIP_", "UV_")):
            framework.environment[name] = value
    assert "Passed" in pre_commit(framework, "run", "--all-files")
