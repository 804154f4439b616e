"""The proxy: each fault does exactly what it says, on asyncio and uvloop, and nothing is left at the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import psutil
import pytest
import uvloop

from aioresp.testing import Proxy, Server, server

Main: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Run: TypeAlias = Callable[[Main], None]
PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"


@pytest.fixture(scope="module")
def real() -> Iterator[Server]:
    gc.collect()
    gc.freeze()  # what is there now need not be gone through again at the end of each test below
    with server(config={"requirepass": ""}) as s:
        yield s


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, real: Server) -> Run:
    """Return a function that runs a coroutine in debug mode and sees that no task and no socket is left."""

    def run(main: Main) -> None:
        async def checked() -> None:
            async with asyncio.timeout(20):
                await main()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        real.flush()
        uvloop.new_event_loop().close()  # the first one opens a pipe for the whole process
        process = psutil.Process()
        before = process.num_fds()
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(debug=True, loop_factory=factory) as runner:
            runner.run(checked())
        assert process.num_fds() == before
        gc.collect()  # what was forgotten warns now, and a warning is an error

    return run


class Client:
    """A bare client: the bytes as they come, and each receive by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *words: str | bytes) -> None:
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        self.writer.write(b"*%d\r\n" % len(parts))
        for part in parts:
            self.writer.write(b"$%d\r\n" % len(part))
            self.writer.write(part)
            self.writer.write(b"\r\n")
        await self.writer.drain()

    async def line(self) -> bytes:
        return await self.reader.readline()

    async def call(self, *words: str | bytes) -> bytes:
        await self.send(*words)
        return await self.line()

    async def silent(self, seconds: float = 0.03) -> bool:
        """Tell whether nothing comes, neither bytes nor an end."""
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@contextlib.asynccontextmanager
async def connect(p: Proxy | Server, limit: int = 2**16) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(p.host, p.port, limit=limit)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Pieces(asyncio.Protocol):
    """A client that keeps what it receives piece by piece, and notes whether it may write."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.writable = asyncio.Event()
        self.writable.set()
        self.lost = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received.append(data)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def timed(work: Awaitable[object]) -> float:
    begin = time.monotonic()
    await work
    return time.monotonic() - begin


def test_bytes_pass_and_are_counted(run: Run, real: Server) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port) as p:
            assert p.url == f"redis://127.0.0.1:{p.port}"
            assert repr(p) == f"Proxy(127.0.0.1:{p.port} -> 127.0.0.1:{real.port}, 0 open)"
            async with connect(p) as a, connect(p) as b:
                assert await a.call("PING") == PONG
                assert await b.call("PING") == PONG
                assert (p.connections, p.open, p.cuts) == (2, 2, 0)
                assert (p.bytes_up, p.bytes_down) == (2 * len(PING), 2 * len(PONG))
            await until(lambda: p.open == 0)
            assert p.connections == 2
        with pytest.raises(RuntimeError, match="async with"):
            _ = p.port
        async with p, connect(p) as c:
            assert await c.call("PING") == PONG
            with pytest.raises(RuntimeError, match="listening already"):
                await p.__aenter__()

    run(main)


def test_a_large_value_passes_quickly_both_ways(run: Run, real: Server) -> None:
    async def main() -> None:
        value = os.urandom(1 << 20) * 64
        async with Proxy(real.host, real.port) as p, connect(p, 1 << 22) as c:
            begin = time.process_time()
            assert await c.call("SET", "k", value) == b"+OK\r\n"
            assert await c.call("GET", "k") == b"$%d\r\n" % len(value)
            got = await c.reader.readexactly(len(value) + 2)
            assert time.process_time() - begin < 5  # 0.6 s
            assert got == value + b"\r\n"
            assert p.bytes_down == len(got) + len(b"+OK\r\n$67108864\r\n")

    run(main)


def test_delay_is_a_latency_each_way_and_not_a_queue(run: Run, real: Server) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port, delay=0.04) as p, connect(p) as c:
            assert 0.075 < await timed(c.call("PING")) < 1.0

            async def pipelined() -> None:
                for n in range(20):
                    await c.send("ECHO", f"{n:03}")
                    await asyncio.sleep(0.001)
                for n in range(20):
                    assert [await c.line(), await c.line()] == [b"$3\r\n", b"%03d\r\n" % n]

            assert 0.075 < await timed(pipelined()) < 1.0  # one after the other it would be 1.6
            p.delay = 5.0
            slow = asyncio.create_task(c.call("PING"))
            await asyncio.sleep(0.03)
            assert not slow.done()
            p.delay = 0.0  # also for what waits already
            async with asyncio.timeout(1):
                assert await slow == PONG
            assert p.delay == 0.0

    run(main)


def test_a_random_delay_keeps_the_order_and_is_repeatable(run: Run, real: Server) -> None:
    drawn: list[list[float]] = []

    async def main() -> None:
        async with Proxy(real.host, real.port, delay=(0.0, 0.01), split=2, seed=7) as p, connect(p) as c:
            for n in range(5):
                assert await c.call("PING", f"{n}") == b"$1\r\n"
                assert await c.line() == b"%d\r\n" % n
            calls = 0

            def delay() -> float:
                nonlocal calls
                calls += 1
                return 0.001

            p.delay = delay
            assert await c.call("PING") == PONG
            assert calls == 7 + 4  # pieces of 14 and 7 bytes, two at most in each
        drawn.append([Proxy("", 1, delay=(0.0, 1.0), seed=7)._up.draw_delay() for _ in range(3)])

    run(main)
    run(main)
    assert drawn[0] == drawn[1]


def test_split_makes_replies_arrive_in_pieces(run: Run, real: Server) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with Proxy(real.host, real.port, split=3) as p:
            transport, pieces = await loop.create_connection(Pieces, p.host, p.port)
            transport.write(b"ECHO abcdefghij\r\n")
            await until(lambda: sum(map(len, pieces.received)) == 17)
            assert pieces.received == [b"$10", b"\r\na", b"bcd", b"efg", b"hij", b"\r\n"]
            assert p.bytes_up == 17

            pieces.received.clear()
            p.split = (1, 4)
            transport.write(b"ECHO %s\r\n" % (b"x" * 100))
            await until(lambda: sum(map(len, pieces.received)) == 108)
            assert b"".join(pieces.received) == b"$100\r\n" + b"x" * 100 + b"\r\n"
            assert {len(piece) for piece in pieces.received} == {1, 2, 3, 4}

            pieces.received.clear()
            p.split = lambda: 7
            transport.write(PING * 3)
            await until(lambda: sum(map(len, pieces.received)) == 21)
            assert pieces.received == [PONG] * 3

            pieces.received.clear()
            p.split = None
            transport.write(PING * 3)
            await until(lambda: sum(map(len, pieces.received)) == 21)
            assert pieces.received == [PONG * 3]
            transport.close()
            await pieces.lost.wait()

    run(main)


def test_stall_and_resume(run: Run, real: Server) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port) as p, connect(p) as c, connect(real) as direct:
            assert await c.call("PING") == PONG
            p.stall("down")
            await c.send("SET", "k", "1")
            assert await c.silent()
            assert await direct.call("EXISTS", "k") == b":1\r\n"  # the command arrived, its reply does not
            async with connect(p) as new:
                await new.send("PING")
                assert await new.silent()
                p.resume("down")
                assert await c.line() == b"+OK\r\n"
                assert await new.line() == PONG

            p.stall("up")
            up = p.bytes_up
            await c.send("SET", "l", "1")
            assert await c.silent()
            assert p.bytes_up == up
            assert await direct.call("EXISTS", "l") == b":0\r\n"
            p.resume()
            assert await c.line() == b"+OK\r\n"

            p.stall()
            p.resume("up")
            await c.send("PING")
            assert await c.silent()
            p.resume("down")
            assert await c.line() == PONG
            with pytest.raises(ValueError, match="sideways"):
                p.stall("sideways")  # type: ignore[arg-type]

    run(main)


def test_a_stalled_proxy_pushes_back_on_the_writer(run: Run, real: Server) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with Proxy(real.host, real.port, receive_buffer=1 << 16) as p:
            transport, pieces = await loop.create_connection(Pieces, p.host, p.port)
            p.stall("up")
            value, written = b"x" * (1 << 18), 0
            while pieces.writable.is_set() and written < 200:
                transport.write(b"*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$%d\r\n%b\r\n" % (len(value), value))
                written += 1
                await asyncio.sleep(0)
            assert not pieces.writable.is_set()
            assert written < 40  # 10 MiB: the kernel's buffers and no more
            assert p.bytes_up == 0
            await asyncio.sleep(0.03)
            assert not pieces.writable.is_set()
            p.resume("up")
            await asyncio.wait_for(pieces.writable.wait(), 5)
            await until(lambda: b"".join(pieces.received).endswith(b":%d\r\n" % (written << 18)))
            transport.abort()
            await pieces.lost.wait()

    run(main)


@pytest.mark.parametrize("delay", [0.0, 0.001])
def test_a_reader_that_does_not_read_pushes_back_on_the_server(run: Run, real: Server, delay: float) -> None:
    async def main() -> None:
        async with connect(real) as direct:
            assert await direct.call("SETRANGE", "k", str((32 << 20) - 1), "x") == b":33554432\r\n"
        async with Proxy(real.host, real.port, delay=delay) as p, connect(p) as c:
            await c.send("GET", "k")
            await until(lambda: p.bytes_down > 1 << 18)
            await asyncio.sleep(0.1)
            held = sum(link.down.held for link in p._links)
            assert p.bytes_down < 20 << 20  # the kernel's buffers, ours, and no more
            assert held <= 2 << 20
            reply = await c.reader.readexactly(len("$33554432\r\n") + (32 << 20) + 2)
            assert reply.startswith(b"$33554432\r\n\0\0")
            assert reply.endswith(b"\0\0x\r\n")

    run(main)


def test_cut_ends_connections_that_are_being_made(run: Run, real: Server) -> None:
    """In any turn of the loop: also between the accept and the transport, and while the server's side connects."""

    async def main() -> None:
        for turns in range(12):
            async with Proxy(real.host, real.port) as p:
                opening = asyncio.ensure_future(asyncio.open_connection(p.host, p.port))
                while not p.connections:
                    await asyncio.sleep(0)
                for _ in range(turns):
                    await asyncio.sleep(0)
                p.cut()
                reader, writer = await opening
                async with asyncio.timeout(2):
                    assert await reader.read() == b""
                writer.transport.abort()
                await until(lambda: p.open == 0)  # it is called in this turn

    run(main)


