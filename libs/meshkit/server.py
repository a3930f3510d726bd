"""A gRPC server as every service runs it: guarded, healthy, drained."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, Self

import grpc
import structlog
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from meshkit.audit import Recorder
from meshkit.errors import DomainError
from meshkit.interceptors.audit import Audit
from meshkit.interceptors.authenticate import Authenticate
from meshkit.interceptors.authorize import Authorize
from meshkit.interceptors.chain import Chain
from meshkit.interceptors.deadline import Deadline
from meshkit.interceptors.errors import Errors
from meshkit.interceptors.limit import Limit
from meshkit.interceptors.observe import Observe
from meshkit.interceptors.trace import Trace
from meshkit.interceptors.validate import Validate
from meshkit.limits.limiter import Limiter
from meshkit.security.credentials import CredentialVerifier
from meshkit.security.rules import Rule, rules_of
from meshkit.settings import GrpcSettings

log = structlog.get_logger()

LIVE: Final = "live"
"""Health service name that answers SERVING while the process runs, whatever it depends on."""

_CHECK_INTERVAL = 2.0
_HEALTH_PATIENCE = 1.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

Readiness = Callable[[], Awaitable[None]]
"""Raises if something that the service can't work without is away."""


class AddressInUse(Exception):
    """The server can't listen where it was told to."""


