"""Who takes part: its library, its way of creating tasks, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

POSTGRES: Final = "postgres"
REDIS: Final = "redis"
REDIS_FSYNC: Final = "redis-fsync"
MESH: Final = "mesh"

ON_DISK: Final = "yes: in PostgreSQL, synced at each commit"
IN_MEMORY: Final = "no: in Redis' memory"
APPENDED: Final = "yes: in Redis' log, synced at each write"


@dataclass(frozen=True)
class Contender:
    """One line of the table.

    Attributes:
        name: In the table and for `--only`.
        module: Of `bench.peers`.
        store: Where its tasks are.
        durable: Whether an accepted task outlives a crash of the machine, in words.
        done: What counts as the completion of a task.
        variant: Which way of the module's.
        requirements: Of its virtual environment; none for this repository's own.
        in_flight: Most creations at a time; one for a producer that blocks or sends batches.
    """

    name: str
    module: str
    store: str
    durable: str
    done: str
    variant: str = "default"
    requirements: tuple[str, ...] = ()
    in_flight: int = 128

    @property
    def is_mesh(self) -> bool:
        """Tell whether it is ours."""
        return self.store == MESH


PROCRASTINATE: Final = ("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9", "uvloop==0.23.0")
PGQUEUER: Final = ("pgqueuer==1.6.0", "asyncpg==0.32.0", "uvloop==0.23.0")
DBOS: Final = ("dbos==3.4.0", "psycopg[binary]==3.3.9", "uvloop==0.23.0")
SAQ: Final = (
    "saq[postgres,redis,hiredis]==0.26.4",
    "psycopg[binary,pool]==3.3.9",
    "uvloop==0.23.0",
)
CELERY: Final = ("celery[redis]==5.7.0", "hiredis==3.5.0")
DRAMATIQ: Final = ("dramatiq[redis]==2.2.1", "hiredis==3.5.0")
TASKIQ: Final = ("taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis==3.5.0", "uvloop==0.23.0")


def _in_postgres(
    name: str, module: str, requirements: tuple[str, ...], variant: str, in_flight: int = 128
) -> Contender:
    return Contender(
        name, module, POSTGRES, ON_DISK, "status in the table", variant, requirements, in_flight
    )


def _in_redis(
    name: str,
    module: str,
    requirements: tuple[str, ...],
    *,
    variant: str = "default",
    fsync: bool = False,
    in_flight: int = 128,
    done: str = "run",
) -> Contender:
    store, durable = (REDIS_FSYNC, APPENDED) if fsync else (REDIS, IN_MEMORY)
    return Contender(name, module, store, durable, done, variant, requirements, in_flight)


def _of_mesh(name: str, variant: str, in_flight: int = 128) -> Contender:
    return Contender(
        name, "agentmesh", MESH, ON_DISK, "state in the table", variant, in_flight=in_flight
    )


CONTENDERS: Final = (
    _of_mesh("agentmesh single by gateway", "single-gateway"),
    _of_mesh("agentmesh single", "single-direct"),
    _of_mesh("agentmesh unary by gateway", "unary-gateway"),
    _of_mesh("agentmesh unary", "unary-direct"),
    _of_mesh("agentmesh bulk by gateway", "bulk-gateway"),
    _of_mesh("agentmesh bulk", "bulk-direct"),
    _in_postgres("procrastinate", "procrastinate", PROCRASTINATE, "single"),
    _in_postgres("procrastinate bulk", "procrastinate", PROCRASTINATE, "bulk", 1),
    _in_postgres("pgqueuer", "pgqueuer", PGQUEUER, "single"),
    _in_postgres("pgqueuer bulk", "pgqueuer", PGQUEUER, "bulk", 1),
    _in_postgres("dbos start", "dbos", DBOS, "start"),
    _in_postgres("dbos queue", "dbos", DBOS, "queue"),
    _in_postgres("saq postgres", "saq", SAQ, "postgres"),
    _in_redis("celery", "celery", CELERY, in_flight=1),
    _in_redis("dramatiq", "dramatiq", DRAMATIQ, in_flight=1),
    _in_redis("saq redis", "saq", SAQ, variant="redis", done="run"),
    _in_redis("taskiq", "taskiq", TASKIQ),
    _in_redis("celery late", "celery", CELERY, variant="late", fsync=True, in_flight=1),
    _in_redis("taskiq fsync", "taskiq", TASKIQ, fsync=True),
)
