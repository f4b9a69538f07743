"""The main job from end to end, in a minute: `make demo`.

Starts everything on this machine with a data folder of its own, syncs two thousand customers from
an imitation of Stripe's API, finds the one that changes afterwards, creates one by an action, and
ends all of it again. The exit code is 0 only if everything that was expected was also seen.

With STRIPE_API_KEY set it works with that Stripe account instead. It only reads there, except for
the action, which creates one customer, and does so with a test key only.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from perdure.app.dev import DevFile, read_dev_file
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

EXAMPLES = Path(__file__).resolve().parent
PROJECT = EXAMPLES / "stripe"
CUSTOMERS = 2000
PRODUCTS = 12
PATIENCE = 120.0
"""Seconds that anything may take; it takes a few."""

console = Console(highlight=False, soft_wrap=True)


class UnexpectedError(Exception):
    """Something else was seen than was expected."""


@dataclass(frozen=True)
class Source:
    """The API that customers come from."""

    url: str
    key: str
    is_local: bool

    @property
    def may_be_written_to(self) -> bool:
        return self.is_local or "_test_" in self.key

    def http(self) -> httpx.AsyncClient:
        auth = {"authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=self.url, headers=auth, timeout=30)


class Story:
    """Tells what happens, step by step."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._steps = 0

    def step(self, title: str) -> None:
        self._steps += 1
        seconds = time.monotonic() - self._began
        console.print()
        console.print(
            Text(f"{self._steps}  {title}", "bold cyan") + Text(f"  {seconds:.0f} s", "dim")
        )

    def say(self, text: str) -> None:
        console.print(Text(f"   {text}"))

    def good(self, what: str) -> None:
        console.print(Text("   ✓ ", "green") + Text(what))

    def seen(self, what: str, actual: object, expected: object) -> None:
        """Check an expectation; the story goes on only if it holds."""
        if actual != expected:
            raise UnexpectedError(f"{what}: expected {expected}, saw {actual}")
        self.good(what)


