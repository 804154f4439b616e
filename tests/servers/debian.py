"""Programs out of Debian's archive, for any release of it, unpacked into a folder beside the system.

Owns the walk from the machine's own list of apt sources to a program that runs: the source with its release replaced,
the package with the libraries that it needs, all unpacked into one folder, and the loader among them. Needs no root,
installs nothing, and changes nothing outside its folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SOURCES: Final = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))
TOOLS: Final = ("apt-get", "apt-cache", "dpkg")

#: Seconds that one command may take: an archive's index has some ten MB.
PATIENCE: Final = 300

#: Suites of Debian itself, by release or by role; not those of its side archives ("bookworm-security").
_MAIN: Final = re.compile(r"[a-z]+")

_NEEDED: Final = {"Types", "URIs", "Suites", "Components"}


class Unavailable(Exception):
    """It cannot be had here; the message says why and what to do."""


class NotDebian(Unavailable):
    """This machine has no apt, or one without a source of Debian: no other release of it can be had here."""


class Unreachable(Unavailable):
    """The archive does not answer, or does not have what was asked for."""


def provide(package: str, suite: str, program: Path, scratch: Path) -> None:
    """Make `program` run the server in Debian's `package` of the release `suite`."""
    root = program.parent / "root"
    program.unlink(missing_ok=True)
    unpack(package, suite, root, scratch)
    _launcher(root, package, program)


def unpack(package: str, suite: str, root: Path, scratch: Path) -> None:
    """Unpack `package` of the release `suite` and what it needs to run into `root`, which is emptied before."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise NotDebian(f"there is no {' and no '.join(missing)} here: this way needs Debian")
    archive = Archive(suite, scratch / suite)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for file in archive.download(package):
        _run("dpkg", "-x", str(file), str(root))


def loader_of(root: Path) -> tuple[Path, list[Path]] | None:
    """Return the loader that was unpacked into `root` and the folders of its libraries."""
    loader = next(iter(sorted(root.rglob("ld-linux*.so.*"))), None)
    library = next(iter(sorted(root.rglob("libc.so.6"))), None)
    if loader is None or library is None:
        return None
    return loader, [root / "lib" / library.parent.name, root / "usr" / "lib" / library.parent.name]


class Archive:
    """One release of Debian, as seen from the sources of this machine; its indexes lie in a folder of their own."""

    def __init__(self, suite: str, folder: Path) -> None:
        self._folder = folder
        for name in ("sources", "lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()  # nothing is installed
        (folder / "sources" / "matrix.sources").write_text(source_of(suite))
        self._options = [
            "-oDir::Etc::SourceList=/dev/null",
            f"-oDir::Etc::SourceParts={folder / 'sources'}",
            "-oDir::Etc::Preferences=/dev/null",
            "-oDir::Etc::PreferencesParts=/dev/null",
            f"-oDir::State={folder}",
            f"-oDir::State::Lists={folder / 'lists'}",
            f"-oDir::State::Status={folder / 'status'}",
            f"-oDir::Cache={folder / 'cache'}",
            "-oAPT::Sandbox::User=root",  # else apt complains that its own user cannot read the folder
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
            "-oAPT::Update::Error-Mode=any",  # else an index that was not fetched is a warning
        ]
        if not any((folder / "lists").glob("*_Packages*")):
            self._ask("apt-get", "-qq", "update")

    def download(self, package: str) -> list[Path]:
        """Return the files of `package`, its tools and its libraries, and the parts of Python that it is made of."""
        names = [package, *self._libraries(package)]
        folder = self._folder / package
        folder.mkdir(exist_ok=True)
        self._ask("apt-get", "-qq", "download", *names, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def _ask(self, tool: str, *words: str, cwd: Path | None = None) -> str:
        try:
            return _run(tool, *self._options, *words, cwd=cwd)
        except Unavailable as error:
            raise Unreachable(str(error)) from None

    def _libraries(self, package: str) -> list[str]:
        only = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        options = [f"--no-{kind}" for kind in only]
        text = self._ask("apt-cache", "depends", "--recurse", *options, package)
        needs: dict[str, list[str]] = {}
        for name, needed in _edges(text):
            needs.setdefault(name, []).append(needed)
        found, ahead = set[str](), [package]
        while ahead:
            for name in needs.get(ahead.pop(), []):
                # The rest is for installing: accounts, services, documentation.
                if name not in found and re.match(r"lib|zlib|python3|.*-tools$", name):
                    found.add(name)
                    ahead.append(name)
        return sorted(found)


def source_of(suite: str) -> str:
    """Return this machine's source of Debian with the release replaced by `suite`."""
    for types, addresses, suites, options in _sources():
        if "deb" in types and any(_MAIN.fullmatch(name) for name in suites) and "main" in options["Components"]:
            options = options | {"Types": "deb", "URIs": " ".join(addresses), "Suites": suite, "Components": "main"}
            return "".join(f"{name}: {value}\n" for name, value in options.items())
    raise NotDebian(f"none of apt's sources on this machine is one of Debian itself (looked in {SOURCES[0]} and .d)")


def _sources() -> Iterator[tuple[list[str], list[str], list[str], dict[str, str]]]:
    """Find apt's sources: their types, addresses, suites and further lines."""
    paths = [SOURCES[0], *sorted(SOURCES[1].glob("*"))]
    for path in paths:
        if not path.is_file() or path.suffix not in (".list", ".sources"):
            continue
        text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
        if path.suffix == ".sources":
            for block in re.split(r"\n\s*\n", text):
                lines = dict(re.findall(r"(?m)^([\w-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", block))
                if lines.get("Enabled", "yes").strip() != "no" and lines.keys() >= _NEEDED:
                    yield lines["Types"].split(), lines["URIs"].split(), lines["Suites"].split(), lines
        else:
            for kind, options, address, name, components in re.findall(
                r"(?m)^\s*(deb)\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.*)$", text
            ):
                signed = re.search(r"signed-by=(\S+)", options)
                extra = {"Signed-By": signed[1]} if signed else {}
                yield [kind], [address], [name], {"Components": components, **extra}


def _edges(text: str) -> Iterator[tuple[str, str]]:
    name = ""
    for line in text.splitlines():
        if not line.startswith((" ", "|")):
            name = line.strip()
        elif found := re.match(r"[ |]+(?:Pre)?Depends: ([^\s<>]+)$", line):
            yield name, found[1]


def _launcher(root: Path, package: str, program: Path) -> None:
    """Write `program`: the server in `root`, run by the loader and with the libraries that came with it."""
    server = next((path for name in ("bin", "sbin") if (path := root / "usr" / name / package).exists()), None)
    found = loader_of(root)
    if found is None or server is None:
        raise Unavailable(f"the packages of {package} hold no program for this machine")
    loader, folders = found
    # By way of $0, so that the folder may be moved; without `dirname`, which would be one more process.
    place = {path: f"${{0%/*}}/{path.relative_to(program.parent)}" for path in (server, loader, *folders)}
    libraries = ":".join(place[folder] for folder in folders)
    program.write_text(f'#!/bin/sh\nexec "{place[loader]}" --library-path "{libraries}" "{place[server]}" "$@"\n')
    program.chmod(0o755)


def _run(*command: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"`{command[0]}` had not ended after {PATIENCE} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise Unavailable(f"`{command[0]} {command[-1]}` failed: {' / '.join(said)}")
    return done.stdout
