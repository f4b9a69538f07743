"""Bundles by hash, kept in memory: they never change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from temporalio import activity

from config.project import NangoConfig
from perdure.db.bundles import BundleStore, StoredBundle
from perdure.ids import BundleHash
from perdure.scripts.bundle import MODELS_FILE, ScriptKind, script_path
from perdure.scripts.loader import needed_files
from perdure.temporal.payloads import Payload, ScriptFiles

__all__ = [
    "BundleActivities",
    "BundleCache",
    "LoadFileInput",
    "LoadScriptInput",
    "script_files",
]

_CACHED_BUNDLES = 64


class BundleCache:
    """Reads bundles once per process.

    Args:
        store: Where they lie.
    """

    def __init__(self, store: BundleStore) -> None:
        self._store = store
        self._bundles: OrderedDict[BundleHash, tuple[StoredBundle, NangoConfig]] = OrderedDict()

    async def get(self, bundle_hash: BundleHash) -> StoredBundle:
        """Return a bundle.

        Raises:
            NotFoundError: `unknown_bundle`.
        """
        return (await self._entry(bundle_hash))[0]

    async def config(self, bundle_hash: BundleHash) -> NangoConfig:
        """Return the parsed configuration of a bundle.

        Raises:
            NotFoundError: `unknown_bundle`.
        """
        return (await self._entry(bundle_hash))[1]

    async def _entry(self, bundle_hash: BundleHash) -> tuple[StoredBundle, NangoConfig]:
        entry = self._bundles.get(bundle_hash)
        if entry is None:
            stored = await self._store.get(bundle_hash)
            entry = self._bundles[bundle_hash] = (stored, NangoConfig.from_json(stored.config))
            if len(self._bundles) > _CACHED_BUNDLES:
                self._bundles.popitem(last=False)
        else:
            self._bundles.move_to_end(bundle_hash)
        return entry


def script_files(
    bundle: StoredBundle, integration: str, kind: ScriptKind, name: str, *, older: bool = False
) -> ScriptFiles:
    """Return the files of a bundle that one script needs.

    Args:
        bundle: The bundle.
        integration: Key of the script's integration.
        kind: What it is.
        name: Its name.
        older: Whether the older key `post-connection-scripts` names it.

    Raises:
        NotFoundError: `script_not_found`.
    """
    return _files(bundle, script_path(bundle.files, integration, kind, name, older=older))


@dataclass(frozen=True, slots=True)
class _Script:
    """A script of a bundle, told apart by hash and path alone."""

    bundle: BundleHash
    path: str
    files: Mapping[str, str] = field(compare=False)


def _files(bundle: StoredBundle, path: str) -> ScriptFiles:
    return _files_of(_Script(bundle.hash, path, bundle.files))


@lru_cache(maxsize=256)
def _files_of(script: _Script) -> ScriptFiles:
    """Return a script's files; to find them all of them are parsed, so that is done once."""
    try:
        files = needed_files(script.files, script.path)
        # Validation needs the models even where the script does not import them.
        files[MODELS_FILE] = script.files[MODELS_FILE]
    except SyntaxError:
        # The run itself reports it, with file and line.
        files = dict(script.files)
    return ScriptFiles(bundle=script.bundle, path=script.path, files=files)


class LoadScriptInput(Payload):
    """Which script of which bundle.

    Attributes:
        older: Whether the older key `post-connection-scripts` names it.
    """

    bundle: str
    integration: str
    kind: ScriptKind
    name: str
    older: bool = False


class LoadFileInput(Payload):
    """Which file of which bundle."""

    bundle: str
    path: str


class BundleActivities:
    """Steps that load scripts."""

    def __init__(self, bundles: BundleCache) -> None:
        self._bundles = bundles

    @activity.defn
    async def load_script(self, wanted: LoadScriptInput) -> ScriptFiles:
        """Return a script's files; the same script of the same bundle gives the same payload."""
        bundle = await self._bundles.get(BundleHash(wanted.bundle))
        return script_files(
            bundle, wanted.integration, wanted.kind, wanted.name, older=wanted.older
        )

    @activity.defn
    async def load_file(self, wanted: LoadFileInput) -> ScriptFiles:
        """Return a file of a bundle with all that it imports, as `load_script` does."""
        return _files(await self._bundles.get(BundleHash(wanted.bundle)), wanted.path)
