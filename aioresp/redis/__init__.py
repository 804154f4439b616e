"""redis-py on the engine of aioresp: beneath every library that speaks redis.asyncio, or as redis-py's own class.

Owns the public names. Needs redis-py 5.2 or later: `pip install "aioresp[redis]"`.
"""

from __future__ import annotations

try:
    from aioresp.redis.client import Redis as Redis
    from aioresp.redis.client import from_url as from_url
    from aioresp.redis.installing import exclude as exclude
    from aioresp.redis.installing import install as install
    from aioresp.redis.installing import uninstall as uninstall
except ModuleNotFoundError as error:
    if error.name != "redis":  # redis-py is there: its version lacks a module
        raise
    from aioresp.advice import extra

    raise extra(__name__, error, "redis") from error

__all__ = ["Redis", "exclude", "from_url", "install", "uninstall"]
