"""The shape of the gateway's own errors."""

from __future__ import annotations

from typing import Any

import httpx

TYPE = "type.googleapis.com/google.rpc."


def expected(
    response: httpx.Response,
    code: int,
    reason: str,
    message: str,
    *,
    field: tuple[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The body of an error of the gateway itself."""
    info: dict[str, Any] = {"@type": f"{TYPE}ErrorInfo", "reason": reason, "domain": "agentmesh"}
    if metadata:
        info["metadata"] = metadata
    details = [info]
    if field:
        violation = {"field": field[0], "description": field[1]}
        details.append({"@type": f"{TYPE}BadRequest", "fieldViolations": [violation]})
    request_id = response.headers["x-request-id"]
    details.append({"@type": f"{TYPE}RequestInfo", "requestId": request_id})
    return {"code": code, "message": message, "details": details}
