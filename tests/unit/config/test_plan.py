"""What a deploy will change, as a plan says it; and deploys of a part of a project."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.compile import compile_project
from config.nango_yaml import parse_nango_yaml
from config.partial import Target, narrowed
from config.plan import Change, DeployPlan, PlanEntry, plan
from config.scripts import EMPTY_PROJECT, EntryKind, Project
from perdure.errors import InvalidInputError

CONFIG = """
integrations:
  tracker:
    syncs:
      issues: {runs: every 1h, output: Issue, endpoint: GET /issues}
      people: {runs: every day, output: Person, endpoint: GET /people, sync_type: full}
    actions:
      close: {input: Ref, endpoint: POST /close}
  chat:
    syncs:
      messages: {runs: every 5m, output: Message, endpoint: GET /messages}
    on-events:
      post-connection-creation: [greet, tell]
models:
  Issue: {id: string, state: open | closed, author: Person}
  Person: {id: string, name: string}
  Ref: {id: string}
  Message: {id: string, text: string}
"""
SYNC = "from shared.api import call\n\nasync def fetch_data(nango):\n    call()\n"
FILES = {
    "nango.yaml": CONFIG,
    "shared/api.py": "def call():\n    return 1\n",
    "shared/unused.py": "X = 1\n",
    "tracker/syncs/issues.py": SYNC,
    "tracker/syncs/people.py": "async def fetch_data(nango):\n    pass\n",
    "tracker/actions/close.py": "async def run_action(nango, input):\n    return None\n",
    "chat/syncs/messages.py": SYNC,
    "chat/on-events/greet.py": "async def on_event(nango):\n    pass\n",
    "chat/on-events/tell.py": "async def on_event(nango):\n    pass\n",
}


def project(config: str = CONFIG, **files: str | None) -> Project:
    """The project of `FILES`; other contents by path with `__` for a slash, None for no file."""
    changes = {path.replace("__", "/") + ".py": text for path, text in files.items()}
    sources = {
        path: text
        for path, text in {**FILES, **changes, "nango.yaml": config}.items()
        if text is not None
    }
    return compile_project(sources).project


def found(deploy: DeployPlan) -> dict[str, PlanEntry]:
    return {f"{e.kind} {e.integration or '*'}/{e.name}": e for e in deploy.entries}


def told(entry: PlanEntry) -> set[tuple[str, str, str | None, str | None]]:
    return {(d.what, d.name, d.old, d.new) for d in entry.differences}


def test_first_deploy_only_adds() -> None:
    first = plan(EMPTY_PROJECT, project())

    assert list(found(first)) == [
        "sync tracker/issues",
        "sync tracker/people",
        "action tracker/close",
        "sync chat/messages",
        "on-event chat/post-connection-creation/greet",
        "on-event chat/post-connection-creation/tell",
        "model */Issue",
        "model */Person",
        "model */Ref",
        "model */Message",
    ]
    assert {entry.change for entry in first.entries} == {Change.ADDED}
    assert not first.destructive
    assert told(found(first)["sync tracker/issues"]) == {
        ("schedule", "runs", None, "every 1h"),
        ("output", "output", None, "Issue"),
    }


def test_the_last_thing_is_removed() -> None:
    last = plan(project(), EMPTY_PROJECT)

    assert {entry.change for entry in last.entries} == {Change.REMOVED}
    destructive = {entry.kind for entry in last.entries if entry.destructive}
    assert destructive == {EntryKind.SYNC, EntryKind.ACTION, EntryKind.ON_EVENT}
    assert found(last)["sync tracker/issues"].records_of == (("tracker", "Issue"),)


def test_changed_schedule_says_from_what_to_what() -> None:
    changed = plan(project(), project(CONFIG.replace("every 1h", "every 2h")))

    (entry,) = changed.entries
    assert (entry.name, entry.change, entry.destructive) == ("issues", Change.CHANGED, False)
    assert told(entry) == {("schedule", "runs", "every 1h", "every 2h")}


def test_changed_file_changes_the_scripts_that_can_reach_it() -> None:
    changed = plan(project(), project(shared__api="def call():\n    return 2\n"))

    assert list(found(changed)) == ["sync tracker/issues", "sync chat/messages"]
    for entry in changed.entries:
        ((what, path, old, new),) = told(entry)
        assert (what, path) == ("script", "shared/api.py")
        assert old
        assert new
        assert old != new


def test_file_that_no_script_reaches_changes_nothing() -> None:
    other = project(shared__unused=None)

    assert other.hash != project().hash
    assert plan(project(), other).is_empty


def test_comments_and_order_of_the_file_change_nothing() -> None:
    head, _, models = CONFIG.partition("models:")
    lines = models.strip("\n").split("\n")
    assert plan(
        project(), project("# new\n" + head + "models:\n" + "\n".join(lines[::-1]))
    ).is_empty


def test_changed_settings_are_named() -> None:
    config = CONFIG.replace("sync_type: full", "sync_type: full, track_deletes: true")
    config = config.replace("every day", "every day, auto_start: false")
    (entry,) = plan(project(), project(config)).entries

    assert told(entry) == {
        ("setting", "track_deletes", "false", "true"),
        ("setting", "auto_start", "true", "false"),
    }


def test_changed_model_names_its_fields_and_the_scripts_that_use_it() -> None:
    config = CONFIG.replace("name: string", "name?: string, age: number")
    changed = found(plan(project(), project(config)))

    assert list(changed) == ["sync tracker/issues", "sync tracker/people", "model */Person"]
    assert told(changed["sync tracker/issues"]) == {("model", "Person", None, None)}
    assert told(changed["model */Person"]) == {
        ("field", "name", "string", "string, optional"),
        ("field", "age", None, "number"),
    }
    assert changed["model */Person"].records_of == (("tracker", "Person"),)


def test_word_that_becomes_a_model_of_the_same_spelling_is_a_change() -> None:
    word = CONFIG.replace("text: string", "text: Body")
    model = word + "  Body: {value: string}\n"

    assert "model */Message" in found(plan(project(word), project(model)))


def test_sync_that_loses_an_output_model_is_destructive() -> None:
    config = CONFIG.replace("output: Message", "output: Text") + "  Text: {id: string}\n"
    entry = found(plan(project(), project(config)))["sync chat/messages"]

    assert entry.destructive
    assert told(entry) == {
        ("output", "output", "Message", "Text"),
        ("records", "Message", "messages", None),
    }
    assert entry.records_of == (("chat", "Message"),)


def test_sync_that_gains_an_output_model_is_not_destructive() -> None:
    config = CONFIG.replace(
        "output: Message, endpoint: GET /messages",
        "output: [Message, Text], endpoint: [GET /messages, GET /texts]",
    )
    entry = found(plan(project(), project(config + "  Text: {id: string}\n")))["sync chat/messages"]

    assert not entry.destructive


MOVES = """
integrations:
  tracker:
    syncs:
{syncs}
models:
  A: {{id: string}}
  B: {{id: string}}
  C: {{id: string}}
