"""Table of commands: by name, the keys, flags and rules of each, taken from the servers' own command tables.

Owns the facts that depend on the name alone. These are the places of keys, the versions, and the commands that only
read, block, pop, run code or change a connection. Never looks at arguments: `traits` does. A subcommand is written
like `XGROUP|CREATE` in the lists below, and like `XGROUP CREATE` in the tables made of them.
"""

from __future__ import annotations

from typing import Final


def _named(names: str) -> list[str]:
    """Return the names of a list, with a space in place of each `|`."""
    return "\n".join(names.split()).replace("|", " ").split("\n")


# --- Keys ------------------------------------------------------------------------------------------------------------

# Positions of the keys: first, last and step. A last position below 0 counts from the end, as in the servers' tables.
# A last position of 0 means that the number of keys stands at the first position, and the keys behind it.
_KEYS: Final[dict[tuple[int, int, int], str]] = {
    (1, -2, 1): "BLPOP BRPOP BZPOPMAX BZPOPMIN",
    (1, -1, 1): """
    DEL EXISTS MGET PFCOUNT PFMERGE SDIFF SDIFFSTORE SINTER SINTERSTORE SSUBSCRIBE SUNION SUNIONSTORE SUNSUBSCRIBE
    TOUCH UNLINK WATCH
    """,
    (1, -1, 2): "MSET MSETNX",
    (1, 1, 1): """
    APPEND ARCOUNT ARDEL ARDELRANGE ARGET ARGETRANGE ARGREP ARINFO ARINSERT ARLASTITEMS ARLEN ARMGET ARMSET ARNEXT
    AROP ARRING ARSCAN ARSEEK ARSET BITCOUNT BITFIELD BITFIELD_RO BITPOS DECR DECRBY DELEX DELIFEQ DIGEST DUMP
    EXPIRE EXPIREAT EXPIRETIME GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO
    GEORADIUS_RO GEOSEARCH GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HEXISTS HEXPIRE HEXPIREAT HEXPIRETIME HGET
    HGETALL HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HPERSIST HPEXPIRE HPEXPIREAT HPEXPIRETIME
    HPTTL HRANDFIELD HSCAN HSET HSETEX HSETNX HSTRLEN HTTL HVALS INCR INCRBY INCRBYFLOAT INCREX LINDEX LINSERT LLEN
    LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM MOVE PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PFADD PSETEX PTTL
    RESTORE RESTORE-ASKING RPOP RPUSH RPUSHX SADD SCARD SET SETBIT SETEX SETNX SETRANGE SISMEMBER SMEMBERS
    SMISMEMBER SORT SORT_RO SPOP SPUBLISH SRANDMEMBER SREM SSCAN STRLEN SUBSTR TTL TYPE VADD VCARD VDIM VEMB
    VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER VRANGE VREM VSETATTR VSIM XACK XACKDEL XADD XAUTOCLAIM XCFGSET
    XCLAIM XDEL XDELEX XIDMPRECORD XLEN XNACK XPENDING XRANGE XREVRANGE XSETID XTRIM ZADD ZCARD ZCOUNT ZDIFFSTORE
    ZINCRBY ZINTERSTORE ZLEXCOUNT ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREM
    ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE
    ZUNIONSTORE
    """,
    (1, 2, 1): """
    BLMOVE BLMOVEM BRPOPLPUSH COPY GEOSEARCHSTORE LCS LMOVE LMOVEM RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE
    """,
    (2, -1, 1): "BITOP",
    (2, 2, 1): """
    HIMPORT|SET MEMORY|USAGE OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT PFDEBUG XGROUP|CREATE
    XGROUP|CREATECONSUMER XGROUP|DELCONSUMER XGROUP|DESTROY XGROUP|SETID XINFO|CONSUMERS XINFO|GROUPS XINFO|STREAM
    """,
    (3, 3, 1): "MIGRATE",
    (1, 0, 1): "LMPOP SDIFFCARD SINTERCARD SUNIONCARD ZDIFF ZINTER ZINTERCARD ZMPOP ZUNION",
    (1, 0, 2): "MSETEX",
    (2, 0, 1): "BLMPOP BZMPOP EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO",
}

