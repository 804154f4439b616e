"""Virtual environments of the peers, one each: their requirements exclude each other.

Owns `.bench`, which lies beside the project's own `.venv`.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2] / ".bench"
SCRIPTS: Final = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Peer:
    """A library to compare with: its script, what is installed for it, and a variant that the script knows."""

    name: str
    script: str
    requirements: tuple[str, ...] = ()
    variant: str = ""
    folder: str = ""
    """Name of its environment, if that is not the script's."""

    def command(self) -> list[str]:
        """Return the start of the command line that runs its script."""
        return [str(self.python()), str(SCRIPTS / f"with_{self.script}.py")]

    def python(self) -> Path:
        return self._home() / "bin" / "python" if self.requirements else Path(sys.executable)

    def _home(self) -> Path:
        return ROOT / (self.folder or self.script)

    def install(self) -> None:
        """Make its environment, unless one with these requirements is there."""
        if not self.requirements:
            return
        home = self._home()
        said = home / "requirements.txt"
        wanted = "\n".join(self.requirements)
        if said.exists() and said.read_text() == wanted:
            return
        print(f"installing {', '.join(self.requirements)} into .bench/{home.name}", file=sys.stderr, flush=True)
        venv.create(home, clear=True, with_pip=True)
        pip = [str(self.python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *self.requirements], check=True)
        said.write_text(wanted)


AIORESP: Final = Peer("aioresp", "aioresp")
_TASKIQ: Final = ("taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis")

QUEUES: Final = (
    AIORESP,
    Peer("arq", "arq", ("arq==0.28.0",)),
    Peer("SAQ", "saq", ("saq[redis,hiredis]==0.26.4", "typing_extensions")),
    Peer("taskiq-redis", "taskiq", _TASKIQ),
    Peer("streaq", "streaq", ("streaq==7.2.0",)),
    Peer("RQ", "rq", ("rq==3.0.0", "hiredis")),
)
LOCKS: Final = (
    AIORESP,
    Peer("redis-py", "redis_py", ("redis[hiredis]==8.1.0",)),
    Peer("pottery", "pottery", ("pottery==3.0.1", "hiredis")),
)
_LIMITS: Final = ("limits==5.8.0", "redis[hiredis]==8.1.0")
LIMITERS: Final = (
    AIORESP,
    Peer("limits, fixed window", "limits", _LIMITS),
    Peer("limits, moving window", "limits", _LIMITS, "moving"),
    Peer("throttled-py, GCRA", "throttled", ("throttled-py[redis]==3.5.0", "hiredis")),
)
_CASHEWS: Final = ("cashews[redis]==7.6.0", "hiredis")
_AIOCACHE: Final = ("aiocache[redis]==0.12.3", "hiredis")
CACHES: Final = (
    AIORESP,
    Peer("cashews", "cashews", _CASHEWS),
    Peer("cashews, lock", "cashews", _CASHEWS, "lock"),
    Peer("aiocache", "aiocache", _AIOCACHE),
    Peer("aiocache, stampede", "aiocache", _AIOCACHE, "stampede"),
    Peer("fastapi-cache2", "fastapi_cache", ("fastapi-cache2[redis]==0.2.2", "jinja2")),
)
