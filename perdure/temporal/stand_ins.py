"""Bulk values that a worker gives to itself: a stand-in travels through the SDK in their place.

What a step has fetched goes to the script on the same worker, what the script saves to a step
beside it; both pass Postgres, so that any other worker can go on. As bytes they would be copied a
dozen times between the converter and the storage, read again, and copied as often on the way back.
So the converter of a worker makes a payload of a few bytes of them. The storage, which is given
that one, stores what the converter would have made, keeps the value, and gives a stand-in again to
whoever retrieves it first. All others read bytes.

A stand-in never leaves its process: only steps of workflows carry such values, as an argument or a
result, all of which pass the storage, and the SDK holds on to both until they are stored. What the
SDK's own metrics tell of the storage counts stand-ins, not what they stand for.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

from temporalio.api.common.v1 import Payload as PayloadProto
from temporalio.converter import (
    EncodingPayloadConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverSelectContext,
    StorageDriverStoreContext,
)

from perdure.temporal.bulk import BulkPayload, serialized, serialized_size
from perdure.temporal.codec import STAND_IN_ENCODING
from perdure.temporal.external_storage import (
    CLAIM_KEY,
    THRESHOLD_BYTES,
    PostgresStorageDriver,
)

__all__ = ["StandInConverter", "StandInDriver", "StandIns", "is_stand_in", "stand_in_storage"]

_PROCESS, _SIZE = "process", "size"
_KEPT_BYTES = 128 * 1024 * 1024
# What nobody has asked for by then goes on in another process, or not at all.
_KEPT_SECONDS = 60.0
# What is retrieved is taken at once; only a task that failed before it came to that leaves it.
_UNTAKEN_SECONDS = 600.0


class StandIns:
    """The values that the stand-ins of this process stand for.

    Threads may share it.

    Args:
        now: Seconds of a clock that only goes forward.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._process = uuid4().hex.encode()
        self._numbers = count(1)
        self._given: WeakValueDictionary[int, BulkPayload] = WeakValueDictionary()
        self._untaken: OrderedDict[int, tuple[float, BulkPayload]] = OrderedDict()
        self._lock = threading.Lock()

    def give(self, value: BulkPayload) -> PayloadProto:
        """Return a stand-in for a value that is on its way to the storage."""
        number = next(self._numbers)
        self._given[number] = value
        return self._stand_in(number, serialized_size(value))

    def given(self, payload: PayloadProto) -> BulkPayload | None:
        """Return what a payload on its way to the storage stands for, None where it is itself.

        Raises:
            RuntimeError: Nobody has held on to the value.
        """
        if not is_stand_in(payload):
            return None
        value = self._given.get(self._number(payload))
        if value is None:
            msg = "a payload was to be stored whose value is gone"
            raise RuntimeError(msg)
        return value

    def hand_back(self, value: BulkPayload) -> PayloadProto:
        """Return a stand-in for a value that was retrieved; it is held on to until it is taken.

        What waits for that for too long is let go of at the next call.
        """
        number, now = next(self._numbers), self._now()
        with self._lock:
            self._untaken[number] = (now, value)
            while next(iter(self._untaken.values()))[0] < now - _UNTAKEN_SECONDS:
                self._untaken.popitem(last=False)
        return self._stand_in(number, 0)

    def take(self, payload: PayloadProto) -> BulkPayload:
        """Return what a stand-in that was retrieved stands for, once.

        Raises:
            RuntimeError: It was taken, or waited for that for too long.
        """
        with self._lock:
            found = self._untaken.pop(self._number(payload), None)
        if found is None:
            msg = "a payload was to be read whose value is gone; it is read from Postgres next time"
            raise RuntimeError(msg)
        return found[1]

    def _stand_in(self, number: int, size: int) -> PayloadProto:
        return PayloadProto(
            metadata={"encoding": STAND_IN_ENCODING, _PROCESS: self._process, _SIZE: b"%d" % size},
            data=b"%d" % number,
        )

    def _number(self, payload: PayloadProto) -> int:
        """Return a stand-in's number, 0 where it is of another process."""
        return int(payload.data) if payload.metadata[_PROCESS] == self._process else 0


class StandInConverter(EncodingPayloadConverter):
    """Makes stand-ins of bulk values that would leave the history, unless they hold a secret."""

    def __init__(self, stand_ins: StandIns) -> None:
        self._stand_ins = stand_ins

    @property
    def encoding(self) -> str:
        """See base class."""
        return STAND_IN_ENCODING.decode()

    def to_payload(self, value: Any) -> PayloadProto | None:
        """See base class."""
        if not isinstance(value, BulkPayload) or value.holds_secret():
            return None
        if sum(map(len, value.bulk)) < THRESHOLD_BYTES:
            return None
        return self._stand_ins.give(value)

    def from_payload(self, payload: PayloadProto, type_hint: type | None = None) -> Any:
        """See base class."""
        value = self._stand_ins.take(payload)
        if not isinstance(type_hint, type) or not isinstance(value, type_hint):
            msg = f"a {type(value).__name__} was to be read as {type_hint!r}"
            raise RuntimeError(msg)
        return value


