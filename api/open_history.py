"""A history that can be replayed elsewhere: decoded, without credentials and inputs of steps.

Whoever replays a run needs what its steps returned, but neither our keys nor a connection's
secrets. What steps were asked is not compared when a history is replayed, so it is left out.
Credentials are masked wherever they stand, each by the same text, so that what a script computes of
them stays as it was: only a script that looks into a credential sees another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue
from temporalio.converter import DataConverter, WorkflowSerializationContext

from perdure.proxy.redaction import MASK, Redactor, is_sensitive_name
from perdure.temporal.bulk import BULK_ENCODING
from perdure.temporal.codec import SECRET_MARK
from perdure.temporal.script_override import SCRIPT_MARK

__all__ = ["HistoryTooLargeError", "open_history"]

_JSON = frozenset({b"json/plain", BULK_ENCODING})
# Where secrets stand in what steps return; see `ConnectionView`, `TokenView`, `HttpResponse`.
_HOLDERS = frozenset({"credentials", "token", "echoed", "secrets"})
_PUBLIC = frozenset({"type", "username"})
# What a replay does not look at.
_DROPPED = (
    ("activity_task_scheduled_event_attributes", "input"),
    ("start_child_workflow_execution_initiated_event_attributes", "input"),
    ("workflow_execution_completed_event_attributes", "result"),
    ("workflow_execution_continued_as_new_event_attributes", "input"),
)


class HistoryTooLargeError(Exception):
    """The history holds more than can be handed out at once."""


async def open_history(
    history: WorkflowHistory, converter: DataConverter, namespace: str, *, most_bytes: int
) -> WorkflowHistory:
    """Return a history that needs no keys.

    Args:
        history: As Temporal keeps it.
        converter: That of the client.
        namespace: Its namespace.
        most_bytes: How much it may hold, with what lies outside of the history.

    Raises:
        HistoryTooLargeError: It holds more.
    """
    context = WorkflowSerializationContext(namespace=namespace, workflow_id=history.workflow_id)
    own = converter.with_context(context)
    events = [_copy(event) for event in history.events]
    size = 0
    opened = []
    for payload in (found for event in events for found in _payloads(event)):
        (raw,) = await own.decode([payload], [RawValue])
        payload.CopyFrom(raw.payload)
        size += payload.ByteSize()
        if size > most_bytes:
            raise HistoryTooLargeError
        opened.append(payload)
    _mask(opened)
    return WorkflowHistory(history.workflow_id, events)


def _copy(event: HistoryEvent) -> HistoryEvent:
    copy = HistoryEvent()
    copy.CopyFrom(event)
    for attributes, field in _DROPPED:
        if copy.HasField(attributes):  # type: ignore[arg-type]  # names of its fields
            getattr(copy, attributes).ClearField(field)
    return copy


def _payloads(message: Message) -> Iterator[Payload]:
    """Yield all payloads of a message but those of headers, memos and search attributes."""
    for field, value in message.ListFields():
        if field.message_type is None or field.name in ("header", "memo", "search_attributes"):
            continue
        parts = value if field.is_repeated else [value]
        if field.message_type.GetOptions().map_entry:
            # What steps returned that were done where the workflow ran.
            parts = value.values() if field.name == "details" else []
        for part in parts:
            if isinstance(part, Payload):
                yield part
            elif isinstance(part, Payloads):
                yield from part.payloads
            else:
                yield from _payloads(part)


def _mask(payloads: list[Payload]) -> None:
    values = {
        index: [json.loads(line) for line in _lines(payload)]
        for index, payload in enumerate(payloads)
        if payload.metadata.get("encoding") in _JSON and SCRIPT_MARK not in payload.metadata
    }
    marked = {index for index in values if SECRET_MARK in payloads[index].metadata}
    redactor = Redactor(text for index in marked for text in _secrets(values[index]))
    for index, value in values.items():
        hides = _hide_by_name if index in marked else None
        masked = _masked(value, redactor, hides)
        if masked != value:
            lines = (json.dumps(line, ensure_ascii=False) for line in masked)
            payloads[index].data = "\n".join(lines).encode("utf-8", "surrogatepass")


def _lines(payload: Payload) -> list[bytes]:
    is_bulk = payload.metadata.get("encoding") == BULK_ENCODING
    return payload.data.split(b"\n") if is_bulk else [payload.data]


def _secrets(value: Any) -> Iterator[str]:
    """Yield the credentials that a value holds."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _HOLDERS:
                yield from _texts(inner)
            else:
                yield from _secrets(inner)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in _PUBLIC:
                yield from _texts(inner)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _masked(
    value: Any, redactor: Redactor, hides: Callable[[str, str], str] | None, name: str = ""
) -> Any:
    if isinstance(value, str):
        text = redactor.text(value)
        return text if hides is None else hides(name, text)
    if isinstance(value, Mapping):
        return {key: _masked(inner, redactor, hides, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(item, redactor, hides, name) for item in value]
    return value


def _hide_by_name(name: str, text: str) -> str:
    """Hide what is secret by its name, such as a cookie or the token of another API."""
    return MASK if is_sensitive_name(name) else text
