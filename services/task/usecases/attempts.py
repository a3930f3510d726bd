"""What agents want: keep their leases, and report what became of their tasks."""

from __future__ import annotations

from collections.abc import Sequence

from services.task.domain.reports import Outcome, Receipt
from services.task.domain.retries import Backoff
from services.task.domain.task import Agent, Lease
from services.task.engine.operations.look import Look
from services.task.engine.operations.report import Renew, Renewed, Report
from services.task.engine.writer import Writer


class Attempts:
    """Records what agents report, fenced by epochs, and renews their leases."""

    def __init__(self, writer: Writer, backoff: Backoff) -> None:
        self._writer = writer
        self._backoff = backoff

    async def report(
        self, agent: Agent, outcomes: Sequence[tuple[Lease, Outcome]]
    ) -> list[Receipt]:
        """Record what became of tasks; when this returns, it is durable.

        A report on a lease that is lost is refused. A terminal report that comes
        again is accepted again, without effect.
        """
        report = Report(agent.tenant, agent.id, outcomes, self._backoff)
        receipts: list[Receipt] = await self._writer.do(report, weight=len(outcomes))
        return receipts

    async def look(self) -> None:
        """Return once free seats have been looked at, and what there was has been given out."""
        await self._writer.do(Look())

    async def renew(self, agent: Agent, leases: Sequence[Lease]) -> Renewed:
        """Prolong the leases that the agent still holds, and return them."""
        renewed: Renewed = await self._writer.do(Renew(agent.tenant, agent.id, leases))
        return renewed
