"""The web layer on a real socket."""

import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from mfa_service.web.service import Limits, build_service
from tests.clocks import ManualClock
from tests.unit.web.stand_ins import BASE, NOW_MS, Api, Behind, Faults, Serve

LIMITS = Limits()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers, each with its own things behind it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, issuing: bool = True, limits: Limits = LIMITS, **options: object) -> Api:
            behind = Behind()
            counter = itertools.count(1)
            server = build_service(
                **{  # type: ignore[arg-type]  # a stand-in plays every part
                    "base_path": BASE,
                    "clock": ManualClock(NOW_MS),
                    "random_bytes": lambda size: next(counter).to_bytes(size, "big"),
                    "authentication": behind,
                    "registration": behind,
                    "verifier": behind,
                    "issuer": behind if issuing else None,
                    "discovery": behind,
                    "request_log": behind,
                    "fault_log": Faults(behind),
                    "bind_trace_id": behind.bound.append,
                    "limits": limits,
                    **options,
                }
            )
            runner = web.ServerRunner(server, shutdown_timeout=1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            return Api(behind, server, runner.addresses[0][1])

        yield start


@pytest.fixture
async def api(serve: Serve) -> Api:
    """A server with the default limits."""
    return await serve()
