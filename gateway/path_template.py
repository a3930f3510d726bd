"""Path templates of HTTP bindings, as regular expressions that Envoy's router matches."""

from __future__ import annotations

import re

VARIABLE = re.compile(r"\{[a-zA-Z0-9_.]+(?:=(?P<pattern>[^}]+))?\}")
# Neither crosses a segment nor swallows a custom verb: `x:cancel` is not an id.
SEGMENT = "[^/:]+"
SEGMENTS = "[^:]+"


def path_regex(template: str) -> str:
    """Translate a template such as `/api/v1/tasks/{task_id}:cancel` to a full-match regex."""
    parts: list[str] = []
    end = 0
    for variable in VARIABLE.finditer(template):
        parts.append(re.escape(template[end : variable.start()]))
        parts.append(variable_regex(variable["pattern"] or "*"))
        end = variable.end()
    parts.append(re.escape(template[end:]))
    return "".join(parts)


def variable_regex(pattern: str) -> str:
    """Translate what a variable may hold: `*` one segment, `**` any number, else literal text."""
    pieces = re.split(r"(\*\*|\*)", pattern)
    wild = {"*": SEGMENT, "**": SEGMENTS}
    return "".join(wild.get(piece, re.escape(piece)) for piece in pieces)


def specificity(template: str) -> tuple[int, int]:
    """Order templates from the most specific: those with the fewest variables, then the longest.

    What a variable is called doesn't count: methods of one path may call it differently.
    """
    return len(VARIABLE.findall(template)), -len(VARIABLE.sub("", template))