def test_cut_ends_all_connections_and_new_ones_work(run: Run, real: Server) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port) as p:
            async with connect(p) as a, connect(p) as b:
                assert await a.call("PING") == await b.call("PING") == PONG
                p.stall("up")
                await a.send("PING")  # unread bytes must not turn the end into a reset
                await asyncio.sleep(0.01)
                p.cut()
                assert await a.reader.read() == b""
                assert await b.reader.read() == b""
                p.cut()
                await until(lambda: p.open == 0)
                assert (p.cuts, p.connections) == (2, 2)
                p.resume()
            async with connect(p) as a, connect(p) as b:
                assert await a.call("PING") == await b.call("PING") == PONG
                p.cut(rst=True)
                for client in (a, b):
                    with pytest.raises(ConnectionResetError):
                        await client.reader.read()
                assert p.cuts == 4

    run(main)


@pytest.mark.parametrize("split", [None, 2])
def test_cut_after_lets_exactly_so_many_bytes_through(run: Run, real: Server, split: int | None) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port, split=split) as p, connect(real) as direct:
            for n in (0, 1, 5, 7, 10):
                async with connect(p) as c, connect(p) as other:
                    assert await other.call("PING") == PONG
                    p.cut_after(n)
                    await c.send("PING")
                    await c.send("PING")
                    assert await c.reader.read() == (PONG * 2)[:n]
                    assert await other.call("PING") == PONG  # the one that carried the byte, and no other
            assert p.cuts == 5

            async with connect(p) as c:
                p.cut_after(len(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r"), "up")
                await c.send("SET", "k", "v")
                assert await c.reader.read() == b""
            assert await direct.call("EXISTS", "k") == b":0\r\n"

            async with connect(p) as c:
                p.cut_after(3, rst=True)
                await c.send("PING")
                received = b""
                with contextlib.suppress(ConnectionResetError):
                    while True:
                        received += await c.reader.read(10) or b"an end"
                assert b"+PO".startswith(received)  # a reset may overtake what came before it

            async with connect(p) as a, connect(p) as b:
                p.cut_after(7)
                p.cut_after(10)
                assert await a.call("PING") == PONG
                assert await b.call("PING") == b"+PO"
                assert await a.reader.read() == b""
            with pytest.raises(ValueError, match="n is -1"):
                p.cut_after(-1)
            with pytest.raises(ValueError, match="'both'"):
                p.cut_after(1, "both")  # type: ignore[arg-type]

    run(main)


def test_a_half_open_connection_ends_when_its_client_closes(run: Run, real: Server) -> None:
    """Its descriptor would be kept until the proxy ends, otherwise; also if the client has sent more than is read."""

    async def main() -> None:
        async with Proxy(real.host, real.port) as p:
            async with connect(p) as a, connect(p) as b:
                assert await a.call("PING") == await b.call("PING") == PONG
                p.half_open()
                await a.send("PING")
                assert await a.silent()
                assert p.open == 2
                async with connect(p) as new:
                    await new.send("PING")
                    assert await new.silent()
            async with asyncio.timeout(10):
                while p.open:
                    await asyncio.sleep(0.01)
            assert not p._links
            p.accept()
            async with connect(p) as c:
                assert await c.call("PING") == PONG

    run(main)


def test_half_open_is_silence_without_an_end(run: Run, real: Server) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port) as p, connect(p) as old, connect(real) as direct:
            assert await old.call("CLIENT", "SETNAME", "old") == b"+OK\r\n"
            p.half_open()
            await old.send("SET", "k", "1")
            assert await old.silent()
            await direct.send("CLIENT", "LIST")
            size = int((await direct.line())[1:])
            assert b"name=old" not in await direct.reader.readexactly(size + 2)
            assert await direct.call("EXISTS", "k") == b":0\r\n"
            async with connect(p) as new:
                await new.send("PING")
                assert await new.silent()
                p.accept()
                async with connect(p) as newer:
                    assert await newer.call("PING") == PONG
                p.heal()
                assert await new.silent()
            assert await old.silent()
            async with asyncio.timeout(10):
                while p.open > 1:  # `new` was closed
                    await asyncio.sleep(0.01)
            assert p.open == 1
            p.cut()
            assert await old.reader.read() == b""

    run(main)


def test_refuse_closes_new_connections_only(run: Run, real: Server) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port) as p, connect(p) as old:
            assert await old.call("PING") == PONG
            p.refuse()
            async with connect(p) as new:
                assert await new.reader.read() == b""
            assert await old.call("PING") == PONG
            assert (p.connections, p.cuts) == (2, 0)
            p.accept()
            async with connect(p) as new:
                assert await new.call("PING") == PONG

    run(main)


