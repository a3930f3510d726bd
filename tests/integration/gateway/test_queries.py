"""What a query may be, and what is said of one that isn't."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.gateway.answers import expected
from tests.integration.gateway.backend import Backend

UNKNOWN = ("UNKNOWN_FIELD", "The query has a parameter that does not exist.")
WRONG = ("INVALID_ARGUMENT", "The query has a parameter of the wrong type.")
TASK = "tasks/01a1fc8c-c7d8-7b1c-9fff-4b9a98c64cc5"


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("tasks?bogus=1", (UNKNOWN, ("bogus", "no such parameter"))),
        ("tasks?pageSize=1&bog%75s", (UNKNOWN, ("bogus", "no such parameter"))),
        ("tasks?page_size.deep=1", (UNKNOWN, ("page_size.deep", "no such parameter"))),
        ("tasks?=1", (UNKNOWN, ("", "no such parameter"))),
        ("tasks?page_size=x", (WRONG, ("page_size", "must be a 32-bit integer"))),
        ("tasks?pageSize=2147483648", (WRONG, ("pageSize", "must be a 32-bit integer"))),
        (
            f"{TASK}:watch?afterSequence=soon",
            (WRONG, ("afterSequence", "must be a 64-bit integer, as a number or a string")),
        ),
        (
            "analytics/overview?startTime=yesterday",
            (WRONG, ("startTime", 'must be a time such as "2030-01-31T12:00:00Z"')),
        ),
    ],
)
async def test_queries_that_do_not_fit(
    http: httpx.AsyncClient,
    backend: Backend,
    path: str,
    fault: tuple[tuple[str, str], tuple[str, str]],
) -> None:
    response = await http.get(f"/api/v1/{path}")
    assert response.status_code == 400
    assert response.json() == expected(response, 3, *fault[0], field=fault[1])
    assert not backend.calls


@pytest.mark.parametrize(
    "query",
    [
        "",
        "pageSize=3",
        "page_size=3&pageToken=abc",
        "page%53ize=3",
        "filter=state+%3D+RUNNING",
        "filter=",
        "&&pageSize=3&",
    ],
)
async def test_queries_that_fit(http: httpx.AsyncClient, backend: Backend, query: str) -> None:
    response = await http.get(f"/api/v1/tasks?{query}")
    assert response.status_code == 200, response.text
    assert backend.last.method == "ListTasks"
