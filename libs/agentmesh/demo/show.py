"""The demo from its first line to its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agentmesh.client import Client
from agentmesh.demo import tables
from agentmesh.demo.crew import Crew
from agentmesh.demo.display import display
from agentmesh.demo.figures import settled_overview
from agentmesh.demo.following import Outcome, run_steps
from agentmesh.demo.mesh import mesh_for_demo
from agentmesh.demo.script import AGENTS, steps
from agentmesh.stack.report import Reporter


async def run_demo(
    data_directory: Path | None, *, port: int, console: Console, reporter: Reporter
) -> bool:
    """Run the demo, and tell whether all went as the script says.

    Raises:
        StackError: There is no mesh to be had, or an agent has ended.
        MeshError: The mesh stays away.
    """
    async with mesh_for_demo(data_directory, port=port, reporter=reporter) as mesh:
        _head(console, f"{len(AGENTS)} agents, each a process of its own, join {mesh.url}")
        async with (
            Client(mesh.url, mesh.admin_key) as client,
            Crew(client, mesh, reporter) as crew,
        ):
            outcomes, differences = await crew.unless_one_ends(_perform(client, console))
    _verdict(console, len(outcomes), differences)
    return not differences


async def _perform(client: Client, console: Console) -> tuple[list[Outcome], list[str]]:
    """Run the tasks, show what came of them, and return all that isn't as it should be."""
    agent_names = {agent.id: agent.name for agent in await client.list_agents()}
    script = steps()
    _head(console, f"{len(script)} tasks")
    with display(console, script, agent_names) as observer:
        outcomes = await run_steps(client, script, observer)
    _head(console, "Results")
    console.print(tables.results(outcomes))
    _head(console, "Who did what")
    console.print(tables.who_did_what(outcomes, agent_names))
    overview, disagreements = await settled_overview(client, outcomes, agent_names)
    _head(console, "Success and latency, by analytics")
    console.print(tables.figures(overview))
    console.print()
    return outcomes, [*_surprises(outcomes), *disagreements]


def _surprises(outcomes: Sequence[Outcome]) -> list[str]:
    return [
        f"{outcome.step.capability} ({outcome.step.title}), task {outcome.task.id}, "
        f"{outcome.difference}"
        for outcome in outcomes
        if outcome.difference
    ]


def _verdict(console: Console, tasks: int, differences: Sequence[str]) -> None:
    console.print()
    if not differences:
        praise = f"All {tasks} tasks ended as expected, and analytics agrees."
        console.print(Text(praise, "bold green"))
        return
    console.print(Text("Not everything went as expected:", "bold red"))
    for difference in differences:
        console.print(Text(f"  {difference}"))


def _head(console: Console, title: str) -> None:
    console.print(Text(f"\n{title}", "bold"))
