"""The benchmark: Perdure beside what it is compared with, in turns, in one run.

`python -m bench quick` takes less than a minute, `python -m bench full` more than half an hour;
`docs/performance.md` says what the figures mean. Nothing here is imported by the product.
"""
