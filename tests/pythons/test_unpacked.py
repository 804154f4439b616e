"""Pythons that were unpacked: the launcher, the wheels of pip, and those that are here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.pythons import MATRIX, Wanted
from tests.pythons.__main__ import FAILED, NOT_HERE, _tell
from tests.pythons.unpacked import bring_wheels, launch, version_of
from tests.servers import debian

HERE = [pytest.param(wanted, id=wanted.version) for wanted in MATRIX if wanted.program.exists()]


#: Prints where ensurepip finds pip.
PIP = """
import sysconfig, pathlib
print(*pathlib.Path(sysconfig.get_config_var("WHEEL_PKG_DIR")).glob("pip-*.whl"))
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def said(*command: str | Path) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def test_the_launcher_gives_the_name_it_was_called_by_to_python(tmp_path: Path) -> None:
    """It is called by a link in each virtual environment, which Python finds by that name."""
    root = tmp_path / "a folder"
    loader = write(root / "lib" / "arch" / "ld-linux-arch.so.2", '#!/bin/sh\nprintf "%s\\n" "$@"\n')
    write(root / "lib" / "arch" / "libc.so.6", "")
    program = write(root / "usr" / "bin" / "python3.99", "")
    launch(root, program)
    link = tmp_path / "python"
    link.symlink_to(program)
    libraries = f"{loader.parent}:{root}/usr/lib/arch"
    expected = ["--library-path", libraries, "--argv0", str(link), f"{program}.real", "-c", "1 2"]
    assert said(link, "-c", "1 2") == expected


def test_no_program_for_this_machine(tmp_path: Path) -> None:
    with pytest.raises(debian.Unavailable, match="hold no program for this machine"):
        launch(tmp_path, tmp_path / "usr" / "bin" / "python3.99")


def test_the_wheels_of_pip_are_looked_for_where_they_were_unpacked(tmp_path: Path) -> None:
    data = write(
        tmp_path / "usr" / "lib" / "python3.99" / "_sysconfigdata_x.py", "a = {'W': '/usr/share/python-wheels/'}"
    )
    bring_wheels(tmp_path)
    assert data.read_text() == f"a = {{'W': '{tmp_path}/usr/share/python-wheels/'}}"
    with pytest.raises(debian.Unavailable, match="does not look for its wheels in /usr/share/python-wheels/"):
        bring_wheels(tmp_path)


def test_a_machine_without_apt_and_a_python_that_no_release_has_are_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debian, "SOURCES", (tmp_path / "sources.list", tmp_path / "sources.list.d"))
    monkeypatch.setattr("tests.pythons.FOLDER", tmp_path)
    assert _tell(Wanted("3.98", None), False, tmp_path) == NOT_HERE
    assert _tell(Wanted("3.99", "sid"), False, tmp_path) == NOT_HERE
    monkeypatch.setattr(debian, "TOOLS", ("no-apt-get",))
    assert _tell(Wanted("3.99", "sid"), False, tmp_path) == NOT_HERE
    told = capsys.readouterr().out.splitlines()
    assert "no release of Debian has it" in told[0]
    assert "there is no no-apt-get here" in told[2]


def test_an_archive_that_does_not_answer_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine is Debian; its apt is one that fails, as without a network."""
    apt = write(tmp_path / "bin" / "apt-get", "#!/bin/sh\necho 'E: Failed to fetch it' >&2; exit 100\n")
    monkeypatch.setenv("PATH", f"{apt.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(debian, "TOOLS", ())
    monkeypatch.setattr(debian, "source_of", lambda suite: "")
    monkeypatch.setattr("tests.pythons.FOLDER", tmp_path)
    assert _tell(Wanted("3.99", "sid"), False, tmp_path) == NOT_HERE
    assert "is not to be had here: `apt-get update` failed: E: Failed to fetch it" in capsys.readouterr().out


@pytest.mark.parametrize(("machine", "end"), [("x86_64", FAILED), ("aarch64", NOT_HERE)])
def test_a_program_that_does_not_run_is_a_failure_where_it_should(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], machine: str, end: int
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("tests.pythons.__main__.provide", lambda wanted, scratch: None)
    monkeypatch.setattr("tests.pythons.FOLDER", tmp_path)
    assert _tell(Wanted("3.99", "sid"), False, tmp_path) == end
    told = capsys.readouterr().out
    assert "its program does not run on this machine" in told
    assert ("on aarch64 this way was never tried" in told) is (end == NOT_HERE)


@pytest.mark.parametrize("wanted", HERE)
def test_a_virtual_environment_of_it_knows_itself(wanted: Wanted, tmp_path: Path) -> None:
    """Its program, a subprocess of it, and a process that multiprocessing spawns, are all in the environment."""
    assert version_of(wanted) is not None
    said(wanted.program, "-m", "venv", "--without-pip", tmp_path / "venv")
    program = tmp_path / "venv" / "bin" / "python"
    spawn = write(
        tmp_path / "spawn.py",
        "import multiprocessing, subprocess, sys\n"
        "def tell(): print(sys.executable, sys.prefix, flush=True)\n"
        "if __name__ == '__main__':\n"
        "    tell()\n"
        "    subprocess.run([sys.executable, '-c', 'import sys; print(sys.executable, sys.prefix)'], check=True)\n"
        "    process = multiprocessing.get_context('spawn').Process(target=tell)\n"
        "    process.start(), process.join()\n",
    )
    assert said(program, spawn) == [f"{program} {tmp_path / 'venv'}"] * 3


@pytest.mark.parametrize("wanted", HERE)
def test_it_brings_pip(wanted: Wanted) -> None:
    assert said(wanted.program, "-c", PIP)[0].startswith(str(wanted.root))
