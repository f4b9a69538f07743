"""Writes the pages beside this file: `python -m docs.reference`."""

from docs.reference import FOLDER, PAGES

for name, page in PAGES.items():
    (FOLDER / name).write_text(page())
