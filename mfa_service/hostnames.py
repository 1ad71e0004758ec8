"""Addresses of host names, by the system's own resolver, such that no process waits at its end for an answer.

`loop.getaddrinfo` asks in threads that are joined when the loop or the interpreter ends, be it asyncio's or uvloop's: a
name server that is silent holds up the end of a process, and its start where that opens and closes a loop first.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

LookUp = Callable[..., list[tuple[Any, ...]]]
"""Returns the addresses of a host, as `socket.getaddrinfo` does, however long that takes."""

_WITHIN_S: Final = 5.0
_MOST_THREADS: Final = 4
_NUMERIC: Final = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class HostNames(AbstractResolver):
    """Looks up host names, each in a thread that nothing waits for at the end.

    A look-up that nobody waits for any longer keeps its thread until the system gives up; while all threads are kept
    so, every further name is out of reach.

    Args:
        look_up: asks the system.
        within_s: for one name, in seconds.
        most_threads: at once.
    """

    def __init__(
        self, look_up: LookUp = socket.getaddrinfo, *, within_s: float = _WITHIN_S, most_threads: int = _MOST_THREADS
    ) -> None:
        self._look_up = look_up
        self._within_s = within_s
        self._free = threading.BoundedSemaphore(most_threads)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: it has none, or no thread is free; a TimeoutError: no answer came in time.
        """
        if not self._free.acquire(blocking=False):
            raise OSError("too many names are being looked up")
        found: Future[list[ResolveResult]] = Future()
        found.set_running_or_notify_cancel()  # whoever stops waiting does not take from the thread what it answers to
        thread = threading.Thread(target=self._answer, args=(found, host, port, family), name="host names", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._free.release()
            raise OSError("no thread can be started") from None
        async with asyncio.timeout(self._within_s):
            return await asyncio.wrap_future(found)

    async def close(self) -> None:
        """Return at once: threads end by themselves, or with the process."""

    def _answer(self, found: Future[list[ResolveResult]], host: str, port: int, family: socket.AddressFamily) -> None:
        try:
            asked = self._look_up(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
            addresses = [_result(host, *one) for one in asked]
        except Exception as error:  # noqa: BLE001  whatever it is, it is raised where the answer is awaited
            self._free.release()
            found.set_exception(error)
        else:
            self._free.release()
            found.set_result(addresses)


def _result(host: str, family: int, _type: int, proto: int, _name: str, address: tuple[Any, ...]) -> ResolveResult:
    numeric, port = socket.getnameinfo(address, _NUMERIC)  # asks nobody; an IPv6 address may have a zone
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=numeric, port=int(port), family=family, proto=proto, flags=flags)