class Perdure:
    """The running stack, used as its users do: by the `perdure` command and over HTTP."""

    def __init__(self, stack: DevFile) -> None:
        key = stack.secret_key.get_secret_value()
        self._flags = ("--server", stack.api_url, "--secret-key", key)
        self.http = httpx.AsyncClient(
            base_url=stack.api_url, headers={"authorization": f"Bearer {key}"}, timeout=30
        )

    async def command(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """Run `perdure ...` and show what it prints; the stack's address goes with it unseen."""
        shown = " ".join(f"'{word}'" if " " in word or "{" in word else word for word in arguments)
        console.print(Text(f"   $ perdure {shown}", "bold"))
        sys.stdout.flush()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "perdure", *arguments, *self._flags),
            cwd=EXAMPLES.parent,
            env={**os.environ, **(environment or {})},
        )
        try:
            code = await asyncio.wait_for(process.wait(), PATIENCE)
        finally:
            await end(process)
        if code != 0:
            raise UnexpectedError(f"perdure {arguments[0]} ended with exit code {code}")

    async def get(self, path: str, headers: Mapping[str, str] | None = None, **query: Any) -> Any:
        answer = await self.http.get(path, params=query, headers=headers)
        answer.raise_for_status()
        return answer.json()

    async def run_after(self, script: str, known: Sequence[str], total: int | None) -> Any:
        """Follow a sync's newest run to its end, with its progress."""
        columns = (
            TextColumn("   {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(script, total=total)
            give_up_at = time.monotonic() + PATIENCE
            while time.monotonic() < give_up_at:
                found = await self.get("/runs", script=script, limit=1)
                run = next((run for run in found["runs"] if run["id"] not in known), None)
                if run is not None:
                    done = sum(sum(counts.values()) for counts in run["counts"].values())
                    progress.update(bar, completed=done)
                    if run["status"] != "running":
                        if run["status"] != "success":
                            raise UnexpectedError(f"{script}: {run['status']}, {run['error']}")
                        return run
                await asyncio.sleep(0.15)
        raise UnexpectedError(f"{script} has not ended after {PATIENCE:.0f} s")

    async def records(self, model: str, cursor: str | None = None) -> list[dict[str, Any]]:
        """Read records from a cursor on, as a backend would."""
        headers = {"connection-id": "acme", "provider-config-key": "stripe"}
        found: list[dict[str, Any]] = []
        while True:
            query = {"cursor": cursor} if cursor else {}
            page = await self.get("/records", headers, model=model, limit=1000, **query)
            found += page["records"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found


async def demo(story: Story, resources: AsyncExitStack) -> None:
    """Tell the whole story."""
    story.step("Starting API, worker, Temporal and Postgres on this machine")
    began = time.monotonic()
    folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="perdure-demo-")))
    stack = await resources.enter_async_context(running_stack(folder, story))
    perdure = Perdure(stack)
    await resources.enter_async_context(perdure.http)
    story.good(f"up after {time.monotonic() - began:.1f} s at {stack.api_url}")

    story.step("A source of customers")
    source = await resources.enter_async_context(stripe(story))

    story.step("Deploying the project examples/stripe")
    await perdure.command("deploy", "--project", str(PROJECT.relative_to(EXAMPLES.parent)))

    story.step("Connecting an account")
    await perdure.command("integrations", "create", "stripe", "--provider", "stripe-api-key")
    config = ("--config", f"apiBaseUrl={source.url}") if source.is_local else ()
    key = {"PERDURE_CONNECTION_API_KEY": source.key}
    await perdure.command(
        "connections", "create", "stripe", "--id", "acme", *config, environment=key
    )

    story.step("The first run has started by itself")
    first = await perdure.run_after("customers", (), CUSTOMERS if source.is_local else None)
    products = await perdure.run_after("products", (), PRODUCTS if source.is_local else None)
    customers = await perdure.records("StripeCustomer")
    counts = counts_of(first, "StripeCustomer")
    if source.is_local:
        story.seen(f"{CUSTOMERS:,} customers are saved", len(customers), CUSTOMERS)
        story.seen(
            f"{PRODUCTS} products are saved",
            counts_of(products, "StripeProduct")["added"],
            PRODUCTS,
        )
    story.seen("what the run counted is what can be read", counts["added"], len(customers))
    command = ("records", "list", "stripe", "StripeCustomer", "-c", "acme", "--limit", "5")
    await perdure.command(*command)

    story.step("A second run finds everything unchanged")
    second = await trigger(perdure, [first["id"]], len(customers))
    counts = counts_of(second, "StripeCustomer")
    if source.is_local:
        found = {name: number for name, number in counts.items() if number}
        story.seen(f"{CUSTOMERS:,} unchanged, none reported", found, {"unchanged": CUSTOMERS})
    else:
        story.say(", ".join(f"{number:,} {name}" for name, number in counts.items()))

    story.step("One customer changes at the source")
    if source.is_local:
        await find_the_change(perdure, source, story, customers, [first["id"], second["id"]])
    else:
        story.say("Left out: nothing is changed in an account that is not ours.")

    story.step("An action creates a customer")
    if source.may_be_written_to:
        await create_customer(perdure, source, story)
    else:
        story.say("Left out: the key is not a test key, and the customer would be a real one.")

    story.step("Everything that ran")
    await perdure.command("runs", "list")
    story.say("Each run is a workflow, step by step in the Temporal UI:")
    story.say(f"  {first['temporal_url']}")
    story.say("It ends with the demo; `make dev` keeps it up.")


async def trigger(perdure: Perdure, known: Sequence[str], total: int) -> Any:
    await perdure.command("syncs", "trigger", "stripe", "customers", "-c", "acme")
    return await perdure.run_after("customers", known, total)


