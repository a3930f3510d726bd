"""The sample agents compute what they say."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

import pytest

from agentmesh import TaskContext, TaskFailed
from agentmesh.demo.agents import facts, table, words
from agentmesh.demo.samples import TABLES, TEXTS
from mesh.task.v1 import dispatch_service_pb2
from tests.unit.demo.listening import Listening
from tests.unit.demo.tasks import make_task


def context(voice: Listening | None = None, attempt: int = 1) -> TaskContext:
    task = make_task("RUNNING", capability="any", attempt=attempt).to_proto()
    return TaskContext(dispatch_service_pb2.Assignment(task=task), voice or Listening())


def test_a_fact_stands_on_the_line_it_names() -> None:
    for fact in facts.find(facts.Query("river sea", limit=100)):
        line = TEXTS[fact.file].read_text(encoding="utf-8").splitlines()[fact.line - 1]
        assert fact.sentence.split()[0] in line


def test_facts_are_ranked_by_the_words_they_share_with_the_query() -> None:
    found = facts.find(facts.Query("longest river in Asia", limit=100))
    assert found[0].sentence == "The Yangtze is the longest river in Asia."
    assert found[0].score == 1
    assert [fact.score for fact in found] == sorted((f.score for f in found), reverse=True)


@pytest.mark.parametrize(
    ("query", "type_"),
    [
        (facts.Query("  ?! "), "EmptyQuery"),
        (facts.Query("river", ["../script.py"]), "FileNotFound"),
    ],
)
def test_a_query_that_cannot_be_answered_is_not_tried_again(query: facts.Query, type_: str) -> None:
    with pytest.raises(TaskFailed) as caught:
        facts.find(query)
    assert (caught.value.type, caught.value.retryable) == (type_, False)


def test_words_are_counted_without_regard_to_case_and_signs() -> None:
    counted = words.count(context(), words.Text("The cat; the DOG (the end)", most=1))
    assert (counted.words, counted.distinct) == (6, 4)
    assert counted.most_frequent == [words.Frequency("the", 3)]


def test_hiccups_fail_the_first_attempts_only() -> None:
    text = words.Text("one", hiccups=2)
    for attempt in (1, 2):
        with pytest.raises(ConnectionError):
            words.count(context(attempt=attempt), text)
    assert words.count(context(attempt=3), text).words == 1


@pytest.mark.parametrize(
    ("left", "right", "likeness"),
    [
        ("a b", "b a", words.Likeness(2, 1.0, 1.0)),
        ("a b", "b c", words.Likeness(1, 0.333, 0.5)),
        ("a", "b", words.Likeness(0, 0.0, 0.0)),
        ("", "", words.Likeness(0, 0.0, 0.0)),
    ],
)
def test_texts_are_compared(left: str, right: str, likeness: words.Likeness) -> None:
    assert words.compare(words.Pair(left, right)) == likeness


async def test_a_table_is_summarised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("name,size,once\na,1,\nb,,\nc,3, 7\nd,8\n")
    monkeypatch.setattr(table, "TABLES", {"t.csv": path})
    summary = await table.summarise(context(), table.Job("t.csv"))
    assert summary.rows == 4
    # Neither a column of words nor one with a single number has statistics.
    (size,) = summary.columns
    assert (size.heading, size.count, size.missing) == ("size", 3, 1)
    assert (size.mean, size.median, size.minimum, size.maximum) == (4, 3, 1, 8)
    assert size.stdev == round(statistics.stdev([1, 3, 8]), 3)
    assert size.quartiles == (2, 3, 5.5)


async def test_progress_is_reported_chunk_by_chunk() -> None:
    voice = Listening()
    summary = await table.summarise(context(voice), table.Job("weather.csv", chunk=100))
    assert [each.fraction for each in voice.reports] == [
        min(end, 365) / 365 for end in (100, 200, 300, 400)
    ]
    assert summary.rows == 365


def test_samples_are_shipped() -> None:
    assert Counter(path.suffix for path in (*TEXTS.values(), *TABLES.values())) == {
        ".txt": 3,
        ".csv": 2,
    }
