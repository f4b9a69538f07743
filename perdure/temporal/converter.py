"""How values become payloads: pydantic JSON, secrets marked, script tracebacks kept readable."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from temporalio.api.common.v1 import Payload as PayloadProto
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    FailureConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
    PayloadConverter,
    StorageDriver,
)
from temporalio.exceptions import ApplicationError

from perdure.crypto.keyring import KeyRing
from perdure.temporal.bulk import BulkConverter
from perdure.temporal.codec import SECRET_MARK, EncryptionCodec
from perdure.temporal.external_storage import PostgresStorageDriver, external_storage
from perdure.temporal.payloads import Payload, ScriptFiles
from perdure.temporal.script_override import SCRIPT_MARK, OverridingCodec, ScriptOverrides
from perdure.temporal.stand_ins import StandInConverter, StandInDriver, StandIns, stand_in_storage

__all__ = ["ScriptError", "data_converter", "worker_converter"]


class ScriptError(ApplicationError):
    """A script's own error. Its stack trace is the script's, not the engine's around it.

    Args:
        message: What failed, with the script's file and line.
        details: Structured facts, shown by the API and the CLI.
        type: Stable code of the error.
        script_traceback: Traceback text of the script's frames.
    """

    def __init__(self, message: str, *details: Any, type: str, script_traceback: str) -> None:
        super().__init__(message, *details, type=type, non_retryable=True)
        self.script_traceback = script_traceback


class _JSONConverter(PydanticJSONPlainPayloadConverter):
    """Marks what holds a secret or a script, for the codecs."""

    def to_payload(self, value: Any) -> PayloadProto | None:
        payload = super().to_payload(value)
        if payload is not None and isinstance(value, Payload) and value.holds_secret():
            payload.metadata[SECRET_MARK] = b"true"
        if payload is not None and isinstance(value, ScriptFiles):
            payload.metadata[SCRIPT_MARK] = b"true"
        return payload


_json_converter = _JSONConverter()
_CONVERTERS = (
    BulkConverter(),
    *(
        _json_converter if isinstance(converter, JSONPlainPayloadConverter) else converter
        for converter in DefaultPayloadConverter.default_encoding_payload_converters
    ),
)


def _payload_converter(*before: EncodingPayloadConverter) -> type[CompositePayloadConverter]:
    by_encoding = {converter.encoding.encode(): converter for converter in (*before, *_CONVERTERS)}

    class _PayloadConverter(CompositePayloadConverter):
        """The SDK makes several of these in each workflow task; what they consist of is shared."""

        def __init__(self) -> None:
            self.converters = by_encoding

    return _PayloadConverter


class _FailureConverter(DefaultFailureConverter):
    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        super().to_failure(exception, payload_converter, failure)
        if isinstance(exception, ScriptError) and not self._encode_common_attributes:
            failure.stack_trace = exception.script_traceback


class _EncodingFailureConverter(_FailureConverter):
    """Moves messages and stack traces into the part of a failure that the codec encrypts."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)


def data_converter(
    keyring: KeyRing | None,
    driver: StorageDriver | None,
    *,
    encrypt: Literal["secrets", "all"] = "secrets",
    overrides: ScriptOverrides | None = None,
) -> DataConverter:
    """Put the converter together that every client and replayer uses.

    Args:
        keyring: Keys of the codec. Without one a payload with a secret cannot be made, which
            only a replayer of histories without secrets may want.
        driver: Where large payloads go; None keeps them in the history.
        encrypt: Which payloads are encrypted.
        overrides: Scripts of retried runs; None leaves every run its own.
    """
    failures: type[FailureConverter] = (
        _EncodingFailureConverter if encrypt == "all" else _FailureConverter
    )
    return DataConverter(
        payload_converter_class=_payload_converter(),
        payload_codec=_codec(keyring, encrypt, overrides),
        failure_converter_class=failures,
        external_storage=external_storage(driver) if driver else None,
    )


def worker_converter(
    keyring: KeyRing,
    driver: PostgresStorageDriver,
    *,
    encrypt: Literal["secrets", "all"] = "secrets",
    overrides: ScriptOverrides | None = None,
) -> DataConverter:
    """Put the converter together that workers use; what it stores and reads is the same.

    Bulk data goes from step to script and back as what it is, see `perdure.temporal.stand_ins`.

    Args:
        keyring: As `data_converter`.
        driver: Where large payloads go; that of the client will do.
        encrypt: As `data_converter`.
        overrides: As `data_converter`.
    """
    stand_ins = StandIns()
    seal = EncryptionCodec(keyring, encrypt).seal if encrypt == "all" else None
    return replace(
        data_converter(keyring, driver, encrypt=encrypt, overrides=overrides),
        payload_converter_class=_payload_converter(StandInConverter(stand_ins)),
        external_storage=stand_in_storage(StandInDriver(driver, stand_ins, seal)),
    )


def _codec(
    keyring: KeyRing | None, encrypt: Literal["secrets", "all"], overrides: ScriptOverrides | None
) -> PayloadCodec | None:
    if keyring is None:
        return None
    codec = EncryptionCodec(keyring, encrypt)
    return codec if overrides is None else OverridingCodec(codec, overrides)
