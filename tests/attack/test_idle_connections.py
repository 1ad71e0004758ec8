"""What connections cost on which nothing is asked."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.attack.cases import attack
from tests.attack.scale import IS_FULL
from tests.fault.resources import most_open_files, open_files, resident_mib
from tests.fault.worker_node import started
from tests.unit.web.stand_ins import Wire

CONNECTIONS = 10_000 if IS_FULL else 1_000  # of fewer, none would be seen among what else a process takes
MOST_KIB = 32
REQUEST = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: mfa.example\r\n\r\n"


@attack("H-11")
async def test_an_idle_connection_takes_little_memory(tmp_path: Path) -> None:
    assert most_open_files() > CONNECTIONS + 100, "a process may not have as many open files here"
    with started(tmp_path, {}) as node, open_files(CONNECTIONS + 100):
        [pid] = await asyncio.to_thread(node.await_workers, 1, besides=frozenset())
        async with AsyncExitStack() as stack:
            first = await opened(stack, node.port, 50)
            before_mib = resident_mib(pid)
            others = await opened(stack, node.port, CONNECTIONS)
            grown_kib = (resident_mib(pid) - before_mib) * 1024
            assert grown_kib / CONNECTIONS < MOST_KIB
            for wire in (first[0], others[0], others[-1]):  # they are still of use
                await answered(wire)


async def opened(stack: AsyncExitStack, port: int, count: int) -> list[Wire]:
    """Connections that end with the stack, each idle after a request."""
    wires = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(writer.close)
        wires.append(Wire(reader, writer))
        await answered(wires[-1])
    return wires


async def answered(wire: Wire) -> None:
    """Have a request answered."""
    await wire.send(REQUEST)
    assert (await wire.response()).status == 200
