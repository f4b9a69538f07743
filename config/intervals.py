"""How often a sync runs: the grammar of `runs`, in `nango.yaml` and over REST alike.

One grammar for both places, so what the file accepts can be deployed and sent by clients:

    every half day | every half hour | every quarter hour | every hour | every day | ...
    every 5m | every 1.5 hours | 30 minutes | 1h
    cron 0 6 * * MON-FRI Europe/Berlin
    every 1h jitter 5m

`every` may be left out. A period is at least 30 seconds and at most 100 years long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from perdure.errors import InvalidInputError

__all__ = [
    "DURATION_PATTERN",
    "MINIMUM_SECONDS",
    "RUNS_PATTERN",
    "Interval",
    "IntervalError",
    "normalised_runs",
    "parse_declared_runs",
    "parse_duration",
    "parse_runs",
]

MINIMUM_SECONDS = 30
"""The shortest period of a sync."""

_MAXIMUM_SECONDS = 100 * 365.25 * 86_400

_WORDS = {
    "half day": 43_200,
    "half hour": 1_800,
    "quarter hour": 900,
    "month": 30 * 86_400,
}

_DECLARED = frozenset(f"every {words}" for words in ("hour", "day", "week", *_WORDS))
"""Periods that stand without a number in a file."""

_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86_400),
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), 365.25 * 86_400),
}

_PERIOD = re.compile(r"(?P<number>-?[0-9]*\.?[0-9]+)? *(?P<unit>[A-Za-z]*)")
_JITTER = re.compile(r"(?P<rest>.+) jitter (?P<jitter>[0-9.]+ ?[A-Za-z]+)")
_CRON = re.compile(r"cron:? +(?P<fields>\S+(?: +\S+){4})(?: +(?P<zone>\S+))?")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_CRON_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: i for i, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: i for i, name in enumerate(_DAYS)}),
)

_ANY_UNIT = "|".join(
    # Case does not matter, which a pattern cannot say otherwise.
    "".join(f"[{letter.upper()}{letter}]" for letter in unit)
    for unit in sorted(_UNITS, key=len, reverse=True)
)
_ANY_NUMBER = r"[0-9]*\.?[0-9]+"
_CRON_FIELD = "[0-9A-Za-z*,/-]+"

RUNS_PATTERN = (
    rf"^(?:(?:every )?{_ANY_NUMBER} *(?:{_ANY_UNIT})?|{'|'.join(sorted(_DECLARED))}"
    rf"|cron:? +{_CRON_FIELD}(?: +{_CRON_FIELD}){{4}}(?: +{_ZONE.pattern})?)"
    rf"(?: jitter {_ANY_NUMBER} ?(?:{_ANY_UNIT}))?$"
)
"""Matches whatever `parse_declared_runs` takes, and little else; for editors."""

DURATION_PATTERN = rf"^(?:{'|'.join(_WORDS)}|(?:{_ANY_NUMBER})? *(?:{_ANY_UNIT})|{_ANY_NUMBER})$"
"""Matches whatever `parse_duration` takes, and little else; for editors."""

IntervalErrorCode = Literal["sync_interval_invalid", "sync_interval_too_short"]


class IntervalError(InvalidInputError):
    """A text is not an interval, or (`sync_interval_too_short`) one below the minimum."""

    def __init__(self, message: str, *, code: IntervalErrorCode = "sync_interval_invalid") -> None:
        super().__init__(message, code=code)


@dataclass(frozen=True, slots=True)
class Interval:
    """How often a sync runs: a period, or a calendar. Exactly one of the two is set.

    Attributes:
        seconds: Length of the period.
        cron: The five fields of a cron expression, single spaces between them.
        timezone: IANA name of the zone the cron expression is read in.
        jitter_seconds: Each run starts up to this much later, at random.
    """

    seconds: float | None = None
    cron: str | None = None
    timezone: str = "UTC"
    jitter_seconds: float = 0

    @property
    def every(self) -> timedelta | None:
        """The period, None for a calendar."""
        return None if self.seconds is None else timedelta(seconds=self.seconds)


def parse_runs(text: str) -> Interval:
    """Return the interval that a `runs` (or `frequency`) text stands for.

    Raises:
        IntervalError: The text is not an interval, or a period below 30 seconds.
    """
    rest, jitter = text, 0.0
    if match := _JITTER.fullmatch(text):
        rest, jitter = match["rest"], _seconds(match["jitter"])
    if match := _CRON.fullmatch(rest):
        return Interval(
            cron=_cron(match["fields"].split()),
            timezone=_zone(match["zone"] or "UTC"),
            jitter_seconds=jitter,
        )
    seconds = _seconds(rest.removeprefix("every "))
    if seconds < MINIMUM_SECONDS:
        message = f"{text!r} is shorter than {MINIMUM_SECONDS} seconds, the shortest period."
        raise IntervalError(message, code="sync_interval_too_short")
    return Interval(seconds=seconds, jitter_seconds=jitter)


def parse_declared_runs(text: str) -> Interval:
    """Return the interval of a `runs` in a file, where a unit needs a number.

    Raises:
        IntervalError: As `parse_runs`; also for `every minute` and what else has no number, except
            `every hour`, `day`, `week`, `month`, `half day`, `half hour` and `quarter hour`.
    """
    interval = parse_runs(text)
    period = text.partition(" jitter ")[0]
    if interval.cron or period in _DECLARED or any(map(str.isdigit, period)):
        return interval
    unit = period.removeprefix("every ")
    raise IntervalError(f"{_quoted(text)} has no number: write `every 1 {unit}`.")


def normalised_runs(text: str) -> str:
    """Return a `runs` text in the one form in which it is shown: `every 5 minutes`.

    Raises:
        IntervalError: As `parse_runs`.
    """
    rest = " ".join(text.split())
    is_calendar = parse_runs(rest).cron is not None
    return rest if is_calendar else f"every {rest.removeprefix('every ')}"


def parse_duration(text: str) -> timedelta:
    """Return how long `24h`, `90 minutes` or `half day` is.

    Raises:
        IntervalError: The text is no duration, or less than a second.
    """
    seconds = _seconds(text)
    if seconds < 1:
        msg = f"{_quoted(text)} is shorter than a second."
        raise IntervalError(msg, code="sync_interval_too_short")
    return timedelta(seconds=seconds)


def _seconds(text: str) -> float:
    if text in _WORDS:
        return _WORDS[text]
    match = _PERIOD.fullmatch(text)
    unit = _UNITS.get((match["unit"] or "ms").lower()) if match else None
    if not match or unit is None or not text or text != text.lstrip() or len(text) > 100:
        message = (
            f"{_quoted(text)} is not an interval: write for example `every 30s`, `every 5 minutes`,"
            " `every hour`, `every half day` or `cron 0 6 * * MON-FRI Europe/Berlin`."
        )
        raise IntervalError(message)
    # A unit alone means one of it.
    seconds = float(match["number"] or 1) * unit
    if seconds == 0 or seconds > _MAXIMUM_SECONDS:
        raise IntervalError(
            f"{_quoted(text)} is not a usable interval: it is zero or over a century."
        )
    return int(seconds) if seconds.is_integer() else round(seconds, 3)


def _cron(fields: list[str]) -> str:
    for field, (name, low, high, words) in zip(fields, _CRON_FIELDS, strict=True):
        for part in field.split(","):
            _check_cron_part(part, name, low, high, words)
    return " ".join(fields)


def _check_cron_part(part: str, name: str, low: int, high: int, words: dict[str, int]) -> None:
    span, slash, step = part.partition("/")
    first, dash, last = span.partition("-")
    if span == "*":
        bounds = [low, high]
    else:
        names = [first, last] if dash else [first]
        bounds = [words.get(word.upper(), _digits(word)) for word in names]
    if (
        min(bounds) < low
        or max(bounds) > high
        or bounds != sorted(bounds)
        or (slash and _digits(step) < 1)
    ):
        raise IntervalError(
            f"{_quoted(part)} is not a valid {name} of a cron expression"
            f" ({low} to {high}, lists, ranges and steps)."
        )


def _digits(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1


def _zone(name: str) -> str:
    try:
        if not _ZONE.fullmatch(name):
            raise ZoneInfoNotFoundError(name)
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A machine without a zone database cannot judge; the Temporal server can.
        if _ZONE.fullmatch(name) and not available_timezones():
            return name
        message = f"{_quoted(name)} is not a time zone: write for example `Europe/Berlin` or `UTC`."
        raise IntervalError(message) from None
    return name


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