@pytest.mark.parametrize("split", [None, 4])
def test_corrupt_changes_exactly_the_bytes_it_should(run: Run, real: Server, split: int | None) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port, split=split) as p, connect(p) as c:

            async def pings(size: int) -> bytes:
                for _ in range(3):
                    await c.send("PING")
                return await c.reader.readexactly(size)

            p.corrupt(b"?")  # in place of the next byte
            assert await pings(21) == b"?PONG\r\n" + PONG * 2
            p.corrupt(b"xyz", after=5)  # over the end of a reply
            assert await pings(21) == b"+PONGxyzPONG\r\n" + PONG
            p.corrupt(b"$9\r\n", after=7, replace=0)  # between two
            assert await pings(25) == PONG + b"$9\r\n" + PONG * 2
            p.corrupt(b"", after=6, replace=9)  # "\n+PONG\r\n+"
            assert await pings(12) == b"+PONG\rPONG\r\n"
            p.corrupt(b"A", after=1)
            p.corrupt(b"B", after=3)
            assert await c.call("PING") == b"+AOBG\r\n"
            p.corrupt(b"ECHO", after=len(b"*2\r\n$4\r\n"), direction="up")
            assert await c.call("KEYS", "k") == b"$1\r\n"
            assert await c.line() == b"k\r\n"
            with pytest.raises(ValueError, match="replace is -1"):
                p.corrupt(b"", replace=-1)

    run(main)