# Commands of modules, whose errors and flags are not known here. All others of a module have one key, at position 1.
# CLUSTERSCAN has no key, but its cursor holds the hash tag of a slot.
_FOREIGN_KEYS: Final[dict[tuple[int, int, int], str]] = {
    (1, -2, 1): "JSON.MGET",
    (1, -1, 3): "JSON.MSET TS.MADD",
    (1, 2, 1): "TS.CREATERULE TS.DELETERULE",
    (2, 2, 1): "JSON.DEBUG|MEMORY",
    (1, 1, 1): "CLUSTERSCAN CMS.MERGE TDIGEST.MERGE",
}

# Commands, and containers of subcommands, without a key at any fixed place.
_KEYLESS: Final = """
    ACL ASKING AUTH BACKUP BGREWRITEAOF BGSAVE CLIENT CLUSTER CLUSTERSCAN COMMAND COMMANDLOG CONFIG DBSIZE DEBUG DISCARD
    ECHO EXEC FAILOVER FLUSHALL FLUSHDB FT.AGGREGATE FT.ALIASADD FT.ALIASDEL FT.ALIASUPDATE FT.ALTER FT.CONFIG FT.CREATE
    FT.CURSOR FT.DICTADD FT.DICTDEL FT.DICTDUMP FT.DROPINDEX FT.EXPLAIN FT.EXPLAINCLI FT.HYBRID FT.INFO FT.PROFILE
    FT.SEARCH FT.SPELLCHECK FT.SYNDUMP FT.SYNUPDATE FT.TAGVALS FT._LIST FUNCTION HELLO HIMPORT HOST: HOTKEYS INFO
    JSON.DEBUG KEYS LASTSAVE LATENCY LOLWUT MEMORY MODULE MONITOR MULTI OBJECT PFSELFTEST PING POST PSUBSCRIBE PSYNC
    PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY READONLY READWRITE REPLCONF REPLICAOF RESET ROLE SAVE SCAN SCRIPT SELECT
    SHUTDOWN SLAVEOF SLOWLOG SUBSCRIBE SWAPDB SYNC TIME TRIMSLOTS TS.MGET TS.MRANGE TS.MREVRANGE TS.QUERYINDEX
    UNSUBSCRIBE UNWATCH WAIT WAITAOF XGROUP XINFO
"""

#: Commands with keys at fixed places, or behind a number of keys: first, last and step, as above.
KEYS: Final[dict[str, tuple[int, int, int]]] = {}
for _places, _names in _KEYS.items():
    KEYS.update(dict.fromkeys(_named(_names), _places))

#: The same for commands of modules.
FOREIGN_KEYS: Final[dict[str, tuple[int, int, int]]] = {
    name: places for places, names in _FOREIGN_KEYS.items() for name in _named(names)
}

#: Commands, and containers of subcommands, that have no key there.
KEYLESS: Final[frozenset[str]] = frozenset(_KEYLESS.split())

# --- Flags -----------------------------------------------------------------------------------------------------------

_READ_ONLY: Final = """
    ARCOUNT ARGET ARGETRANGE ARGREP ARINFO ARLASTITEMS ARLEN ARMGET ARNEXT AROP ARSCAN BITCOUNT BITFIELD_RO BITPOS
    CLUSTERSCAN DBSIZE DIGEST DUMP EVALSHA_RO EVAL_RO EXISTS EXPIRETIME FCALL_RO GEODIST GEOHASH GEOPOS
    GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HEXPIRETIME HGET HGETALL HKEYS HLEN
    HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSTRLEN HTTL HVALS KEYS LCS LINDEX LLEN LOLWUT LPOS LRANGE
    MEMORY|USAGE MGET OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT PEXPIRETIME PFCOUNT PTTL RANDOMKEY
    SCAN SCARD SDIFF SDIFFCARD SINTER SINTERCARD SISMEMBER SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN
    SUBSTR SUNION SUNIONCARD TOUCH TTL TYPE VCARD VDIM VEMB VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER VRANGE VSIM
    XINFO|CONSUMERS XINFO|GROUPS XINFO|STREAM XLEN XPENDING XRANGE XREAD XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER
    ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX
    ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION
"""

#: Commands that the servers themselves flag as read-only.
READ_ONLY: Final[frozenset[str]] = frozenset(_named(_READ_ONLY))

