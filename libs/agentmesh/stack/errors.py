"""The errors a user of the stack can do something about."""

from typing import Final

INSTALL_REMEDY: Final = "install it with: pip install 'agentmesh[up]'"


class StackError(Exception):
    """Say what happened and what to do about it; shown to users without a traceback."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