def test_inject_and_heal(run: Run, real: Server) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port) as p, connect(p) as a, connect(p) as b:
            assert await a.call("PING") == await b.call("PING") == PONG
            p.inject(b"+surprise\r\n")
            assert await a.line() == await b.line() == b"+surprise\r\n"
            p.inject(PING, "up")
            assert await a.line() == await b.line() == PONG

            p.delay, p.split = 60.0, 1
            p.stall()
            p.refuse()
            p.cut_after(0)
            p.corrupt(b"xxx")
            p.corrupt(b"xxx", direction="up")
            await a.send("PING")
            assert await a.silent()
            p.heal()
            assert await a.line() == PONG
            async with connect(p) as new:
                assert await new.call("PING") == PONG
            assert p.cuts == 0

    run(main)


def test_ends_are_passed_on_in_both_directions(run: Run) -> None:
    async def main() -> None:
        async with server(config={"requirepass": ""}) as s, Proxy(s.host, s.port, delay=0.02) as p:
            async with connect(p) as c:
                for _ in range(3):
                    await c.send("PING")
                c.writer.write_eof()
                assert (await c.reader.read()).count(PONG) in (
                    0,
                    3,
                )  # as the server likes: none of its bytes is lost
            await until(lambda: p.open == 0)
            async with connect(p) as c:
                assert await c.call("QUIT") == b"+OK\r\n"
                assert await c.reader.read() == b""
            async with connect(p) as c, connect(s) as direct:
                assert await c.call("CLIENT", "SETNAME", "c") == b"+OK\r\n"
                c.writer.transport.abort()

                async def named() -> bool:
                    await direct.send("CLIENT", "LIST")
                    size = int((await direct.line())[1:])
                    return b"name=c" in await direct.reader.readexactly(size + 2)

                async with asyncio.timeout(2):
                    while await named():
                        await asyncio.sleep(0.005)
            async with connect(p) as c:
                assert await c.call("PING") == PONG
                await asyncio.to_thread(s.kill)
                assert await c.reader.read() == b""
            async with connect(p) as c:  # nobody behind the proxy
                with contextlib.suppress(ConnectionResetError):
                    assert await c.reader.read() == b""
            await until(lambda: p.open == 0)

    run(main)


