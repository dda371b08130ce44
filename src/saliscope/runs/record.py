"""run.json: what a folder holds, so that the same command continues it and another one is refused."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from saliscope.errors import DataError, OptionError
from saliscope.provenance import now, versions
from saliscope.runs.place import Place
from saliscope.runs.settings import RunSettings, make_run_settings
from saliscope.settings import differences, plain

__all__ = ["RUN", "Record", "Session", "check_ours", "hash_of", "open_record", "read_record"]

RUN = "run.json"
SCHEMA = 1
_SESSIONS = 20


@dataclass
class Session:
    """One stretch of work on a run: which stage, when, where, and what it did."""

    stage: str
    started: str
    machine: str = ""
    engine: str = "local"
    workers: int = 1
    shard: str = "1/1"
    ended: str | None = None
    done: int = 0
    failed: int = 0
    key: str = ""
    """Tells it apart from all others, once it has begun."""

    @property
    def name(self) -> str:
        return self.key or f"{self.shard} {self.machine} {self.stage} {self.started}"


@dataclass
class Record:
    """What run.json says.

    `explain` are the settings that decide the maps, `resolved` what they came to: layers, preprocessing, the hash of the
    weights, the fingerprints of the data; `hash` is that of both. `measure` are the settings of the scores, `measured` their
    hash, empty before there are any. `ask` are the settings of what the network was asked about the maps last, `asked` says by key what each question
    was about, the newest first. `declared` was said before the first map was made. `selected` counts the samples of
    each split that the run is of, `available` those that there are. `root` is where the data lay last.
    """

    explain: dict[str, Any]
    resolved: dict[str, Any]
    declared: dict[str, Any]
    measure: dict[str, Any]
    hash: str = ""
    measured: str = ""
    ask: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    started: str = ""
    ended: str | None = None
    selected: dict[str, int] = field(default_factory=dict)
    available: dict[str, int] = field(default_factory=dict)
    root: str | None = None
    sessions: list[Session] = field(default_factory=list)
    _own: list[Session] = field(default_factory=list, init=False, repr=False, compare=False)

    def save(self, place: Place) -> None:
        """Write run.json whole, with what other shards have noted there since it was read."""
        with place.briefly(RUN):
            self._take_in(place)
            content = {"schema": SCHEMA, **asdict(self)}
            del content["_own"]
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            place.write(RUN, text.encode())

    def _take_in(self, place: Place) -> None:
        """Of sessions that others began the file knows more, and it may know that scores are there."""
        try:
            there = read_record(place)
        except DataError:
            return  # there is none yet
        if there.hash == self.hash:
            self.sessions = _kept([*there.sessions, *self.sessions], self._own)
            if not self.measured:
                self.measured, self.measure = there.measured, there.measure
            if not self.asked:
                self.asked, self.ask = there.asked, there.ask

    def begin(self, session: Session) -> Session:
        """Note that work begins; the last twenty sessions of each shard are kept."""
        session.key = session.key or secrets.token_hex(4)
        self._own.append(session)
        self.sessions = _kept([*self.sessions, session], self._own)
        return session

    def settings(self, **overrides: Any) -> RunSettings:
        """The settings of the run; `overrides` that are None change nothing. Raises `OptionError`."""
        given = {k: v for k, v in overrides.items() if v is not None}
        own = {**self.explain, **self.measure, **self.ask, **self.declared, "root": self.root}
        # What is kept was checked when it was written; checking methods again would bring torch.
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in own.items()}
        if not given:
            return RunSettings.model_construct(None, **kept)
        spared: dict[str, Any] = {
            k: kept.pop(k) for k in ("methods", "reference") if k in kept and k not in given
        }
        return make_run_settings(**{**kept, **given}).model_copy(update=spared)


def _kept(sessions: Sequence[Session], own: Sequence[Session]) -> list[Session]:
    """Each session once, as it stands in `own` or else as it comes first; of each shard the last twenty, as they began."""
    mine = {session.name: session for session in own}
    found: dict[str, Session] = {}
    for session in sessions:
        found.setdefault(session.name, mine.get(session.name, session))
    kept: list[Session] = []
    count: Counter[str] = Counter()
    for session in sorted(found.values(), key=lambda s: s.started)[::-1]:
        count[session.shard] += 1
        if count[session.shard] <= _SESSIONS:
            kept.insert(0, session)
    return kept


def open_record(place: Place, settings: RunSettings, resolved: Mapping[str, Any]) -> Record:
    """The record of the run in a folder, or a new one where there is none yet.

    Raises `OptionError`, naming each differing field, where the folder holds another run; `DataError` for a run.json that
    cannot be read, and for a folder that holds something else.
    """
    explain, declared = plain(settings.explaining()), plain(settings.declared())
    facts = plain(resolved)
    if not place.exists(RUN):
        orphans = any(name.endswith(".parquet") for name in place.names("maps"))
        if orphans and not place.exists(RUN):  # another shard may have begun just now
            raise DataError(
                f"{place.address} holds maps, but no {RUN} that says what they are of; name another folder, or replace them with "
                "--overwrite"
            )
        own = hash_of(explain | {"resolved": facts})
        measure = plain(settings.measuring())
        return Record(
            explain,
            facts,
            declared,
            measure,
            own,
            versions=versions(),
            started=now(),
            root=settings.root,
        )
    found = read_record(place)
    changed = differences(found.explain, explain) + differences(found.resolved, facts)
    if changed:
        raise OptionError(
            f"{place.address} holds another run: {'; '.join(changed)}. Name another folder with -o, or replace the run with "
            "--overwrite"
        )
    if (
        "primary" not in settings.model_fields_set
    ):  # it follows the protocols, which may be others now
        declared["primary"] = found.declared.get("primary")
    said = differences(found.declared, declared)
    if said:
        raise OptionError(
            f"what decides was declared when the run in {place.address} began: {'; '.join(said)}. Leave it as it was, name "
            "another folder, or look at other scores with `saliscope report --primary`, which says that they came afterwards"
        )
    found.root = settings.root or found.root
    return found


def check_ours(place: Place) -> None:
    """Raise `OptionError` where run.json belongs to something else, such as a training: it is not ours to remove."""
    if not place.exists(RUN):
        return
    try:
        content = json.loads(place.read(RUN))
    except ValueError:
        return  # damaged, so nobody's
    if isinstance(content, dict) and not {"explain", "resolved"} & set(content):
        raise OptionError(
            f"the {RUN} in {place.address} is no evaluation's, so it is not overwritten; name another folder with -o"
        )


def read_record(place: Place) -> Record:
    """Read run.json; raises `DataError` where there is none, or none that this version reads."""
    where = f"{place.address}/{RUN}"
    if not place.exists(RUN):
        raise DataError(
            f"{place.address} holds no run: there is no {RUN} in it; `saliscope evaluate ... -o {place.address}` makes one"
        )
    try:
        content = json.loads(place.read(RUN))
        schema = content.pop("schema")
        record = _record(content) if schema == SCHEMA else None
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        raise DataError(
            f"{where} is no record of an evaluation ({err}). The maps beside it may be good: begin the same evaluation in an empty "
            f"folder with --limit 1, and copy its {RUN} here. Or name another folder, or `saliscope evaluate --overwrite`"
        ) from err
    if record is None:
        raise DataError(
            f"{where} has schema {schema}, this version of saliscope reads {SCHEMA}: name another folder"
        )
    return record


def _record(content: dict[str, Any]) -> Record:
    sessions = [Session(**session) for session in content.pop("sessions")]
    return Record(**content, sessions=sessions)


def hash_of(values: Mapping[str, Any]) -> str:
    """A short hash of settings, whatever their order: 12 hex digits of sha256."""
    text = json.dumps(plain(values), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