"""


def moves(**outputs: str) -> Project:
    """A project with syncs that save models, each by its letter."""
    syncs = [
        f"      {name}: {{runs: every day, output: [{', '.join(models)}], "
        f"endpoint: [{', '.join(f'GET /{model}' for model in models)}]}}"
        for name, models in outputs.items()
    ]
    scripts = {f"tracker__syncs__{name}": SYNC for name in outputs}
    return project(MOVES.format(syncs="\n".join(syncs)), **scripts)


@pytest.mark.parametrize(
    ("before", "after", "fates"),
    [
        # Both syncs stay, only the one before does, only the one after does, none does.
        ({"one": "AB", "two": "C"}, {"one": "A", "two": "BC"}, {("one", "B", "two")}),
        ({"one": "AB"}, {"one": "A", "two": "B"}, {("one", "B", "two")}),
        ({"one": "A", "two": "B"}, {"two": "AB"}, {("one", "A", "two")}),
        ({"one": "A"}, {"two": "A"}, {("one", "A", None)}),
        # Two change places; and one goes with a part of what it saved.
        (
            {"one": "A", "two": "B"},
            {"one": "B", "two": "A"},
            {("one", "A", "two"), ("two", "B", "one")},
        ),
        ({"one": "AB", "two": "C"}, {"two": "BC"}, {("one", "A", None), ("one", "B", "two")}),
    ],
)
def test_model_that_moves_to_another_sync_keeps_its_records_if_one_of_them_stays(
    before: dict[str, str], after: dict[str, str], fates: set[tuple[str, str, str | None]]
) -> None:
    entries = plan(moves(**before), moves(**after)).entries
    syncs = [entry for entry in entries if entry.kind is EntryKind.SYNC]

    told_ = {(e.name, d.name, d.new) for e in syncs for d in e.differences if d.what == "records"}
    assert told_ == fates
    for entry in syncs:
        lost = [
            ("tracker", model)
            for sync, model, keeper in fates
            if (sync, keeper) == (entry.name, None)
        ]
        assert entry.destructive == bool(lost or entry.change is Change.REMOVED)
        if entry.destructive:
            assert list(entry.records_of) == lost


@pytest.mark.parametrize(
    ("old", "new", "removed", "added"),
    [
        ("people:", "persons:", "sync tracker/people", "sync tracker/persons"),
        ("close:", "shut:", "action tracker/close", "action tracker/shut"),
        ("chat:", "talk:", "sync chat/messages", "sync talk/messages"),
    ],
)
def test_renaming_is_removing_and_adding(old: str, new: str, removed: str, added: str) -> None:
    names = {
        "people:": {"tracker__syncs__persons": FILES["tracker/syncs/people.py"]},
        "close:": {"tracker__actions__shut": FILES["tracker/actions/close.py"]},
        "chat:": {
            "talk__syncs__messages": SYNC,
            "talk__on-events__greet": FILES["chat/on-events/greet.py"],
            "talk__on-events__tell": FILES["chat/on-events/tell.py"],
        },
    }
    renamed = found(plan(project(), project(CONFIG.replace(old, new), **names[old])))

    assert renamed[removed].change is Change.REMOVED
    assert renamed[removed].destructive
    assert renamed[added].change is Change.ADDED


def test_removed_event_script_is_destructive_and_a_new_order_is_a_change() -> None:
    removed = found(plan(project(), project(CONFIG.replace("[greet, tell]", "[tell]"))))
    swapped = found(plan(project(), project(CONFIG.replace("[greet, tell]", "[tell, greet]"))))

    assert list(removed) == ["on-event chat/post-connection-creation/greet"]
    assert removed["on-event chat/post-connection-creation/greet"].destructive
    tell = swapped["on-event chat/post-connection-creation/tell"]
    assert told(tell) == {("setting", "order", "number 2", "number 1")}


# Any two of many projects.


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """A project with any of a few syncs, actions, events, models and files."""
    field = st.sampled_from(["string", "number", "a | b", "M2", "M2[]"])
    models = {"M1": draw(field), "M2": "string", "M3": draw(field)}
    texts = st.sampled_from(["X = 1\n", "X = 2\n", "from shared.c import X\n"])
    files = {f"shared/{name}.py": draw(texts) for name in "ab"} | {"shared/c.py": "X = 1\n"}
    lines = ["integrations:"]
    for key in draw(st.sets(st.sampled_from(["one", "two"]), min_size=1)):
        lines.append(f"  {key}:")
        outputs = draw(st.lists(st.sampled_from(["M1", "M3"]), unique=True, min_size=1))
        lines.append("    syncs:")
        for number, model in enumerate(outputs):
            runs = draw(st.sampled_from(["every 1h", "every 2h", "cron 0 6 * * *"]))
            track = draw(st.booleans())
            lines.append(
                f"      {draw(st.sampled_from(['s', 't']))}{number}: {{runs: {runs}, "
                f"output: {model}, endpoint: GET /{model}, track_deletes: {str(track).lower()}}}"
            )
            name = lines[-1].split(":")[0].strip()
            source = draw(st.sampled_from(["", "from shared.a import X\n", "import shared.b\n"]))
            files[f"{key}/syncs/{name}.py"] = source + "async def fetch_data(nango): pass\n"
        events = draw(st.lists(st.sampled_from("xyz"), unique=True))
        if events:
            lines.append(f"    on-events: {{pre-connection-deletion: [{', '.join(events)}]}}")
            for event in events:
                source = draw(st.sampled_from(["", "import shared.b\n"]))
                files[f"{key}/on-events/{event}.py"] = source + "async def on_event(nango): pass\n"
    lines.append("models:")
    lines += [f"  {name}: {{id: string, f: '{type_}'}}" for name, type_ in models.items()]
    text = "\n".join(lines)
    parsed = parse_nango_yaml(text)
    assert parsed.config is not None, parsed.errors
    return Project({**files, "nango.yaml": text}, parsed.config)


@given(projects())
def test_nothing_changes_between_equals(one: Project) -> None:
    assert plan(one, one).is_empty


@given(projects(), projects())
def test_way_back_undoes_the_way_there(one: Project, other: Project) -> None:
    there, back = found(plan(one, other)), found(plan(other, one))

    opposite = {
        Change.ADDED: Change.REMOVED,
        Change.REMOVED: Change.ADDED,
        Change.CHANGED: Change.CHANGED,
    }
    assert {name: opposite[entry.change] for name, entry in there.items()} == {
        name: entry.change for name, entry in back.items()
    }


@given(projects(), projects())
def test_plan_leads_from_one_to_the_other(one: Project, other: Project) -> None:
    def everything(project: Project) -> set[str]:
        return set(found(plan(EMPTY_PROJECT, project)))

    change = {name: entry.change for name, entry in found(plan(one, other)).items()}
    removed = {name for name, what in change.items() if what is Change.REMOVED}
    added = {name for name, what in change.items() if what is Change.ADDED}

    assert everything(one) - removed | added == everything(other)
    assert plan(other, other).is_empty


# Parts.


def part(integration: str | None = None, **script: str) -> Target:
    return Target(integration, **script)


def test_without_a_target_everything_is_deployed() -> None:
    assert narrowed(project(), EMPTY_PROJECT, Target()) is EMPTY_PROJECT


def test_integration_is_deployed_alone() -> None:
    config = CONFIG.replace("every 1h", "every 2h").replace("every 5m", "every 9m")
    desired = project(
        config.replace("      people:", "      persons:"), tracker__syncs__persons=SYNC
    )

    changed = plan(project(), narrowed(project(), desired, part("tracker")))

    assert {name: entry.change for name, entry in found(changed).items()} == {
        "sync tracker/issues": Change.CHANGED,
        "sync tracker/persons": Change.ADDED,
        "sync tracker/people": Change.REMOVED,
    }


def test_integration_that_is_gone_can_be_removed_alone() -> None:
    gone = dedent(CONFIG).partition("  chat:")[0] + "models:" + CONFIG.partition("models:")[2]

    changed = plan(project(), narrowed(project(), project(gone), part("chat")))

    assert {e.integration for e in changed.entries} == {"chat"}
    assert {e.change for e in changed.entries} == {Change.REMOVED}


@pytest.mark.parametrize("target", [part(sync="issues"), part("tracker", sync="issues")])
def test_sync_is_deployed_alone_and_removes_nothing(target: Target) -> None:
    config = CONFIG.replace("every 1h", "every 2h").replace("      people:", "      persons:")
    desired = project(
        config,
        tracker__syncs__persons=SYNC,
        tracker__syncs__issues="async def fetch_data(nango):\n    pass\n",
        shared__api="def call():\n    return 3\n",
    )

    merged = narrowed(project(), desired, target)

    assert list(found(plan(project(), merged))) == ["sync tracker/issues"]
    assert merged.files["shared/api.py"] == FILES["shared/api.py"], "it is the other scripts'"


def test_action_brings_its_models_along() -> None:
    config = CONFIG.replace("input: Ref", "input: Which").replace("every 5m", "every 9m")
    config += "  Which: {ref: Ref, by: Person}\n"

    merged = narrowed(project(), project(config), part(action="close"))

    assert list(found(plan(project(), merged))) == ["action tracker/close", "model */Which"]
    assert "class Which" in merged.files["models.py"]


def test_part_of_nothing_is_the_first_deploy() -> None:
    merged = narrowed(EMPTY_PROJECT, project(), part(sync="messages"))

    assert list(found(plan(EMPTY_PROJECT, merged))) == ["sync chat/messages", "model */Message"]
    assert set(merged.files) == {
        "nango.yaml",
        "models.py",
        "chat/syncs/messages.py",
        "shared/api.py",
    }


def test_script_under_another_spelling_leaves_no_double() -> None:
    spelled = CONFIG.replace("close:", "close-it:")
    dashes = project(spelled, **{"tracker__actions__close-it": FILES["tracker/actions/close.py"]})
    under = project(spelled, tracker__actions__close_it="async def run_action(nango, input): ...\n")

    merged = narrowed(dashes, under, part(action="close-it"))

    assert "tracker/actions/close_it.py" in merged.files
    assert "tracker/actions/close-it.py" not in merged.files


def test_models_that_a_shared_model_leads_to_are_used_by_the_others_too() -> None:
    config = CONFIG.replace("name: string", "name: string, team: Team") + "  Team: {id: string}\n"

    merged = narrowed(project(), project(config), part(sync="people"))

    tracker = merged.config.integration("tracker")
    assert tracker is not None
    issues = tracker.sync("issues")
    assert issues is not None
    assert issues.used_models == ("Issue", "Person", "Team")


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (part("nowhere"), "unknown_target"),
        (part("tracker", sync="nothing"), "unknown_target"),
        (part("chat", sync="issues"), "unknown_target"),
        (part(action="nothing"), "unknown_target"),
        (part(sync="same"), "ambiguous_target"),
    ],
)
def test_target_that_cannot_be_found_is_refused(target: Target, code: str) -> None:
    config = CONFIG.replace("      people:", "      same:").replace("messages:", "same:", 1)
    desired = project(config, tracker__syncs__same=SYNC, chat__syncs__same=SYNC)

    with pytest.raises(InvalidInputError) as refused:
        narrowed(project(), desired, target)

    assert refused.value.code == code


@pytest.mark.parametrize(
    ("output", "code"), [("Person", "duplicate_model"), ("Other", "duplicate_endpoint")]
)
def test_part_that_clashes_with_what_stays_is_refused(output: str, code: str) -> None:
    new = f"persons: {{runs: every day, output: {output}, endpoint: GET /people"
    config = CONFIG.replace("people: {runs: every day, output: Person, endpoint: GET /people", new)
    desired = project(config + "  Other: {id: string}\n", tracker__syncs__persons=SYNC)

    with pytest.raises(InvalidInputError) as refused:
        narrowed(project(), desired, part(sync="persons"))

    assert refused.value.code == code


@given(projects(), projects(), st.sampled_from(["one", "two"]), st.booleans())
def test_part_touches_no_other_integration(
    current: Project, desired: Project, key: str, only_sync: bool
) -> None:
    integration = desired.config.integration(key)
    if integration is None:
        return
    target = part(key, sync=integration.syncs[0].name) if only_sync else part(key)
    try:
        merged = narrowed(current, desired, target)
    except InvalidInputError:
        # It clashes with what stays, which only a script alone can.
        assert only_sync
        return
    changes = plan(current, merged)

    assert {e.integration for e in changes.entries if e.change is not Change.CHANGED} <= {key, None}
    removed = {(e.kind, e.integration) for e in changes.entries if e.change is Change.REMOVED}
    assert all(where == key and not only_sync for _, where in removed)
    again = narrowed(merged, desired, target)
    assert plan(merged, again).is_empty
