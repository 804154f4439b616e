"""The walk from this machine's apt sources to those of another release."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import debian

ONE_LINE = """
# deb http://old.example/debian buster main
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
deb [arch=amd64 signed-by=/usr/share/keyrings/some.gpg] http://mirror.example/debian bookworm main contrib
"""

BLOCKS = """
Types: deb
URIs: http://other.example/tools
Suites: stable
Components: tools

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb deb-src
# http://old.example/debian
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/some.gpg
"""

EXPECTED = {
    "Types: deb",
    "URIs: http://mirror.example/debian",
    "Suites: forky",
    "Components: main",
    "Signed-By: /usr/share/keyrings/some.gpg",
}


def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **files: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name.replace("__", "/").replace("_", ".")).write_text(text)
    monkeypatch.setattr(debian, "SOURCES", (tmp_path / "sources.list", tmp_path / "sources.list.d"))


def test_a_source_of_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources(monkeypatch, tmp_path, sources_list=ONE_LINE)
    assert set(debian.source_of("forky").splitlines()) == EXPECTED


def test_a_source_in_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources(monkeypatch, tmp_path, **{"sources.list.d/debian_sources": BLOCKS, "sources.list.d/x_bak": ONE_LINE})
    assert set(debian.source_of("forky").splitlines()) == EXPECTED


def test_no_source_of_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources(monkeypatch, tmp_path, **{"sources.list.d/other_sources": BLOCKS.partition("Enabled")[0]})
    with pytest.raises(debian.Unavailable, match="none of apt's sources on this machine is one of Debian itself"):
        debian.source_of("forky")


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(debian.Unavailable, match=r"`ls /nowhere` failed: .*No such file"):
        debian._run("ls", "/nowhere")


def test_the_launcher_finds_its_files_from_where_it_is(tmp_path: Path) -> None:
    root = tmp_path / "a folder" / "root"
    for name in ("lib/arch/ld-linux-arch.so.2", "lib/arch/libc.so.6", "usr/bin/redis-server"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (root / name).chmod(0o755)
    program = root.parent / "redis-server"
    debian._launcher(root, "redis-server", program)
    moved = tmp_path / "moved"
    root.parent.rename(moved)
    said = debian._run(str(moved / "redis-server"), "--port", "1 2").splitlines()
    place = f"{moved}/root"
    library = f"{place}/lib/arch:{place}/usr/lib/arch"
    assert said == ["--library-path", library, f"{place}/usr/bin/redis-server", "--port", "1 2"]