async def find_the_change(
    perdure: Perdure,
    source: Source,
    story: Story,
    customers: Sequence[Mapping[str, Any]],
    known: Sequence[str],
) -> None:
    changed = customers[len(customers) // 2]
    cursor = customers[-1]["_nango_metadata"]["cursor"]
    async with source.http() as http:
        answer = await http.post(f"/v1/customers/{changed['id']}", data={"name": "Grace Hopper"})
        answer.raise_for_status()
    story.say(f"{changed['id']}: {changed['name']!r} becomes 'Grace Hopper'")
    run = await trigger(perdure, known, len(customers))
    counts = counts_of(run, "StripeCustomer")
    story.seen("exactly one record was updated", counts["updated"], 1)
    story.seen("all others were left alone", counts["unchanged"], len(customers) - 1)
    news = await perdure.records("StripeCustomer", cursor)
    seen = [(new["id"], new["name"], new["_nango_metadata"]["last_action"]) for new in news]
    expected = [(changed["id"], "Grace Hopper", "UPDATED")]
    story.seen("reading on from the last cursor gives that one record, UPDATED", seen, expected)


async def create_customer(perdure: Perdure, source: Source, story: Story) -> None:
    wanted = '{"email": "katherine@example.com", "name": "Katherine Johnson"}'
    command = ("actions", "trigger", "stripe", "create-customer", "-c", "acme", "--input", wanted)
    await perdure.command(*command)
    run = (await perdure.get("/runs", kind="action", limit=1))["runs"][0]
    story.seen("the action's run ended well", run["status"], "success")
    if source.is_local:
        async with source.http() as http:
            found = (await http.get("/v1/customers", params={"limit": 10_000})).json()["data"]
        created = [customer for customer in found if customer["name"] == "Katherine Johnson"]
        story.seen("the source has exactly one new customer", len(created), 1)
        story.say(f"Its id is {created[0]['id']}.")


def counts_of(run: Mapping[str, Any], model: str) -> dict[str, int]:
    counts: dict[str, int] = run["counts"].get(model, {})
    return {name: counts.get(name, 0) for name in ("added", "updated", "deleted", "unchanged")}


@asynccontextmanager
async def running_stack(folder: Path, story: Story) -> AsyncIterator[DevFile]:
    """Run `perdure dev` for as long as the context lasts."""
    ports = ("--port", "0", "--temporal-port", "0", "--ui-port", "0")
    command = (sys.executable, "-m", "perdure", "dev", "--data-dir", str(folder), *ports)
    with (folder / "dev.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=EXAMPLES.parent, stdout=log, stderr=log, start_new_session=True
        )
        try:
            give_up_at = time.monotonic() + PATIENCE
            while (stack := read_dev_file(folder)) is None:
                if process.returncode is not None or time.monotonic() > give_up_at:
                    told = (folder / "dev.log").read_text("utf-8", "replace")
                    raise UnexpectedError(f"`perdure dev` did not come up:\n{told}")
                await asyncio.sleep(0.1)
            yield stack
        finally:
            await end(process)
        left = [name for name, pid in stack.pids.model_dump().items() if is_running(pid)]
        story.seen("no process is left running", left, [])


@asynccontextmanager
async def stripe(story: Story) -> AsyncIterator[Source]:
    """Give the Stripe account of STRIPE_API_KEY, or an imitation with customers in it."""
    key = os.environ.get("STRIPE_API_KEY")
    if key:
        story.say("STRIPE_API_KEY is set: Stripe itself is used. It is only read from, except")
        story.say("that the action creates one customer if the key is a test key.")
        yield Source("https://api.stripe.com", key, is_local=False)
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(EXAMPLES / "localstripe_server.py"), "--port", "0"),
        *("--customers", str(CUSTOMERS)),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().strip()
        url = next((word for word in line.split() if word.startswith("http://")), None)
        if url is None:
            raise UnexpectedError(f"localstripe did not come up: {line}")
        story.good(line)
        yield Source(url, "sk_test_perdure", is_local=True)
    finally:
        await end(process)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process, at the latest by force."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 20)
    except TimeoutError:
        process.kill()
        await process.wait()


async def tell() -> int:
    """Tell the story, and end everything whatever happens."""
    story = Story()
    telling = asyncio.create_task(tell_and_end(story))
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not interrupted:  # what ends everything must not be interrupted in its turn
            interrupted = True
            telling.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    try:
        await telling
    except asyncio.CancelledError:
        console.print("\nInterrupted; everything has ended.")
        return 130
    except (UnexpectedError, httpx.HTTPError) as error:
        console.print(Text("\n✗ ", "bold red") + Text(str(error) or repr(error)))
        return 1
    console.print(Text("\nThe demo ended well.", "bold green"))
    return 0


async def tell_and_end(story: Story) -> None:
    async with AsyncExitStack() as resources:
        try:
            await demo(story, resources)
        finally:
            story.step("Ending everything")


if __name__ == "__main__":
    sys.exit(asyncio.run(tell()))
