"""Pages of the documentation that are written from the code when the site is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from docs.reference.cli import cli_page
from docs.reference.helper import helper_page
from docs.reference.rest import rest_page
from docs.reference.settings import settings_page

__all__ = ["FOLDER", "PAGES"]

FOLDER = Path(__file__).parent

PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "helper.md": helper_page,
    "rest.md": rest_page,
    "settings.md": settings_page,
}