# Commands that run no code, in addition to those with keys and those that only read. Their subcommands run none either:
# FUNCTION LOAD and RESTORE run that of a library, but what it says stands behind "ERR Error registering functions".
_OWN_WORDS_TOO: Final = """
    ACL BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND COMMANDLOG CONFIG ECHO FAILOVER FLUSHALL FLUSHDB
    FUNCTION HOTKEYS INFO LASTSAVE LATENCY MEMORY OBJECT PING PUBLISH PUBSUB REPLICAOF ROLE SAVE SCRIPT SLAVEOF SLOWLOG
    SWAPDB TIME XGROUP XINFO XREADGROUP
"""

# Commands that run code, or pass on errors of another server. EXEC, DEBUG, MODULE and commands of modules do so, too:
# they are in no list above.
_FOREIGN_WORDS: Final = "EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO MIGRATE"

#: Commands that run no code of users: an error that says that they have not run is the server's own, and true.
OWN_WORDS: Final[frozenset[str]] = frozenset(
    {*KEYS, *READ_ONLY, *_named(_OWN_WORDS_TOO)}.difference(_FOREIGN_WORDS.split())
)

#: Commands whose reply is not text, or holds text that the server has escaped and cut.
BINARY: Final = frozenset({"DUMP", "FUNCTION DUMP", "SLOWLOG GET", "COMMANDLOG GET", "ACL LOG"})

# Replies for operators. They hold names, paths and settings that others chose: one that is not UTF-8 must not keep an
# operator from the rest. Replies of keys and elements are not listed, as an escaped key would be a wrong one.
_ESCAPED: Final = """
    ACL|CAT ACL|DRYRUN ACL|GETUSER ACL|LIST ACL|USERS ACL|WHOAMI BACKUP CLIENT|GETNAME CLIENT|INFO CLIENT|LIST
    CLIENT|TRACKINGINFO CLUSTER|INFO CLUSTER|LINKS CLUSTER|NODES CLUSTER|REPLICAS CLUSTER|SHARDS CLUSTER|SLAVES
    CLUSTER|SLOTS CLUSTER|GETSLOTMIGRATIONS CLUSTER|MIGRATION COMMAND|DOCS COMMAND|INFO COMMAND|LIST CONFIG
    FUNCTION|LIST FUNCTION|STATS HELLO HOTKEYS INFO LATENCY MEMORY MODULE PUBSUB ROLE XINFO
"""

#: Commands whose replies a client of text gets with bytes that are not UTF-8 escaped, as in "\\xff".
ESCAPED: Final = frozenset(_named(_ESCAPED))

# --- Commands that wait ----------------------------------------------------------------------------------------------

#: Where the time limit of a blocking command stands, and how many of its units make a second.
BLOCKING: Final[dict[str, tuple[int, int]]] = {
    "BLPOP": (-1, 1),
    "BRPOP": (-1, 1),
    "BRPOPLPUSH": (-1, 1),
    "BLMOVE": (-1, 1),
    "BLMPOP": (1, 1),
    "BZPOPMIN": (-1, 1),
    "BZPOPMAX": (-1, 1),
    "BZMPOP": (1, 1),
    "BLMOVEM": (5, 1),
    "WAIT": (-1, 1000),
    "WAITAOF": (-1, 1000),
}

#: Commands that wait only with the option BLOCK.
BLOCKING_BY_OPTION: Final = frozenset({"XREAD", "XREADGROUP", "TS.READ"})

#: The command that puts back what a blocking pop took. Moves leave their element in another list, and reads of streams
#: leave theirs in place.
UNDOING: Final[dict[str, str]] = {
    "BLPOP": "LPUSH",
    "BRPOP": "RPUSH",
    "BLMPOP": "LPUSH",  # RPUSH if its direction says so
    **dict.fromkeys(("BZPOPMIN", "BZPOPMAX", "BZMPOP"), "ZADD"),
}

# --- Commands that change their connection ---------------------------------------------------------------------------

ON_A_LEASE: Final = "it belongs to one connection: use `async with client.connection() as c`"
_NEVER: Final = "it would break the connection it is sent on"

