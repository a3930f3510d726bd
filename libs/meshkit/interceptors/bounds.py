"""A quick look whether a message is surely within the bounds that its proto declares.

protovalidate knows every rule and every message to a violation, and takes its time for
it. Nearly all messages are in order, and most of the rules are plain lengths and
ranges: those are judged here. Where the rules or a value are anything but plain, the
answer is "not surely", and protovalidate has the word.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message

Check = Callable[[Any], bool]
"""Tells of a value whether it is surely within bounds."""

_UUID: Final = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# A pattern that is anchored and has no alternatives, classes by name or flags means the same to
# RE2 and to Python.
_PLAIN_PATTERN: Final = re.compile(r"\^(?:(?!\(\?|\[:)[^\\|^$]|\\[./])*\$")
_NUMBERS: Final = ("int32", "int64", "uint32", "uint64", "float", "double")


def surely_within_bounds(message: Message) -> bool:
    """Tell whether a message is surely within its bounds; False means only that it may not be."""
    return _check_of(message.DESCRIPTOR)(message)


@cache
def _check_of(descriptor: Descriptor) -> Check:
    """Return the check of a message type."""
    if _has_rules_of_its_own(descriptor):
        return _never
    checks: dict[int, Check] = {}
    one_of = [each for each in descriptor.oneofs if _is_required(each)]
    # Of a oneof at most one field has a value.
    needed = {field.number for each in one_of for field in each.fields}
    count = len(one_of)
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if rules.ignore == validate_pb2.IGNORE_ALWAYS:
            continue
        check = _of_field(field, rules)
        if check is not None:
            checks[field.number] = check
        if _must_be_set(field, rules, check):
            needed.add(field.number)
            count += 1
    return _of_fields(checks, frozenset(needed), count)


def _of_fields(checks: dict[int, Check], needed: frozenset[int], count: int) -> Check:
    """Return the check of a message: each field in order, and `count` of the needed ones there."""
    find = checks.get

    def check(message: Message) -> bool:
        present = 0
        for field, value in message.ListFields():
            number = field.number
            present += number in needed
            judge = find(number)
            if judge is not None and not judge(value):
                return False
        return present == count

    return check


def _has_rules_of_its_own(descriptor: Descriptor) -> bool:
    return bool(descriptor.GetOptions().HasExtension(validate_pb2.message))


def _is_required(oneof: OneofDescriptor) -> bool:
    return bool(oneof.GetOptions().Extensions[validate_pb2.oneof].required)


def _must_be_set(
    field: FieldDescriptor, rules: validate_pb2.FieldRules, check: Check | None
) -> bool:
    """Tell whether a message is not surely in order where this field has no value."""
    if rules.required:
        return True
    if check is None or field.has_presence or rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        return False
    if field.is_repeated:
        return not check({})
    return not check(field.default_value)


def _of_field(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Check | None:
    """Return the check of a field that has a value; None if any will do."""
    own = _of_rules(rules)
    if field.message_type is None or own is _never:
        return own
    if field.message_type.GetOptions().map_entry:
        return _both(own, _of_map_messages(field.message_type.fields_by_name["value"]))
    exempt = rules.repeated.items.ignore == validate_pb2.IGNORE_ALWAYS
    if exempt or not _may_break_rules(field.message_type):
        return own
    inner = _later(field.message_type)
    return _both(own, _each(inner) if field.is_repeated else inner)


def _of_map_messages(value: FieldDescriptor) -> Check | None:
    if value.message_type is None or not _may_break_rules(value.message_type):
        return None
    inner = _later(value.message_type)
    return lambda entries: all(map(inner, entries.values()))


def _later(descriptor: Descriptor) -> Check:
    """Return the check of a message type that may hold itself."""
    found: Check | None = None

    def check(message: Message) -> bool:
        nonlocal found
        if found is None:
            found = _check_of(descriptor)
        return found(message)

    return check


def _may_break_rules(descriptor: Descriptor) -> bool:
    """Tell whether a message of this type, or one within it, is held to any rule."""
    seen: set[str] = set()

    def search(each: Descriptor) -> bool:
        if each.full_name in seen or each.file.package == "google.protobuf":
            return False
        seen.add(each.full_name)
        if _has_rules_of_its_own(each) or any(map(_is_required, each.oneofs)):
            return True
        return any(
            field.GetOptions().HasExtension(validate_pb2.field)
            or (field.message_type is not None and search(field.message_type))
            for field in each.fields
        )

    return search(descriptor)


def _of_rules(rules: validate_pb2.FieldRules) -> Check | None:
    """Return the check of a value by the rules of its field or element."""
    kind = rules.WhichOneof("type")
    if any(field.name not in (kind, "required", "ignore") for field, _ in rules.ListFields()):
        return _never
    if kind is None:
        return None
    make = _MAKERS.get(kind)
    return _never if make is None else make(getattr(rules, kind))


def _of_string(rules: validate_pb2.StringRules) -> Check:
    given = _said(rules, "min_len", "max_len", "uuid", "pattern")
    if given is None or ("uuid" in given and "pattern" in given):
        return _never
    length = _of_length(given, "len")
    if "uuid" in given:
        return _all_of(length, _matches(_UUID)) if given["uuid"] else _never
    if "pattern" not in given:
        return length
    pattern = given["pattern"]
    plain = _PLAIN_PATTERN.fullmatch(pattern)
    return _all_of(length, _matches(pattern[1:-1])) if plain else _never


def _of_bytes(rules: validate_pb2.BytesRules) -> Check:
    given = _said(rules, "min_len", "max_len")
    return _never if given is None else _of_length(given, "len")


def _said(rules: Message, *known: str) -> dict[str, Any] | None:
    """Return what rules say, by name; None if they say anything else than is known here."""
    given = {field.name: value for field, value in rules.ListFields()}
    return given if given.keys() <= set(known) else None


def _of_length(given: Mapping[str, Any], unit: str) -> Check:
    least, most = given.get(f"min_{unit}", 0), given.get(f"max_{unit}", sys.maxsize)
    return lambda value: least <= len(value) <= most


def _matches(pattern: str) -> Check:
    fullmatch = re.compile(pattern, re.ASCII).fullmatch
    return lambda text: fullmatch(text) is not None


def _of_number(rules: Any) -> Check:
    checks: list[Check] = []
    for field, bound in rules.ListFields():
        match field.name:
            case "gte":
                checks.append(bound.__le__)
            case "gt":
                checks.append(bound.__lt__)
            case "lte":
                checks.append(bound.__ge__)
            case "lt":
                checks.append(bound.__gt__)
            case "finite" if bound:
                checks.append(math.isfinite)
            case _:
                return _never
    # Between an integer and a float these answer NotImplemented, which is no True.
    return lambda number: all(check(number) is True for check in checks)


def _of_repeated(rules: validate_pb2.RepeatedRules) -> Check:
    given = _said(rules, "min_items", "max_items", "unique", "items")
    if given is None:
        return _never
    check = _of_length(given, "items")
    if given.get("unique"):
        # Whether more than one are different is left to protovalidate.
        check = _all_of(check, lambda items: len(items) < 2)
    if rules.items.ignore == validate_pb2.IGNORE_ALWAYS:
        return check
    each = _of_rules(rules.items)
    return check if each is None else _all_of(check, _each(each))


def _of_map(rules: validate_pb2.MapRules) -> Check:
    given = _said(rules, "min_pairs", "max_pairs", "keys", "values")
    if given is None:
        return _never
    check = _of_length(given, "pairs")
    key, value = _of_rules(rules.keys), _of_rules(rules.values)
    if key is not None:
        check = _all_of(check, _each(key))
    if value is not None:
        each_value = _each(value)
        check = _all_of(check, lambda entries: each_value(entries.values()))
    return check


_MAKERS: Final[dict[str, Callable[[Any], Check]]] = {
    "string": _of_string,
    "bytes": _of_bytes,
    "repeated": _of_repeated,
    "map": _of_map,
    **dict.fromkeys(_NUMBERS, _of_number),
}


def _each(check: Check) -> Callable[[Iterable[Any]], bool]:
    return lambda items: all(map(check, items))


def _both(first: Check | None, second: Check | None) -> Check | None:
    if first is None or second is None:
        return first or second
    return _all_of(first, second)


def _all_of(first: Check, second: Check) -> Check:
    return lambda value: first(value) and second(value)


def _never(_value: Any) -> bool:
    return False
