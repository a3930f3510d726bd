"""Seeing and steering how tasks go out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agentmesh.client.caller import Caller
from agentmesh.policies import Duration
from agentmesh.policy_messages import set_time
from agentmesh.resources import BuildRouting, ConnectionInfo, Pause, Queue
from mesh.task.v1 import queue_service_pb2, queue_service_pb2_grpc


class Queues:
    """The part of a client that sees and steers how tasks go out."""

    _caller: Caller
    _queues: queue_service_pb2_grpc.QueueServiceStub

    async def list_queues(self) -> list[Queue]:
        """Return the capabilities that tasks wait for or run under, by name.

        Raises:
            MeshError: The mesh can't be reached.
        """
        request = queue_service_pb2.ListQueuesRequest()
        answer = await self._caller.call(self._queues.ListQueues, request)
        return [Queue.from_proto(queue) for queue in answer.queues]

    async def pause(
        self,
        *,
        capability: str = "",
        key: str = "",
        agent_id: str = "",
        until: datetime | Duration | None = None,
        reason: str = "",
    ) -> Pause:
        """Keep tasks from going out: of a capability, of a limit's key, or to an agent.

        Running ones go on, and new ones are accepted. A second pause of the same replaces
        the first.

        Args:
            capability: All tasks of it; or
            key: all tasks under a concurrency or rate limit of this key; or
            agent_id: all tasks for this agent.
            until: When it ends by itself, or after how long; None for when it is ended.
            reason: Why, in words.

        Raises:
            ValueError: Not exactly one of the three is given.
            MeshError: The mesh refuses it or can't be reached.
        """
        if sum(map(bool, (capability, key, agent_id))) != 1:
            raise ValueError("a pause is of a capability, a key or an agent_id; give one of them")
        pause = queue_service_pb2.Pause(reason=reason)
        if capability:
            pause.capability = capability
        elif key:
            pause.key = key
        else:
            pause.agent_id = agent_id
        if until is not None:
            set_time(pause.until, _time(until))
        request = queue_service_pb2.CreatePauseRequest(pause=pause)
        return Pause.from_proto(await self._caller.call(self._queues.CreatePause, request))

    async def list_pauses(self) -> list[Pause]:
        """Return the pauses in force, the newest first.

        Raises:
            MeshError: The mesh can't be reached.
        """
        request = queue_service_pb2.ListPausesRequest()
        answer = await self._caller.call(self._queues.ListPauses, request)
        return [Pause.from_proto(pause) for pause in answer.pauses]

    async def end_pause(self, pause: Pause | str) -> None:
        """End a pause, given by itself or its id; what waited goes out.

        Raises:
            MeshError: There is none, or the mesh can't be reached.
        """
        pause_id = pause if isinstance(pause, str) else pause.id
        request = queue_service_pb2.DeletePauseRequest(pause_id=pause_id)
        await self._caller.call(self._queues.DeletePause, request)

    async def route_builds(
        self, capability: str, current: str, *, ramping: str = "", percent: int = 0
    ) -> BuildRouting:
        """Say which builds of the agents' code get the tasks of a capability.

        Args:
            capability: The capability.
            current: Build that gets all tasks but those of the ramping one.
            ramping: Build that gets a share.
            percent: That share, 0 to 100; a task keeps its side as the share grows.

        Raises:
            MeshError: The mesh refuses it or can't be reached.
        """
        routing = queue_service_pb2.BuildRouting(
            capability=capability,
            current_build_id=current,
            ramping_build_id=ramping,
            ramping_percent=percent,
        )
        request = queue_service_pb2.SetBuildRoutingRequest(routing=routing)
        return BuildRouting.from_proto(
            await self._caller.call(self._queues.SetBuildRouting, request)
        )

    async def list_build_routings(self) -> list[BuildRouting]:
        """Return the build routings, by capability.

        Raises:
            MeshError: The mesh can't be reached.
        """
        request = queue_service_pb2.ListBuildRoutingsRequest()
        answer = await self._caller.call(self._queues.ListBuildRoutings, request)
        return [BuildRouting.from_proto(routing) for routing in answer.routings]

    async def end_build_routing(self, capability: str) -> None:
        """Give each build the tasks of a capability again.

        Raises:
            MeshError: The mesh can't be reached.
        """
        request = queue_service_pb2.DeleteBuildRoutingRequest(capability=capability)
        await self._caller.call(self._queues.DeleteBuildRouting, request)

    async def list_connections(self) -> list[ConnectionInfo]:
        """Return the agent processes that are connected now, with what they hold, by name.

        Raises:
            MeshError: The mesh can't be reached.
        """
        request = queue_service_pb2.ListConnectionsRequest()
        answer = await self._caller.call(self._queues.ListConnections, request)
        return [ConnectionInfo.from_proto(connection) for connection in answer.connections]


def _time(until: datetime | Duration) -> datetime:
    if isinstance(until, datetime):
        return until
    span = until if isinstance(until, timedelta) else timedelta(seconds=until)
    return datetime.now(UTC) + span