#: Commands that a shared connection must not carry, with the reason: most change it, or refer to earlier commands.
REFUSED: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("SELECT", "AUTH", "RESET", "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "READONLY", "READWRITE"),
        ON_A_LEASE,
    ),
    **dict.fromkeys(("ASKING", "WAIT", "WAITAOF", "QUIT", "HELLO"), ON_A_LEASE),
    **dict.fromkeys(("HIMPORT PREPARE", "HIMPORT SET", "HIMPORT DISCARD", "HIMPORT DISCARDALL"), ON_A_LEASE),
    **dict.fromkeys(("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"), "use `async with client.subscribe(...) as s`"),
    **dict.fromkeys(("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"), "use the methods of a subscription"),
    "MONITOR": "use `async with client.monitor() as m`",
    **dict.fromkeys(("SYNC", "PSYNC", "REPLCONF", "CLUSTER SYNCSLOTS", "POST", "HOST:"), _NEVER),
    "CLIENT REPLY": _NEVER,
    "SCRIPT DEBUG": _NEVER,
    "DEBUG PROTOCOL": "its RESP3 attributes would be taken for replies",
    **dict.fromkeys(("CLIENT TRACKING", "CLIENT CACHING", "CLIENT NO-EVICT", "CLIENT NO-TOUCH"), ON_A_LEASE),
    **dict.fromkeys(("CLIENT SETNAME", "CLIENT SETINFO", "CLIENT CAPA", "CLIENT IMPORT-SOURCE"), ON_A_LEASE),
}

# Changes that RESET and a new handshake do not undo on every server.
_LASTING: Final = ("CLIENT NO-EVICT", "CLIENT NO-TOUCH", "CLIENT CAPA", "CLIENT IMPORT-SOURCE", "QUIT")
# Commands after which there is nothing to undo.
_LEAVING_NOTHING: Final = ("WAIT", "WAITAOF", "EXEC", "DISCARD", "UNWATCH")

#: Commands that change their connection, and whether RESET undoes it.
CHANGES: Final[dict[str, bool]] = {
    name: name not in _LASTING for name, why in REFUSED.items() if why is ON_A_LEASE and name not in _LEAVING_NOTHING
}

#: Commands that a leased connection refuses, too.
FORBIDDEN: Final = frozenset(name for name, why in REFUSED.items() if why is not ON_A_LEASE)

#: First words of the commands that have subcommands in the tables above.
CONTAINERS: Final = frozenset(
    [name.partition(" ")[0] for name in (*FOREIGN_KEYS, *OWN_WORDS, *REFUSED, *BINARY, *ESCAPED) if " " in name]
)

# --- Versions --------------------------------------------------------------------------------------------------------