class StandInDriver(StorageDriver):
    """Stores what stand-ins stand for by another driver, and keeps it for whoever asks next.

    A value is given back once: whoever has it may take it apart. Steps are done in the order in
    which they were asked for, so where there is no room the latest value is not kept: the other
    driver remembers its bytes then, as far as it does. What nobody asks for is let go of with one
    of the next calls.

    Args:
        driver: Stores bytes, and returns what is not kept here.
        stand_ins: Those of the converter.
        seal: Encrypts what stand-ins stand for before it is stored, None where it is not.
        kept_bytes: How much memory what is kept takes at most, about.
        now: Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        driver: PostgresStorageDriver,
        stand_ins: StandIns,
        seal: Callable[[bytes], bytes] | None = None,
        *,
        kept_bytes: int = _KEPT_BYTES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver = driver
        self._stand_ins = stand_ins
        self._seal = seal
        self._most_bytes = kept_bytes
        self._now = now
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._kept_bytes = 0

    def name(self) -> str:
        """See base class."""
        return self._driver.name()

    def type(self) -> str:
        """See base class."""
        return self._driver.type()

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[PayloadProto]
    ) -> list[StorageDriverClaim]:
        """See base class."""
        values = [self._stand_ins.given(payload) for payload in payloads]
        if all(value is None for value in values):
            return await self._driver.store(context, payloads)
        data = [
            payload.SerializeToString(deterministic=True) if value is None else self._bytes(value)
            for payload, value in zip(payloads, values, strict=True)
        ]
        claims = await self._driver.store_serialized(context, data, remember=False)
        for claim, value, stored in zip(claims, values, data, strict=True):
            key = claim.claim_data[CLAIM_KEY]
            if value is None or not self._keep(key, value):
                self._driver.remember({key: stored})
        return claims

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[PayloadProto]:
        """See base class."""
        self._drop_old()
        values = [self._let_go(claim.claim_data[CLAIM_KEY]) for claim in claims]
        others = [claim for claim, value in zip(claims, values, strict=True) if value is None]
        found = iter(await self._driver.retrieve(context, others) if others else ())
        return [next(found) if v is None else self._stand_ins.hand_back(v) for v in values]

    def _bytes(self, value: BulkPayload) -> bytes:
        data = serialized(value)
        return data if self._seal is None else self._seal(data)

    def _keep(self, key: str, value: BulkPayload) -> bool:
        """Keep a value if there is room for it; says whether there was."""
        self._let_go(key)
        self._drop_old()
        memory = value.memory()
        has_room = self._kept_bytes + memory <= self._most_bytes
        if has_room:
            self._kept[key] = _Kept(value, memory, self._now())
            self._kept_bytes += memory
        return has_room

    def _drop_old(self) -> None:
        old = self._now() - _KEPT_SECONDS
        while self._kept and next(iter(self._kept.values())).since < old:
            self._let_go(next(iter(self._kept)))

    def _let_go(self, key: str) -> BulkPayload | None:
        kept = self._kept.pop(key, None)
        if kept is None:
            return None
        self._kept_bytes -= kept.memory
        return kept.value


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept, how much memory it takes, and since when."""

    value: BulkPayload
    memory: int
    since: float


class _StandInStorage(ExternalStorage):
    # A history says how large what it claims is. The SDK asks the payload that it was given.
    async def _store_payload_sequence(self, payloads: Sequence[PayloadProto]) -> list[PayloadProto]:
        stored = await super()._store_payload_sequence(payloads)
        for given, claim in zip(payloads, stored, strict=True):
            if is_stand_in(given):
                claim.external_payloads[0].size_bytes = int(given.metadata[_SIZE])
        return stored


def stand_in_storage(driver: StandInDriver) -> ExternalStorage:
    """Return the SDK's configuration: as `external_storage`, and all stand-ins."""

    def select(_: StorageDriverSelectContext, payload: PayloadProto) -> StorageDriver | None:
        is_large = is_stand_in(payload) or payload.ByteSize() >= THRESHOLD_BYTES
        return driver if is_large else None

    return _StandInStorage(drivers=[driver], payload_size_threshold=0, driver_selector=select)


def is_stand_in(payload: PayloadProto) -> bool:
    """Say whether a payload stands for a value of this process."""
    return payload.metadata.get("encoding") == STAND_IN_ENCODING
