"""CPU time of servers: it tells of them alone, however busy the machine is with other things."""

from __future__ import annotations

import psutil

from bench.mesh_store import MeshStore

SERVERS = ("task", "postgres")


class Processes:
    """The processes of a mesh's task service and its database, with their children."""

    def __init__(self, mesh: MeshStore) -> None:
        self._parents = [psutil.Process(mesh.pid(name)) for name in SERVERS]

    def seconds(self) -> float:
        """Return the CPU time that they have had since they began."""
        children = [child for each in self._parents for child in each.children(recursive=True)]
        return sum(map(_own, [*self._parents, *children])) + sum(map(_of_ended, self._parents))


def _own(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return 0.0


def _of_ended(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[2:4]))
