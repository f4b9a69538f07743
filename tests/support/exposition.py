"""What a process serves at `/metrics`, as Prometheus reads it."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Exposed:
    """All samples of one moment: name, labels, value."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    @property
    def names(self) -> set[str]:
        return {name for name, _, _ in self.samples}

    def labels(self, name: str) -> set[str]:
        """Return the names of labels that a metric has."""
        return {label for found, labels, _ in self.samples if found == name for label in labels}

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have these labels, and maybe others."""
        return sum(
            value
            for found, has, value in self.samples
            if found == name and labels.items() <= has.items()
        )


async def scrape(address: str) -> Exposed:
    """Ask for what is served at an address."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{address}/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return Exposed(
        tuple(
            (sample.name, sample.labels, sample.value)
            for family in families
            for sample in family.samples
        )
    )
