"""What becomes of a page outside the workflow: mapped by the script's functions, and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from activities.records import RECORDS_PER_BATCH, BatchVerb
from perdure.errors import InvalidInputError
from perdure.nango import HelperError, LogLevel, Response
from perdure.proxy.pagination import Page
from perdure.records.prepare import (
    PreparedBatch,
    PreparedDeletion,
    check_deletions,
    prepare_batch,
    prepare_deletion,
)
from perdure.scripts.bundle import Bundle
from perdure.scripts.execution import model_validator
from perdure.scripts.failures import script_failure
from perdure.scripts.interruption import ScriptBlocked
from perdure.scripts.mapping import MappingError, mapped_records
from perdure.scripts.secrets import KnownSecrets
from perdure.scripts.validation import ModelValidator, record_name
from perdure.temporal.converter import ScriptError
from perdure.temporal.payloads import Payload, RunContext

__all__ = [
    "FunctionRef",
    "MappedPage",
    "PageFunctions",
    "PageMapping",
    "blocked",
    "page_mapping",
]

_COOKIES = "set-cookie"
# As of a script that blocks its workflow.
_BLOCKED = "script_blocked"


class FunctionRef(Payload):
    """A function of the project.

    Attributes:
        path: Its file.
        name: Its qualified name there.
    """

    path: str
    name: str


@dataclass(frozen=True, slots=True)
class PageFunctions:
    """What a script says of its pages, None where it says nothing.

    Attributes:
        map_item: Makes records of an element.
        where: Says which records are kept.
        on_page: Is told of each page; False ends the reading.
    """

    map_item: Callable[[Any], Any] | None = None
    where: Callable[[Any], Any] | None = None
    on_page: Callable[[Mapping[str, Any]], Any] | None = None


@dataclass(frozen=True, slots=True)
class MappedPage:
    """What a script made of a page.

    Attributes:
        batches: Its records, as many at a time as one statement writes.
        is_last: Whether the script wants no page after it.
        warnings: What there is to say of the records.
    """

    batches: Sequence[PreparedBatch] | Sequence[PreparedDeletion]
    is_last: bool = False
    warnings: Sequence[tuple[LogLevel, str]] = ()


@dataclass(frozen=True, slots=True)
class PageMapping:
    """Makes records of pages.

    Attributes:
        bundle: The run's bundle.
        path: File that is named where no line of the script is to blame.
        functions: Functions of the script.
        verb: What is done with the records.
        model: Their model.
        enforce: Whether a record that does not fit its model is an error.
        validator: Judges records, None where nobody does.
        secrets: What messages must not hold.
    """

    bundle: Bundle
    path: str
    functions: PageFunctions
    verb: BatchVerb
    model: str
    enforce: bool
    validator: ModelValidator | None
    secrets: KnownSecrets

    def apply(self, page: Page, number: int) -> MappedPage:
        """Map and check a page; call it in a thread, since it runs code of the script.

        Args:
            page: The page.
            number: Its number, counted from 1.

        Raises:
            ScriptError: A function of the script raised; the message names file and line.
            InvalidInputError: A record is none, has no usable id, or does not fit its model.
        """
        self.secrets.learn(page.echoed)
        try:
            batches, warnings = self._batches(page)
            # It is given the page, whose elements may have been the records.
            is_last = self._tell(page) is False
            return MappedPage(batches, is_last, warnings)
        except MappingError as error:
            raise self._failure(error, f"page {number}, element {error.index}") from None
        except _CallbackError as error:
            raise self._failure(error, f"page {number}") from None
        except ScriptBlocked as error:
            raise self._failure(error, f"page {number}") from None
        # What was not masked must not follow as a cause.
        except HelperError as error:
            msg = self.secrets.mask(f"page {number}: {error}")
            raise InvalidInputError(msg, code=error.code) from None
        except InvalidInputError as error:
            msg = self.secrets.mask(f"page {number}: {error.message}")
            raise InvalidInputError(
                msg, code=error.code, errors=error.errors, payload=error.payload
            ) from None

    def _tell(self, page: Page) -> Any:
        on_page = self.functions.on_page
        if on_page is None:
            return None
        headers = {k: v for k, v in page.headers.items() if k != _COOKIES}
        following = page.next.next_page_param if page.next else None
        response = Response(page.status, headers, page.items)
        try:
            return on_page({"next_page_param": following, "response": response})
        except BaseException as error:
            raise _CallbackError from error

    def _batches(
        self, page: Page
    ) -> tuple[
        Sequence[PreparedBatch] | Sequence[PreparedDeletion], Sequence[tuple[LogLevel, str]]
    ]:
        """Map, check and encode the records of a page, and return warnings."""
        records = mapped_records(page.items, self.functions.map_item, self.functions.where)
        if self.verb is BatchVerb.DELETE:
            gone = list(records)
            check_deletions(gone)
            starts = range(0, len(gone), RECORDS_PER_BATCH)
            return [prepare_deletion(gone[at : at + RECORDS_PER_BATCH]) for at in starts], ()
        batches: list[PreparedBatch] = []
        unfit: list[tuple[int, Mapping[str, Any]]] = []
        count, ids = 0, set[str]()
        fits = None if self.validator is None else self.validator.fits(self.model)
        # A lazy one: a record is encoded before the next element is mapped.
        while ahead := list(islice(records, 1)):
            part = chain(ahead, islice(records, RECORDS_PER_BATCH - 1))
            batch = prepare_batch(part, first=count, earlier=ids, fits=fits)
            batches.append(replace(batch, unfit=()))
            unfit += batch.unfit
            ids.update(batch.ids)
            count += len(batch) + len(batch.duplicates)
        return batches, self._judged(unfit)

    def _judged(
        self, unfit: Sequence[tuple[int, Mapping[str, Any]]]
    ) -> Sequence[tuple[LogLevel, str]]:
        if self.validator is None or not unfit:
            return ()
        found = self.validator.report(
            self.model,
            [record for _, record in unfit],
            lambda place: record_name(self.model, *unfit[place]),
        )
        if found is None:
            return ()
        if self.enforce:
            raise HelperError(found, code="invalid_sync_record")
        return (("warn", f"invalid_sync_record: {found}"),)

    def _failure(self, error: BaseException, where: str) -> ScriptError:
        cause = error.__cause__ or error
        failure = script_failure(cause, self.bundle, self.path, self.secrets)
        code = _BLOCKED if isinstance(cause, ScriptBlocked) else failure.type
        return ScriptError(
            f"{failure.message} ({where})",
            *failure.details,
            type=code or "script_internal_error",
            script_traceback=failure.script_traceback,
        )


def page_mapping(
    bundle: Bundle,
    refs: tuple[FunctionRef | None, FunctionRef | None, FunctionRef | None],
    find: Callable[[str, str], Callable[..., Any]],
    *,
    context: RunContext,
    verb: BatchVerb,
    model: str,
    secrets: KnownSecrets,
) -> PageMapping:
    """Find the functions of a script; call it in a thread, since their files may be executed.

    Args:
        bundle: The run's bundle.
        refs: What `map`, `where` and `on_page` name.
        find: Returns the function of a file and a name.
        context: The run.
        verb: What is done with the records.
        model: Their model.
        secrets: What messages must not hold.

    Raises:
        ScriptError: A file cannot be executed, or has no such function.
    """
    path = next((ref.path for ref in refs if ref is not None), "")
    try:
        map_item, where, on_page = (
            None if ref is None else find(ref.path, ref.name) for ref in refs
        )
    except BaseException as error:  # noqa: BLE001 - the border of a script
        raise script_failure(error, bundle, path, secrets) from None
    return PageMapping(
        bundle=bundle,
        path=path,
        functions=PageFunctions(map_item, where, on_page),
        verb=verb,
        model=model,
        enforce=context.validation == "enforce",
        validator=None if context.validation == "off" else model_validator(bundle),
        secrets=secrets,
    )


def blocked(where: str | None, path: str, about: str) -> ScriptError:
    """Return the error of functions that do not come back, however they are interrupted.

    Args:
        where: `file:line` of the script that they are at, None where nobody knows.
        path: The file that is named then.
        about: What they were to do.
    """
    file, _, line = (where or f"{path}:1").rpartition(":")
    msg = f"{file}:{line}: it does not come to an end ({about})"
    facts = {"file": file, "line": int(line)}
    return ScriptError(msg, facts, type=_BLOCKED, script_traceback="")


class _CallbackError(Exception):
    """`on_page` raised; the exception is the cause of this one."""
