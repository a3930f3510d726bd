"""What agents want: keep their leases, and report what became of their tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from meshkit.errors import DomainError, InvalidArgument, Unavailable
from services.task.domain.reports import Malformed, Outcome, Receipt
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

        A report on a lease that is lost is refused, and one that makes no sense, each by
        itself. A terminal report that comes again is accepted again, without effect.

        Raises:
            Unavailable: The database is away; all may be reported again.
        """
        sound = [each for each in outcomes if not isinstance(each[1], Malformed)]
        recorded = iter(await self._record(agent, sound) if sound else ())
        return [
            _refused(lease, InvalidArgument(outcome.problem))
            if isinstance(outcome, Malformed)
            else next(recorded)
            for lease, outcome in outcomes
        ]

    async def _record(
        self, agent: Agent, outcomes: Sequence[tuple[Lease, Outcome]]
    ) -> Sequence[Receipt]:
        report = Report(agent.tenant, agent.id, outcomes, self._backoff)
        try:
            receipts: list[Receipt] = await self._writer.do(report, weight=len(outcomes))
        except Unavailable:
            raise
        except DomainError as refusal:
            if len(outcomes) == 1:
                return [_refused(outcomes[0][0], refusal)]
            # What is wrong with one must not keep the others out.
            apart = await asyncio.gather(*(self._record(agent, [each]) for each in outcomes))
            return [receipt for [receipt] in apart]
        return receipts

    async def look(self) -> None:
        """Return once free seats have been looked at, and what there was has been given out."""
        await self._writer.do(Look())

    async def renew(self, agent: Agent, leases: Sequence[Lease]) -> Renewed:
        """Prolong the leases that the agent still holds, and return them."""
        renewed: Renewed = await self._writer.do(Renew(agent.tenant, agent.id, leases))
        return renewed


def _refused(lease: Lease, refusal: DomainError) -> Receipt:
    return Receipt(lease, accepted=False, reason=refusal.reason, message=refusal.message)