class Server:
    """Serves the services added to it until it is told to stop.

    The service calls the server, never the other way round: build, `add` each
    servicer, `serve`. A method without a declared rule keeps it from starting.
    Decisions are put on record if there is a recorder, which starts and stops with it.
    Callers are held to their rate limits if there is a limiter.
    """

    def __init__(
        self,
        settings: GrpcSettings,
        *,
        verifier: CredentialVerifier,
        outermost: Sequence[aio.ServerInterceptor] = (),
        log_calls: bool = False,
        readiness: Sequence[Readiness] = (),
        recorder: Recorder | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._readiness = readiness
        self._rules: dict[str, Rule] = {}
        self._services: list[str] = []
        self._stopping = asyncio.Event()
        self._draining: list[Callable[[], Awaitable[None]]] = []
        self._health = health.aio.HealthServicer()
        self.port = 0
        audit = None if recorder is None else Audit(recorder, self._rules)
        self._chain = Chain(
            [
                Trace(recorded=bool(outermost)),
                Observe(log_calls=log_calls),
                Errors(None if audit is None else audit.refused),
                Deadline(settings),
                # Around all that may refuse the caller, so that refusals are on record.
                *([] if audit is None else [audit]),
                Authenticate(verifier, self._rules),
                *([] if limiter is None else [Limit(limiter)]),
                Authorize(self._rules),
                Validate(max_bytes=settings.max_request_bytes),
            ]
        )
        self._server = aio.server(
            interceptors=outermost,
            options=_options(settings),
            maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
        )

    def add(self, register: Callable[[Any, Any], None], servicer: object) -> Self:
        """Add a servicer by its generated `add_…Servicer_to_server`.

        Raises:
            UnguardedMethod: If one of its methods declares no rule.
        """
        registrar = _Registrar(self._server, self._chain)
        register(servicer, registrar)
        self._rules.update(rules_of(registrar.services))
        self._services.extend(registrar.services)
        return self

    def on_drain(self, action: Callable[[], Awaitable[None]]) -> Self:
        """Have `action` run when draining begins, while running calls go on."""
        self._draining.append(action)
        return self

    async def start(self) -> None:
        """Listen, and report SERVING once what the service depends on is there.

        Raises:
            AddressInUse: Somebody else listens there.
        """
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if self._settings.reflection:
            reflection.enable_server_reflection(
                [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
            )
        address = f"{self._settings.host}:{self._settings.port}"
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise AddressInUse(f"can't listen on {address}: is another process there?") from error
        if self._recorder is not None:
            self._recorder.start()
        await self._set_health(_NOT_SERVING)
        await self._health.set(LIVE, _SERVING)
        await self._server.start()
        await self._check_readiness()
        log.info("listening", address=f"{self._settings.host}:{self.port}")

    async def serve(self, beside: Iterable[Coroutine[Any, Any, None]] = ()) -> None:
        """Start, serve until SIGTERM, SIGINT or `stop`, then drain.

        A second signal ends running calls at once. `beside` runs while the server
        does and is cancelled after the drain. If any of it ends, the server drains; if
        it failed, so does `serve`, for a service that has lost a part of its work is
        better started anew.
        """
        self._on_signals(self.stop)
        tasks = [asyncio.create_task(each) for each in (self._watch_readiness(), *beside)]
        for task in tasks:
            task.add_done_callback(lambda _: self.stop())
        try:
            await self.start()
            await self._stopping.wait()
            self._on_signals(self._hurry)
            await self.drain()
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def stop(self) -> None:
        """Have `serve` drain and return."""
        self._stopping.set()

    async def drain(self) -> None:
        """Turn callers away, let running calls end, stop.

        Health turns first and the listener stays for `drain_delay`, so that no
        caller that has not yet heard of it is refused.
        """
        log.info("draining")
        self._stopping.set()
        await self._set_health(_NOT_SERVING)
        actions = (action() for action in self._draining)
        for outcome in await asyncio.gather(*actions, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("an action of the drain failed", exc_info=outcome)
        await asyncio.sleep(self._settings.drain_delay)
        await _within_patience(self._health.enter_graceful_shutdown())
        await self._server.stop(self._settings.grace)
        if self._recorder is not None:
            await self._recorder.stop()
        log.info("stopped")

    def _on_signals(self, action: Callable[[], None]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, action)

    def _hurry(self) -> None:
        log.warning("stopping at once")
        self._hurried = asyncio.ensure_future(self._server.stop(None))

    async def _watch_readiness(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_INTERVAL)
            await self._check_readiness()

    async def _check_readiness(self) -> None:
        status: Any = _SERVING
        try:
            for check in self._readiness:
                await check()
        except DomainError as error:
            log.warning("not ready", cause=error.message)
            status = _NOT_SERVING
        # A draining server must not call back the callers that it has turned away.
        if not self._stopping.is_set():
            await self._set_health(status)

    async def _set_health(self, status: Any) -> None:
        services = ("", *self._services)
        await asyncio.gather(
            *(_within_patience(self._health.set(service, status)) for service in services)
        )


async def _within_patience(change: Coroutine[Any, Any, None]) -> None:
    try:
        # A stuck health watcher holds the servicer's lock.
        await asyncio.wait_for(change, _HEALTH_PATIENCE)
    except TimeoutError:
        log.warning("a health watcher did not let go")


class _Registrar:
    """Stands in for the server while a servicer is registered: puts its methods behind the chain.

    gRPC's own way, an interceptor that is asked for the handler at each call, costs more.
    """

    def __init__(self, server: aio.Server, chain: Chain) -> None:
        self._server = server
        self._chain = chain
        self.services: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        for handler in handlers:
            if isinstance(handler, grpc.ServiceRpcHandler):
                self.services.append(str(handler.service_name()))
        self._server.add_generic_rpc_handlers([_Guarded(each, self._chain) for each in handlers])

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        guarded = {
            name: self._chain.guarded(f"/{service}/{name}", handler)
            for name, handler in handlers.items()
        }
        self._server.add_registered_method_handlers(service, guarded)


class _Guarded(grpc.GenericRpcHandler):
    """Finds the same handlers as another, behind the chain."""

    def __init__(self, open_: grpc.GenericRpcHandler, chain: Chain) -> None:
        self._open = open_
        self._chain = chain
        self._found: dict[str, Any] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        found = self._found.get(method)
        if found is None:
            handler = self._open.service(handler_call_details)
            if handler is None:
                return None
            found = self._found[method] = self._chain.guarded(method, handler)
        return found


def _options(settings: GrpcSettings) -> list[tuple[str, int]]:
    # The message bound is the validator's, whose error says more; gRPC's is a net above it.
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", 4 * settings.max_request_bytes),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        ("grpc.max_metadata_size", 16 * 1024),
        # A peer that is gone without a word is noticed within 15 s. With less patience than 5 s,
        # two thousand that connect at once to a busy machine are taken for gone.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.ping_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 3),
    ]
