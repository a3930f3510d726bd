"""What a JSON body may be, and what is said of one that isn't."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.gateway.answers import expected
from tests.integration.gateway.backend import Backend

UNKNOWN = ("UNKNOWN_FIELD", "The request body has a field that does not exist.")
WRONG = ("INVALID_ARGUMENT", "The request body has a value of the wrong type.")
BODIES = {"tasks": "task", "agents": "agent"}  # the request field that the body is
INT32 = "must be a 32-bit integer"


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        ("tasks", '{"labelz":{}}', (UNKNOWN, ("labelz", "no such field"))),
        ("tasks", '{"lab\\u0065lz":{}}', (UNKNOWN, ("labelz", "no such field"))),
        ("tasks", '{"capabil\\\\u0069ty":1}', (UNKNOWN, ("capabil\\u0069ty", "no such field"))),
        ("tasks", '{"\\"é":1}', (UNKNOWN, ('"??', "no such field"))),
        ("tasks", '{"progress":{"percent":1}}', (UNKNOWN, ("progress.percent", "no such field"))),
        (
            "agents",
            '{"capabilities":[{"name":"a"},{"nam":"b"}]}',
            (UNKNOWN, ("capabilities[1].nam", "no such field")),
        ),
        (
            "invocations:batchCreate",
            '{"invocations":[{"x":1}]}',
            (UNKNOWN, ("invocations[0].x", "no such field")),
        ),
        ("tasks", '{"priority":"high"}', (WRONG, ("priority", INT32))),
        ("tasks", '{"priority":1.5}', (WRONG, ("priority", INT32))),
        ("tasks", '{"priority":2147483648}', (WRONG, ("priority", INT32))),
        ("tasks", '{"priority":true}', (WRONG, ("priority", INT32))),
        ("tasks", '{"priority":[1]}', (WRONG, ("priority", INT32))),
        ("tasks", '{"capability":7}', (WRONG, ("capability", "must be a string"))),
        ("tasks", '{"capability":{}}', (WRONG, ("capability", "must be a string"))),
        ("tasks", '{"input":"text"}', (WRONG, ("input", "must be an object"))),
        ("tasks", '{"input":[]}', (WRONG, ("input", "must be an object"))),
        ("tasks", '{"labels":{"a":1}}', (WRONG, ("labels.a", "must be a string"))),
        ("tasks", '{"labels":["a"]}', (WRONG, ("labels", "must be an object"))),
        ("tasks", '{"progress":3}', (WRONG, ("progress", "must be an object"))),
        (
            "tasks",
            '{"progress":{"fraction":"x"}}',
            (WRONG, ("progress.fraction", "must be a number")),
        ),
        (
            "tasks",
            '{"state":"DONE"}',
            (WRONG, ("state", "must be the name or number of an enum value")),
        ),
        (
            "tasks",
            '{"createTime":"yesterday"}',
            (WRONG, ("createTime", 'must be a time such as "2030-01-31T12:00:00Z"')),
        ),
        (
            "invocations:batchCreate",
            '{"invocations":[{"latency":"fast"}]}',
            (WRONG, ("invocations[0].latency", 'must be a duration in seconds such as "1.5s"')),
        ),
        ("agents", '{"capabilities":{}}', (WRONG, ("capabilities", "must be an array"))),
        ("agents", '{"capabilities":"a"}', (WRONG, ("capabilities", "must be an array"))),
        ("agents/1:heartbeat", '{"leaving":"no"}', (WRONG, ("leaving", "must be true or false"))),
        ("tasks", "[]", (WRONG, ("", "must be an object"))),
        ("tasks", "null", (WRONG, ("", "must be an object"))),
        ("tasks", '"x"', (WRONG, ("", "must be an object"))),
        (
            "tasks",
            '{"input":' + '{"a":' * 32 + "1" + "}" * 33,
            (
                ("INVALID_ARGUMENT", "The request body is nested too deeply."),
                ("input" + ".a" * 32, "nested deeper than 32 levels"),
            ),
        ),
    ],
)
async def test_fields_that_do_not_fit(
    http: httpx.AsyncClient,
    backend: Backend,
    path: str,
    body: str,
    fault: tuple[tuple[str, str], tuple[str, str]],
) -> None:
    response = await http.post(f"/api/v1/{path}", content=body.encode())
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    where = ".".join(part for part in (BODIES.get(path), fault[1][0]) if part)
    assert response.json() == expected(response, 3, *fault[0], field=(where, fault[1][1]))
    assert not backend.calls


@pytest.mark.parametrize(
    "body",
    [
        '{"createTime":"2026-01-01T00:00:00.' + "1" * 150_000 + '"}',
        '{"priority":"' + "1" * 150_000 + 'x"}',
        '{"capability":"' + "\\n" * 70_000 + '\\x"}',
        '{"input":{"a":' + "[" * 150_000,
        '{"' + "a" * 150_000 + '":1}',
    ],
)
async def test_hostile_bodies_are_refused_with_few_words(
    http: httpx.AsyncClient, body: str
) -> None:
    response = await http.post("/api/v1/tasks", content=body.encode())
    assert response.status_code == 400
    assert len(response.content) < 1000


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "a field name in quotes but the body ends."),
        (" ", "a value but the body ends."),
        ('{"input"}', "a colon at byte 9."),
        ('{"input":{"a":1}', "a comma or the end of the object but the body ends."),
        ('{"input":{"a":[1 2]}}', "a comma or the end of the array at byte 18."),
        ('{"input":{"a":[1,]}}', "a value at byte 18."),
        ('{"priority":1,}', "a field name in quotes at byte 15."),
        ('{"priority":01}', "a number without leading zeros at byte 13."),
        ('{"priority":1.}', "a digit at byte 15."),
        ('{"priority":-}', "a digit at byte 14."),
        ('{"priority":1e}', "a digit at byte 15."),
        ('{"input":nul}', "a value at byte 10."),
        ('{"input":{"a":tru}}', "a value at byte 15."),
        ('{"capability":"a', "the end of a string but the body ends."),
        ('{"capability":"\\x"}', "a valid escape at byte 16."),
        ('{"capability":"\\u12"}', "a valid escape at byte 16."),
        ("{} {}", "the end of the body at byte 4."),
        ("a=1&b=2", "a value at byte 1."),
        ("{'input':1}", "a field name in quotes at byte 2."),
    ],
)
async def test_malformed_json(
    http: httpx.AsyncClient, backend: Backend, body: str, why: str
) -> None:
    response = await http.post("/api/v1/tasks", content=body.encode())
    assert response.status_code == 400
    message = f"The request body is not valid JSON: expected {why}"
    assert response.json() == expected(response, 3, "MALFORMED_JSON", message)
    assert not backend.calls


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        ' {"capability" : "a" , "priority":\n3 } ',
        '{"maxAttempts":3}',
        '{"max_attempts":3}',
        '{"max_attempts":"3"}',
        '{"priority":1e0}',
        '{"priority":-0}',
        '{"priority":null,"labels":null,"input":null,"error":null,"createTime":null,"state":null}',
        '{"state":"TASK_STATE_QUEUED"}',
        '{"state":1}',
        '{"input":{}}',
        '{"input":{"a":[1,-2.5e-3,"x",true,false,null,{"b":[]}],"":"","\\u00e9\\ud83d\\ude00":1}}',
        '{"result":[1,{"a":null}]}',
        '{"result":"text"}',
        '{"result":-1.5E+3}',
        '{"labels":{"a":"b","c":"\\"\\\\\\n"}}',
        '{"progress":{"fraction":"0.5"}}',
        '{"progress":{"fraction":"NaN"}}',
        '{"createTime":"2026-01-01T00:00:00.5+02:00"}',
        '{"capabil\\u0069ty":"x"}',
        '{"input":' + '{"a":' * 31 + "1" + "}" * 32,
    ],
)
async def test_json_that_fits(http: httpx.AsyncClient, backend: Backend, body: str) -> None:
    content = {"content-type": "application/x-www-form-urlencoded"}  # whatever it claims to be
    response = await http.post("/api/v1/tasks", content=body.encode(), headers=content)
    assert response.status_code == 200, response.text
    assert backend.last.method == "CreateTask"
