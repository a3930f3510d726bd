"""What can go wrong in the tool catalogue."""

from __future__ import annotations

from meshkit.errors import AlreadyExists, InvalidArgument, NotFound


class ToolNotFound(NotFound):
    """No such tool in the caller's tenant."""

    reason = "TOOL_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no tool with this id.", field="tool_id")


class ToolExists(AlreadyExists):
    """A tool that has this version already."""

    reason = "TOOL_EXISTS"

    def __init__(self, name: str, version: str) -> None:
        super().__init__(
            f"The tool {name!r} has a version {version} already; choose another version.",
            field="tool.version",
        )


class SchemaInvalid(InvalidArgument):
    """A schema that is not JSON Schema 2020-12, or not one the catalogue accepts."""

    reason = "SCHEMA_INVALID"

    def __init__(self, field: str, path: str, problem: str) -> None:
        super().__init__(f"The schema is wrong at {path}: {problem}", field=field)
