"""HyperLogLog: an estimate of the number of distinct elements, in 12 KiB at most."""

from __future__ import annotations

from aioresp.command import AnyStr, Key, Result, Value
from aioresp.commands.base import Executor, filled
from aioresp.replies import boolean, integer, ok


class HyperLogLogCommands(Executor[AnyStr]):
    """Commands on HyperLogLogs."""

    def pfadd(self, name: Key, *values: Value) -> Result[bool]:
        """Count elements, or just make the key if there are none, and return whether the estimate may have changed."""
        return self.execute(("PFADD", name, *values), boolean)

    def pfcount(self, *sources: Key) -> Result[int]:
        """Return about how many different elements were counted by all `sources` together; the error is about 0.8 %."""
        return self.execute(("PFCOUNT", *filled("PFCOUNT", "sources", sources)), integer)

    def pfmerge(self, dest: Key, *sources: Key) -> Result[bool]:
        """Count in `dest` what it and all `sources` have counted."""
        return self.execute(("PFMERGE", dest, *sources), ok)
