"""An agent that greets. Start a mesh with `agentmesh up`, then run this beside it."""

from agentmesh import Agent

agent = Agent("greeter")


@agent.task("text.greet")
async def greet(person: dict[str, str]) -> str:
    """Greet somebody by name."""
    return f"Hello, {person['name']}!"


agent.run()
