"""The load generator: processes of its own that send prepared requests, each over its share of the connections."""

import contextlib
import multiprocessing
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import uvloop

from bench.connections import Exchange, Load, Sent, UnexpectedAnswer

_GO = "go"
_CONNECTED = "connected"
_ENDS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the processes together have sent.

    Attributes:
        elapsed_s: from the first request of any to the last answer of any.
        latencies_ns: of every request.
        answers: the bodies in the order of the requests, where they were wanted.
        cpu_s: of all of them.
    """

    elapsed_s: float
    latencies_ns: "array[int]"
    answers: Sequence[bytes]
    cpu_s: float


class Generator:
    """Sends loads; made by `generating`.

    Args:
        processes: with the pipe to each.
    """

    def __init__(self, processes: Sequence[tuple[BaseProcess, Connection]]) -> None:
        self._pipes = [pipe for _, pipe in processes]

    def send(self, load: Load, *, when_connected: Callable[[], object] = lambda: None) -> Outcome:
        """Send a load and wait for its last answer.

        Args:
            load: what to send.
            when_connected: is called with every connection open, before the first request.

        Raises:
            UnexpectedAnswer: a server did not answer as it has to.
        """
        parts = shares(load, len(self._pipes))
        pipes = self._pipes[: len(parts)]
        for pipe, share in zip(pipes, parts, strict=True):
            pipe.send(share)
        for pipe in pipes:
            _received(pipe)
        when_connected()
        for pipe in pipes:
            pipe.send(_GO)
        sent = [_received(pipe) for pipe in pipes]
        return _joined([one for one in sent if isinstance(one, Sent)], load)


def shares(load: Load, processes: int) -> Sequence[Load]:
    """Divide a load: each process gets every n-th request and as many of the connections, none without any."""
    count = min(processes, load.connections, len(load.requests))
    return [
        replace(
            load,
            requests=load.requests[number::count],
            connections=(load.connections + count - 1 - number) // count,
        )
        for number in range(count)
    ]


@contextmanager
def generating(processes: int) -> Iterator[Generator]:
    """Keep so many processes ready to send, until the end of the block; they run where this one may run now."""
    started = []
    spawn = multiprocessing.get_context("spawn")  # a process forked from this one would share its pipes
    try:
        for _ in range(processes):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            started.append((process, ours))
        yield Generator(started)
    finally:
        for process, pipe in started:
            pipe.close()
            process.join(_ENDS_WITHIN_S)
            process.kill()


def _serve(pipe: Connection) -> None:
    """Send one load after the other, as the parent asks, until it closes the pipe."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            load: Load = pipe.recv()
            try:
                pipe.send(uvloop.run(_send(load, pipe)))
            except (UnexpectedAnswer, OSError) as error:
                pipe.send(UnexpectedAnswer(str(error)))


async def _send(load: Load, pipe: Connection) -> Sent:
    exchange = Exchange(load)
    await exchange.connect()
    pipe.send(_CONNECTED)
    pipe.recv()  # the loop has nothing else to do
    return await exchange.send()


def _received(pipe: Connection) -> Sent | str:
    try:
        received: Sent | str | UnexpectedAnswer = pipe.recv()
    except EOFError:
        raise UnexpectedAnswer("a process of the generator has ended") from None
    if isinstance(received, UnexpectedAnswer):
        raise received
    return received


def _joined(sent: Sequence[Sent], load: Load) -> Outcome:
    latencies_ns = array("q")
    for one in sent:
        latencies_ns.extend(one.latencies_ns)
    answers = [b""] * len(load.requests) if load.keeps_answers else []
    for number, one in enumerate(sent):
        if load.keeps_answers:
            answers[number :: len(sent)] = one.answers
    return Outcome(
        elapsed_s=(max(one.ended_ns for one in sent) - min(one.begun_ns for one in sent)) / 1e9,
        latencies_ns=latencies_ns,
        answers=answers,
        cpu_s=sum(one.cpu_s for one in sent),
    )
