"""What `perdure dev` shows to people: one line an event, never a secret."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from perdure.app.dev.folder import DevFile

__all__ = ["Lines"]


class Lines:
    """Writes to the terminal of `perdure dev`."""

    def __init__(self) -> None:
        self._out = Console(soft_wrap=True, highlight=False)
        self._err = Console(soft_wrap=True, highlight=False, stderr=True)

    def say(self, name: str, sentence: str) -> None:
        """Say what happened to a part of the stack; further lines of the sentence are details."""
        self._out.print(Text(f"{name:<9}", style="cyan") + Text(sentence))

    def fail(self, message: str) -> None:
        """Say on standard error why there is no stack."""
        self._err.print(Text(f"perdure dev: {message}", style="red"))

    def stack(self, content: DevFile, data_dir: Path, seconds: float, *, dashboard: str) -> None:
        """Say where the stack is, the dashboard first, by a link that signs in."""
        key = content.secret_key.get_secret_value()
        pids = ", ".join(f"{name} {pid}" for name, pid in content.pids.model_dump().items())
        facts = {
            "Dashboard": dashboard,
            "API": content.api_url,
            "Secret key": f"{key[:4]}... (whole in {data_dir / 'dev.json'})",
            "Temporal UI": content.temporal_ui_url,
            "Temporal": f"{content.temporal_address}, namespace {content.temporal_namespace}",
            "Database": content.database_url,
            "Metrics": ", ".join(content.metrics_urls.values()),
            "Logs": str(data_dir / "logs"),
            "Processes": pids,
        }
        self._out.print(Text(f"Perdure is up after {seconds:.1f} s. Ctrl-C ends it.", style="bold"))
        for name, value in facts.items():
            self._out.print(Text(f"  {name:<13}", style="dim") + Text(value))
