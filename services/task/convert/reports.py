"""What agents report, made fit to be recorded.

No outcome is lost for the words that come with it: texts are cut to the bounds of the
contract, and what comes beside the outcome is left out if it makes no sense. A report
that is wrong otherwise is refused alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.task.v1 import dispatch_service_pb2 as dispatch
from meshkit.errors import FieldViolation, InvalidArgument
from meshkit.interceptors.validate import violations_of
from services.task.convert.dispatching import lease_from_proto, outcome_from_proto
from services.task.convert.values import MOST_BESIDE, MOST_INLINE, faults_of, may_be_no_json
from services.task.domain.reports import Malformed, Outcome
from services.task.domain.task import Lease

_BESIDE: Final = ("usage", "retry_after")
_NUL: Final = "\0"
_REPLACEMENT: Final = "\ufffd"


def outcomes_of(reports: dispatch.Reports) -> list[tuple[Lease, Outcome]]:
    """Decode what an agent reports, in order.

    Raises:
        InvalidArgument: There are none or too many, or one names no lease, so that it can't
            be answered.
    """
    problems = violations_of(reports)
    if problems:
        _refuse(problem for problem in problems if problem.field == "reports")
        return [_mended(number, each) for number, each in enumerate(reports.reports)]
    if reports.ByteSize() <= MOST_BESIDE and not may_be_no_json(reports.SerializeToString()):
        return [
            (lease_from_proto(each.lease), outcome_from_proto(each)) for each in reports.reports
        ]
    return [(lease_from_proto(each.lease), _outcome(each, [])) for each in reports.reports]


def _mended(number: int, report: dispatch.Report) -> tuple[Lease, Outcome]:
    if problems := violations_of(report):
        _cut(report)
        _leave_out(report, problems)
        problems = violations_of(report)
    _refuse(
        FieldViolation(f"reports[{number}].{problem.field}", problem.description)
        for problem in problems
        if problem.field.startswith("lease")
    )
    return lease_from_proto(report.lease), _outcome(report, problems)


def _outcome(report: dispatch.Report, problems: Sequence[FieldViolation]) -> Outcome:
    for problem in problems or _faults(report):
        return Malformed(f"{problem.field}: {problem.description}")
    return outcome_from_proto(report)


def _faults(report: dispatch.Report) -> Sequence[FieldViolation]:
    # Of these, those that are not there have no bytes.
    return [
        *faults_of("heartbeat.checkpoint", report.heartbeat.checkpoint, MOST_BESIDE),
        *faults_of("pause.details", report.pause.details, MOST_BESIDE),
        *faults_of(
            "completion.result",
            report.completion.result,
            MOST_INLINE,
            remedy="; upload what is larger as a blob, and give that as the payload",
        ),
    ]


def _refuse(problems: Iterable[FieldViolation]) -> None:
    for problem in problems:
        raise InvalidArgument(f"{problem.field}: {problem.description}", violations=(problem,))


def _cut(message: Message) -> None:
    """Cut the texts of a message to their bounds, without what can't be stored."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            bound = field.GetOptions().Extensions[validate_pb2.field].string.max_len
            if bound:
                setattr(message, field.name, value.replace(_NUL, _REPLACEMENT)[:bound])
        elif field.message_type is not None and field.message_type.file.package.startswith("mesh."):
            _cut(value)


def _leave_out(report: dispatch.Report, problems: Iterable[FieldViolation]) -> None:
    for problem in problems:
        kind, _, rest = problem.field.partition(".")
        part = rest.partition(".")[0]
        if part in _BESIDE:
            getattr(report, kind).ClearField(part)