# Which versions have these commands. Those that Redis had before 5.0 are not listed. Read only when a server does not
# know a command.
_NEEDED: Final[dict[str, str]] = {
    "Redis 5.0 or Valkey": """
    BZPOPMAX BZPOPMIN CLIENT|ID CLIENT|UNBLOCK CLUSTER|REPLICAS LOLWUT REPLICAOF XACK XADD XCLAIM XDEL XGROUP
    XGROUP|CREATE XGROUP|DELCONSUMER XGROUP|DESTROY XGROUP|SETID XINFO XINFO|CONSUMERS XINFO|GROUPS XINFO|STREAM
    XLEN XPENDING XRANGE XREAD XREADGROUP XREVRANGE XSETID XTRIM ZPOPMAX ZPOPMIN
    """,
    "Redis 6.0 or Valkey": """
    ACL ACL|CAT ACL|DELUSER ACL|GENPASS ACL|GETUSER ACL|LIST ACL|LOAD ACL|LOG ACL|SAVE ACL|SETUSER ACL|USERS
    ACL|WHOAMI BITFIELD_RO CLIENT|CACHING CLIENT|GETREDIR CLIENT|TRACKING HELLO
    """,
    "Redis 6.0.6 or Valkey": "LPOS",
    "Redis 6.2 or Valkey": """
    BLMOVE CLIENT|INFO CLIENT|TRACKINGINFO CLIENT|UNPAUSE COPY FAILOVER GEOSEARCH GEOSEARCHSTORE GETDEL GETEX
    HRANDFIELD LMOVE RESET SMISMEMBER XAUTOCLAIM XGROUP|CREATECONSUMER ZDIFF ZDIFFSTORE ZINTER ZMSCORE ZRANDMEMBER
    ZRANGESTORE ZUNION
    """,
    "Redis 7.0 or Valkey": """
    ACL|DRYRUN BLMPOP BZMPOP CLIENT|NO-EVICT CLUSTER|ADDSLOTSRANGE CLUSTER|DELSLOTSRANGE CLUSTER|LINKS
    CLUSTER|SHARDS COMMAND|DOCS COMMAND|GETKEYSANDFLAGS COMMAND|LIST EVALSHA_RO EVAL_RO EXPIRETIME FCALL FCALL_RO
    FUNCTION FUNCTION|DELETE FUNCTION|DUMP FUNCTION|FLUSH FUNCTION|KILL FUNCTION|LIST FUNCTION|LOAD FUNCTION|RESTORE
    FUNCTION|STATS LATENCY|HISTOGRAM LCS LMPOP MODULE|LOADEX PEXPIRETIME PUBSUB|SHARDCHANNELS PUBSUB|SHARDNUMSUB
    SINTERCARD SORT_RO SPUBLISH SSUBSCRIBE SUNSUBSCRIBE ZINTERCARD ZMPOP
    """,
    "Redis 7.2 or Valkey": "CLIENT|NO-TOUCH CLIENT|SETINFO CLUSTER|MYSHARDID WAITAOF",
    "Redis 7.4 or Valkey 9.0": "HEXPIRE HEXPIREAT HEXPIRETIME HPERSIST HPEXPIRE HPEXPIREAT HPEXPIRETIME HPTTL HTTL",
    "Redis 8.0 or Valkey 9.0": "HGETEX HSETEX",
    "Redis 8.0 or Valkey 9.1": "HGETDEL",
    "Redis 8.0 (not in Valkey 9.1)": """
    VADD VCARD VDIM VEMB VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER VREM VSETATTR VSIM
    """,
    "Redis 8.2 or Valkey 8.0": "CLUSTER|SLOT-STATS",
    "Redis 8.2 (not in Valkey 9.1)": "XACKDEL XDELEX",
    "Redis 8.4 or Valkey 9.0": "CLUSTER|SYNCSLOTS",
    "Redis 8.4 or Valkey 9.1": "MSETEX",
    "Redis 8.4 (not in Valkey 9.1)": "CLUSTER|MIGRATION DELEX DIGEST TRIMSLOTS VRANGE",
    "Redis 8.6 (not in Valkey 9.1)": "HOTKEYS HOTKEYS|GET HOTKEYS|RESET HOTKEYS|START HOTKEYS|STOP XCFGSET",
    "Redis 8.6.2 (not in Valkey 9.1)": "XIDMPRECORD",
    "Redis 8.8 (not in Valkey 9.1)": """
    ARCOUNT ARDEL ARDELRANGE ARGET ARGETRANGE ARGREP ARINFO ARINSERT ARLASTITEMS ARLEN ARMGET ARMSET ARNEXT AROP
    ARRING ARSCAN ARSEEK ARSET INCREX XNACK
    """,
    "Redis 8.10 (not in Valkey 9.1)": """
    BACKUP BACKUP|ABORT BACKUP|CLEANUP BACKUP|LIST BACKUP|SEAL BACKUP|START BACKUP|STATUS BLMOVEM HIMPORT
    HIMPORT|DISCARD HIMPORT|DISCARDALL HIMPORT|PREPARE HIMPORT|SET LMOVEM SDIFFCARD SUNIONCARD
    """,
    "Valkey 8.0 (not in Redis 8.10)": "CLIENT|CAPA SCRIPT|SHOW",
    "Valkey 8.1 (not in Redis 8.10)": "CLIENT|IMPORT-SOURCE COMMANDLOG COMMANDLOG|GET COMMANDLOG|LEN COMMANDLOG|RESET",
    "Valkey 9.0 (not in Redis 8.10)": """
    CLUSTER|CANCELSLOTMIGRATIONS CLUSTER|FLUSHSLOT CLUSTER|GETSLOTMIGRATIONS CLUSTER|MIGRATESLOTS DELIFEQ
    """,
    "Valkey 9.1 (not in Redis 8.10)": "CLUSTERSCAN",
}


def needed(name: str) -> str | None:
    """Return which versions have the command `name`, as "Redis 7.4 or Valkey 9.0"; None if it is not listed."""
    name = name.replace(" ", "|")
    return next((versions for versions, names in _NEEDED.items() if name in names.split()), None)