@pytest.mark.parametrize("state", ["idle", "stalled", "half open", "delayed", "refused", "blocked", "connecting"])
def test_the_end_leaves_nothing_in_whatever_state(run: Run, real: Server, state: str) -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            p = await stack.enter_async_context(Proxy(real.host, real.port))
            clients = []
            for _ in range(3):
                reader, writer = await asyncio.open_connection(p.host, p.port)
                clients.append(Client(reader, writer))
                if state != "connecting":
                    assert await clients[-1].call("PING") == PONG
            if state == "stalled":
                p.stall()
            elif state == "half open":
                p.half_open()
            elif state == "delayed":
                p.delay = 60.0
            elif state == "refused":
                p.refuse()
                clients.append(Client(*await asyncio.open_connection(p.host, p.port)))
            elif state == "blocked":
                await clients[0].send("SETRANGE", "k", str(32 << 20), "x")
                await clients[0].send("GET", "k")
                await until(lambda: p.bytes_down > 1 << 20)
                p.cut_after(1 << 20)
            for client in clients:
                with contextlib.suppress(ConnectionError):
                    await client.send("PING")
            await asyncio.sleep(0.01)
            await stack.pop_all().aclose()
            assert p.open == 0
            assert not p._links
            for client in clients:
                with contextlib.suppress(OSError):
                    while await client.reader.read(1 << 20):
                        pass
                client.writer.close()
                with contextlib.suppress(OSError):
                    await client.writer.wait_closed()

    run(main)


def test_a_given_port_and_a_taken_one(run: Run, real: Server) -> None:
    async def main() -> None:
        async with Proxy(real.host, real.port) as p:
            with pytest.raises(OSError, match="in use"):
                await Proxy(real.host, real.port, listen_port=p.port).__aenter__()
            port = p.port
        async with Proxy(real.host, real.port, listen_port=port) as p, connect(p) as c:
            assert p.port == port
            assert await c.call("PING") == PONG

    run(main)


def test_a_client_without_a_loop(run: Run, real: Server) -> None:
    def client(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(PING)
            return connection.recv(100)

    async def main() -> None:
        async with Proxy(real.host, real.port) as p:
            assert await asyncio.gather(*(asyncio.to_thread(client, p.port) for _ in range(5))) == [PONG] * 5

    run(main)
