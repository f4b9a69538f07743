"""Second layer, first half: the models of a `nango.yaml`.

Reads the fields of every model, merges what it extends, and keeps the models that are made for
type expressions given as inputs and outputs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from config.problems import (
    FileCode,
    NoteCode,
    Path,
    Position,
    Problem,
    ProblemLog,
    SemanticCode,
    shorten,
)
from config.project import (
    ArrayType,
    Field,
    LiteralType,
    Model,
    ObjectType,
    TypeExpr,
    UnionType,
    references,
)
from config.type_grammar import NATIVE_WORDS, Finding, parse_type
from perdure.documents.nodes import MAX_NODES, Mapping, Node, Scalar, Sequence, YamlError, describe
from perdure.documents.scalars import Timestamp

__all__ = ["DYNAMIC", "EXTENDS", "MODEL_NAME", "ModelReader"]

MODEL_NAME = re.compile(r"[A-Za-z0-9_]+")
"""What a model can be called."""

EXTENDS = "__extends"
"""Key of a model whose text names the models it extends."""

DYNAMIC = "__string"
"""Key of a model that stands for all fields it does not name."""

_MOST_ANCESTORS = 100
_MOST_USES = 2_000_000


class ModelReader:
    """The models of a file.

    Attributes:
        models: The sound ones, in the order of the file; those made for type expressions last.
        sound: Whether all models of the file are.
        false_alarms: What Nango would warn of in them although nothing is wrong.
    """

    def __init__(self, section: Node | None, log: ProblemLog) -> None:
        self.models: dict[str, Model] = {}
        self.sound = True
        self.false_alarms: list[Problem] = []
        self._has_section = isinstance(section, Mapping)
        self._entries = section.entries if isinstance(section, Mapping) else {}
        self._words = (*NATIVE_WORDS, *self._entries)
        self._hints: dict[str, str | None] = {}
        self._log = log
        self._fields: dict[str, tuple[Field, ...]] = {}
        self._being_read: list[str] = []
        self._inherited = 0
        # Models as they are named in a model, one after the other.
        self._mentions: dict[str, list[str]] = {}
        self._references: dict[str, tuple[str, ...]] = {}
        self._closures: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._uses = 0

    def read_all(self) -> None:
        """Read every model of the file.

        Raises:
            YamlError: Inheritance multiplies the fields beyond measure.
        """
        errors = len(self._log.errors)
        for name, entry in self._entries.items():
            if not MODEL_NAME.fullmatch(name):
                message = f"{shorten(name)!r} cannot be the name of a model."
                hint = "use letters, digits and `_`"
                code = SemanticCode.INVALID_MODEL_NAME
                self._log.error(code, message, (name,), entry.key.position, hint)
            elif isinstance(entry.value, Mapping):
                self.models[name] = Model(name, self._fields_of(name))
        self.sound = len(self._log.errors) == errors
        if self.sound:
            self._warn_of_cycles()
            self._note_repeated_models()

    def is_declared(self, name: str) -> bool:
        """Return whether the file declares a model of this name, sound or not.

        Without a section of models there is no telling, and every name passes.
        """
        return name in self._entries or not self._has_section

    def has_id(self, name: str) -> bool:
        """Return whether a model has a field `id`; one that is not sound gets the benefit."""
        model = self.models.get(name)
        return model is None or any(field.name == "id" for field in model.fields)

    def add_anonymous(self, name: str, slot: str, node: Scalar, path: Path) -> Model:
        """Return the model made for a type expression, adding it to the models.

        Args:
            name: Name it should have; it gets another one if that is taken.
            slot: Name of its one field.
            node: The expression.
            path: How problems name the place.
        """
        type_, findings = parse_type(node.text, self._entries)
        literals = self._syntax_errors(findings, node, path)
        if literals and isinstance(type_, UnionType):
            self._literal_words(NoteCode.UNKNOWN_WORD, literals, node, path)
        fields = (Field(slot, type_),)
        unique, count = name, 1
        while unique in self._entries or self._is_other(unique, fields):
            count += 1
            unique = f"{name}_{count}"
        return self.models.setdefault(unique, Model(unique, fields, is_anonymous=True))

    def used_by(self, roots: Iterable[str]) -> tuple[str, ...]:
        """Return the names of all models that `roots` lead to, with themselves, sorted.

        Raises:
            YamlError: The models of the file are entangled beyond measure.
        """
        key = tuple(sorted(set(roots)))
        if key not in self._closures:
            seen = set(key)
            waiting = list(key)
            while waiting:
                fresh = [name for name in self._referenced(waiting.pop()) if name not in seen]
                seen.update(fresh)
                waiting += fresh
            self._uses += len(seen)
            if self._uses > _MOST_USES:
                self._too_complex("The models of this file refer to each other too much.")
            self._closures[key] = tuple(sorted(seen))
        return self._closures[key]

    def _is_other(self, name: str, fields: tuple[Field, ...]) -> bool:
        return name in self.models and self.models[name].fields != fields

    def _referenced(self, name: str) -> tuple[str, ...]:
        if name not in self._references:
            model = self.models.get(name)
            fields = model.fields if model else ()
            found = (target for field in fields for target in references(field.type))
            self._references[name] = tuple(dict.fromkeys(found))
        return self._references[name]

    # Fields.

    def _fields_of(self, name: str) -> tuple[Field, ...]:
        if name not in self._fields:
            self._being_read.append(name)
            body = self._entries[name].value
            fields = self._read_fields(body, (name,)) if isinstance(body, Mapping) else ()
            self._being_read.pop()
            self._inherited += len(fields)
            if self._inherited > MAX_NODES:
                self._too_complex(f"The models have more than {MAX_NODES:,} fields in all.")
            self._fields[name] = fields
        return self._fields[name]

    def _read_fields(self, mapping: Mapping, path: Path) -> tuple[Field, ...]:
        own: set[str] = set()
        named: dict[str, Field] = {}
        dynamic: Field | None = None
        for key, entry in mapping.entries.items():
            optional = key.endswith("?")
            name = key.removesuffix("?")
            if name == EXTENDS:
                # What is inherited stands where it was asked for; own fields take its place.
                for field in self._inherited_fields(entry.value, path):
                    if field.dynamic:
                        dynamic = field
                    else:
                        named.setdefault(field.name, field)
                continue
            field = Field(name, self._type(entry.value, (*path, name)), optional, name == DYNAMIC)
            if field.dynamic:
                dynamic = field
            elif name in own:
                message = f"The field `{shorten(name)}` is there with and without `?`."
                code = SemanticCode.DUPLICATE_FIELD
                self._log.error(code, message, (*path, name), entry.key.position)
            else:
                own.add(name)
                named[name] = field
        return (*named.values(), dynamic) if dynamic else tuple(named.values())

    def _inherited_fields(self, node: Node, path: Path) -> list[Field]:
        parents = self._parents(node, path)
        self._mention(path, parents)
        return [field for parent in parents for field in self._fields_of(parent)]

    def _parents(self, node: Node, path: Path) -> list[str]:
        path = (*path, EXTENDS)
        if isinstance(node, Scalar) and node.value in (None, ""):
            message = f"`{EXTENDS}` names no model."
            hint = "name the model to extend, or leave the key out"
            self._log.error(SemanticCode.EXTENDS_NOT_FOUND, message, path, node.position, hint)
            return []
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            message = f"`{EXTENDS}` must name models, not {shorten(describe(node))}."
            hint = "write several as `A, B`"
            self._log.error(SemanticCode.EXTENDS_NOT_FOUND, message, path, node.position, hint)
            return []
        parents = []
        start = 0
        for part in node.text.split(","):
            name = part.strip()
            at = start + part.index(name)
            if self._may_extend(name, node, at, path):
                parents.append(name)
            start += len(part) + 1
        return parents

    def _may_extend(self, name: str, node: Scalar, at: int, path: Path) -> bool:
        position = node.part(at, at + max(1, len(name)))
        if name not in self._entries:
            message = f"There is no model `{shorten(name)}` to extend."
            hint = self._log.did_you_mean(name, self._entries)
            self._log.error(SemanticCode.EXTENDS_NOT_FOUND, message, path, position, hint)
            return False
        if name in self._being_read:
            circle = " > ".join(self._being_read[self._being_read.index(name) :])
            message = f"A model cannot extend itself: {shorten(circle)} > {name}."
            self._log.error(SemanticCode.EXTENDS_CYCLE, message, path, position)
            return False
        if len(self._being_read) > _MOST_ANCESTORS:
            self._too_complex(f"`{EXTENDS}` leads over more than {_MOST_ANCESTORS} models.")
        return True

    # Types.

    def _type(self, node: Node, path: Path) -> TypeExpr:
        if isinstance(node, Mapping):
            return ObjectType(self._read_fields(node, path))
        if isinstance(node, Sequence):
            return ArrayType(UnionType(tuple(self._type(item, path) for item in node.items)))
        value = node.value
        if isinstance(value, str):
            return self._expression(node, path)
        if isinstance(value, Timestamp):
            message = f"{value.text} is a date and no type; it is read as an empty object."
            hint = "write `date` for any date, or put a literal in quotes"
            self._log.warn(NoteCode.DATE_AS_TYPE, message, path, node.position, hint)
            return ObjectType(())
        if isinstance(value, float) and not math.isfinite(value):
            message = f"`{shorten(node.text)}` is not a type."
            self._log.error(SemanticCode.TYPE_SYNTAX, message, path, node.position)
            return LiteralType(None)
        return LiteralType(value)

    def _expression(self, node: Scalar, path: Path) -> TypeExpr:
        type_, findings = parse_type(node.text, self._entries)
        if "[][]" in node.text:
            message = f"`{shorten(node.text)}` is a list of lists; Nango takes the inner for text."
            self._false_alarm(SemanticCode.WORD_IS_LITERAL, message, path, node.position)
        else:
            self._mention(path, references(type_))
        if literals := self._syntax_errors(findings, node, path):
            place = (path[0], literals[0].word)
            self._literal_words(SemanticCode.WORD_IS_LITERAL, literals, node, place)
        return type_

    def _syntax_errors(self, findings: list[Finding], node: Scalar, path: Path) -> list[Finding]:
        """Note those findings that are errors, and return the others."""
        for finding in findings:
            if finding.kind == "syntax":
                self._syntax_error(finding, node, path)
        return [finding for finding in findings if finding.kind == "literal"]

    def _syntax_error(self, finding: Finding, node: Scalar, path: Path) -> None:
        word = finding.word
        message = f"`{shorten(word)}` is not a type." if word else "A type is missing here."
        hint = "name its fields instead: generic types are not read" if "<" in word else None
        for generic, advice in _INSTEAD_OF_GENERICS.items():
            if word.startswith(generic):
                hint = advice
        position = node.part(finding.start, finding.start + max(1, len(word)))
        self._log.error(SemanticCode.TYPE_SYNTAX, message, path, position, hint)

    def _literal_words(self, code: str, findings: list[Finding], node: Scalar, path: Path) -> None:
        words = ", ".join(f"`{finding.word}`" for finding in findings)
        if len(findings) == 1:
            message = f"{shorten(words)} is no type and no model, so it stands for itself, as text."
        else:
            message = f"{shorten(words)} are no types and no models, so they stand for themselves."
        hints = (self.hint_for(finding.word) for finding in findings)
        hint = next((hint for hint in hints if hint), None)
        first, last = findings[0], findings[-1]
        position = node.part(first.start, last.start + len(last.word))
        self._log.warn(code, message, path, position, hint)

    def hint_for(self, word: str) -> str | None:
        """Return what was probably meant by a word that is no type, None if there is no telling."""
        if "(" in word or ")" in word:
            return "write a list of several types as `[A, B]`"
        if word == "unknown":
            return "the type for anything is `any`"
        trimmed = word.strip()
        if trimmed != word and (trimmed.lower() in NATIVE_WORDS or trimmed in self._entries):
            return f"`{trimmed}` is a type without the spaces around it"
        if word not in self._hints:
            self._hints[word] = self._log.did_you_mean(word, self._words)
        return self._hints[word]

    def _warn_of_cycles(self) -> None:
        done: set[str] = set()
        for root in self.models:
            # Depth first without recursion: a chain may be as long as the file has models.
            trail = {} if root in done else {root: iter(self._referenced(root))}
            while trail:
                last, rest = next(reversed(trail.items()))
                name = next(rest, None)
                if name is None:
                    done.add(last)
                    del trail[last]
                elif name in trail:
                    self._warn_of_cycle([*trail], name)
                elif name not in done:
                    trail[name] = iter(self._referenced(name))

    def _warn_of_cycle(self, trail: list[str], back_to: str) -> None:
        last = trail[-1]
        message = f"`{last}` leads back to `{back_to}`: such models contain themselves."
        position = self._entries[last].key.position
        self._log.warn(SemanticCode.CYCLIC_MODEL, message, tuple(trail), position)

    def _mention(self, path: Path, names: Iterable[str]) -> None:
        self._mentions.setdefault(str(path[0]), []).extend(names)

    def _note_repeated_models(self) -> None:
        """Note each model that leads to another twice, unless an earlier one led to that already.

        Nango calls that cyclic.
        """
        has_cycles = any(item.code == SemanticCode.CYCLIC_MODEL for item in self._log.warnings)
        finished: set[str] = set()
        for root in self.models:
            seen = {root: None}
            told: set[str] = set()
            trail = {root: iter(self._mentions.get(root, ()))}
            while trail:
                last, rest = next(reversed(trail.items()))
                name = next(rest, None)
                if name is None:
                    finished.add(last)
                    del trail[last]
                elif name in seen:
                    if name not in told and not (has_cycles and name in trail):
                        told.add(name)
                        self._note_repeated_model(root, name, (*seen,))
                elif name not in finished:
                    seen[name] = None
                    trail[name] = iter(self._mentions.get(name, ()))

    def _note_repeated_model(self, root: str, name: str, path: Path) -> None:
        message = f"`{root}` leads to `{name}` more than once; Nango calls that cyclic."
        position = self._entries[root].key.position
        self._false_alarm(SemanticCode.CYCLIC_MODEL, message, path, position)

    def _false_alarm(self, code: str, message: str, path: Path, position: Position) -> None:
        self.false_alarms.append(Problem(code, message, path, position, severity="warning"))

    def _too_complex(self, message: str) -> None:
        position = next(iter(self._entries.values())).key.position
        raise YamlError(Problem(FileCode.TOO_COMPLEX, message, position=position))


_INSTEAD_OF_GENERICS = {
    "Array<": "write a list as `T[]`",
    "Record<": "write `__string: T` for any keys, or `object`",
    "Map<": "write `__string: T` for any keys, or `object`",
    "Set<": "write a list as `T[]`",
    "Promise<": "name the type it resolves to",
    "Partial<": "mark each field that may be missing with `?`",
    "Date<": "write `date`",
}
