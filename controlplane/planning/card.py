"""From a spec card to an epic and one ticket per feature."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from controlplane.domain import dag
from controlplane.domain.project import ProjectSpec
from controlplane.domain.repository import MAX_BRANCH, MAX_URL, branch_fault, repository_fault
from controlplane.domain.ticket import Isolation, Resources, TicketSpec, TicketType
from controlplane.errors import InvalidInput, Violation
from controlplane.planning.fields import Faults, Number, Object, Text, free_form, items, one_of, pointer

InputCheck = Callable[[str, Mapping[str, Any]], Sequence[Violation]]

MAX_FEATURES: Final = 1000
MAX_TIMEOUT_S: Final = 7 * 24 * 3600
DEFAULT_PRIORITY: Final = 5
EPIC_REF: Final = "/epic"  # no id of a feature can be spelled like it
_NOTHING: Final[Mapping[str, Any]] = {}
_NO_TEXTS: Final[tuple[str, ...]] = ()
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME: Final = Text(200, 1)
_TITLE: Final = Text(500, 1)
_PROSE: Final = Text(65536, lines=True)
_CRITERION: Final = Text(4096, 1, lines=True)
_COMMAND: Final = Text(4096, lines=True)
_AGENT: Final = Text(128)
_LABEL: Final = Text(63)
_ISOLATION: Final = one_of(
    {
        "sim": Isolation.SIM,
        "tcg": Isolation.TCG,
        "kvm-qemu": Isolation.KVM_QEMU,
        "kvm-firecracker": Isolation.KVM_FIRECRACKER,
    },
    Isolation.UNSPECIFIED,
)


@dataclass(frozen=True, slots=True)
class CardPlan:
    """What a card asks for. Features name the epic and each other by `ref`; feature N stands at /features/N."""

    project: ProjectSpec
    epic: TicketSpec
    features: tuple[TicketSpec, ...]


@dataclass(slots=True)
class _Feature:
    at: str
    ident: str
    depends_on: tuple[str, ...]
    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How the card's author calls it."""
        return self.ident or self.spec["title"]

    @property
    def ref(self) -> str:
        return self.ident or self.at


_NO_FEATURES: Final[tuple[_Feature, ...]] = ()


def plan_card(
    card: object,
    *,
    repository: str = "",
    agent: str = "",
    check_input: InputCheck | None = None,
    allow_file: bool = True,
) -> CardPlan:
    """Reads a decoded card. `repository` wins over the card's; `agent` serves features that name none, nor the card.

    `check_input` gets an agent's name and a feature's input and answers violations below that input. InvalidInput
    carries every fault of the card with its JSON pointer.
    """
    faults = Faults()
    top = Object.read(card, "", faults)
    project = _project(top, repository, agent, faults, allow_file=allow_file)
    description = top.take("description", _PROSE.read, "")
    requirements = top.take("technical_requirements", items(_CRITERION.read, 200), _NO_TEXTS)
    features = top.need("features", items(_feature, MAX_FEATURES, 1), _NO_FEATURES)
    top.finish()
    targets = _targets(features, faults)
    _check_dependencies(features, targets, faults)
    if check_input is not None:
        _check_inputs(features, project.agent, check_input, faults)
    if faults.found:
        first = faults.found[0]
        raise InvalidInput(f"{first.field or '/'}: {first.description}", violations=tuple(faults.found))
    shared = _bullets("Technical requirements", requirements)
    epic = TicketSpec(title=project.name, type=TicketType.EPIC, description=_joined(description, shared), ref=EPIC_REF)
    return CardPlan(project, epic, tuple(_ticket(each, targets, shared) for each in features))


def _project(top: Object, repository: str, agent: str, faults: Faults, *, allow_file: bool) -> ProjectSpec:
    name = top.need("name", _NAME.read, "")
    named = top.take("repository", Text(MAX_URL).read, "")
    branch = top.take("default_branch", Text(MAX_BRANCH).read, "")
    url = repository or named
    if url and (fault := repository_fault(url, allow_file=allow_file)):
        faults.add("/repository", fault)
    if branch and (fault := branch_fault(branch)):
        faults.add("/default_branch", fault)
    command = top.take("test_command", _COMMAND.read, "")
    return ProjectSpec(
        name=name,
        repository=url,
        default_branch=branch,
        agent=top.take("agent", _AGENT.read, "") or agent,
        test_command=command,
    )


def _feature(value: object, at: str, faults: Faults) -> _Feature:
    entry = Object.read(value, at, faults)
    spec = {
        "title": entry.need("title", _TITLE.read, ""),
        "description": entry.take("description", _PROSE.read, ""),
        "acceptance_criteria": entry.take("acceptance_criteria", items(_CRITERION.read, 200), _NO_TEXTS),
        "agent": entry.take("agent", _AGENT.read, ""),
        "workflow": entry.take("workflow", _AGENT.read, ""),
        "input": entry.take("input", free_form, _NOTHING),
        "priority": entry.take("priority", Number(0, 9).read, DEFAULT_PRIORITY),
        "resources": entry.take("resources", _resources, Resources()),
        "timeout_s": entry.take("timeout_s", Number(0, MAX_TIMEOUT_S).read, 0),
    }
    ident = entry.take("id", _ident, "")
    depends_on = entry.take("depends_on", items(_TITLE.read, 200), _NO_TEXTS)
    entry.finish()
    return _Feature(at, ident, depends_on, spec)


def _ident(value: object, at: str, faults: Faults) -> str:
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    faults.add(at, "must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit")
    return ""


def _resources(value: object, at: str, faults: Faults) -> Resources:
    entry = Object.read(value, at, faults)
    resources = Resources(
        vcpus=entry.take("vcpus", Number(0, 32).read, 0),
        memory_mib=entry.take("memory_mib", Number(0, 262144).read, 0),
        disk_mib=entry.take("disk_mib", Number(0, 1048576).read, 0),
        image=entry.take("image", _AGENT.read, ""),
        isolation=entry.take("isolation", _ISOLATION, Isolation.UNSPECIFIED),
        labels=entry.take("labels", _labels, {}),
    )
    entry.finish()
    return resources


def _labels(value: object, at: str, faults: Faults) -> Mapping[str, str]:
    entry = Object.read(value, at, faults)
    if len(entry.members) > 32:  # noqa: PLR2004 - as the API declares
        faults.add(at, f"must have at most 32 labels, has {len(entry.members)}")
    for name in entry.members:
        Text(63, 1).read(name, pointer(at, name), faults)
    return {name: _LABEL.read(text, pointer(at, name), faults) for name, text in entry.members.items()}


def _targets(features: Sequence[_Feature], faults: Faults) -> dict[str, _Feature]:
    """Features by what may stand in depends_on: ids and titles, which therefore must not repeat."""
    targets: dict[str, _Feature] = {}
    for name, members in (
        ("id", [each.ident for each in features]),
        ("title", [each.spec["title"] for each in features]),
    ):
        for feature, text in zip(features, members, strict=True):
            if text and targets.setdefault(text, feature) is not feature:
                faults.add(pointer(feature.at, name), f"{text!r} names {targets[text].at} already")
    return targets


def _check_dependencies(features: Sequence[_Feature], targets: Mapping[str, _Feature], faults: Faults) -> None:
    names = {name: feature.label for name, feature in targets.items()}
    graph = {each.label: [names.get(name, name) for name in each.depends_on] for each in features if each.label}
    places = {each.label: each.at for each in features}
    for fault in dag.faults(graph):
        faults.add(pointer(pointer(places[fault.node], "depends_on"), fault.index), fault.reason)
    for feature in features:
        seen: set[str] = set()
        for index, name in enumerate(feature.depends_on):
            label = names.get(name, name)
            if label in seen:
                faults.add(pointer(pointer(feature.at, "depends_on"), index), f"{name!r} is named twice")
            seen.add(label)


def _check_inputs(features: Sequence[_Feature], agent: str, check: InputCheck, faults: Faults) -> None:
    for feature in features:
        for violation in check(feature.spec["agent"] or agent, feature.spec["input"]):
            faults.add(f"{feature.at}/input{violation.field}", violation.description)


def _ticket(feature: _Feature, targets: Mapping[str, _Feature], shared: str) -> TicketSpec:
    spec = {**feature.spec, "description": _joined(feature.spec["description"], shared)}
    depends_on = tuple(targets[name].ref for name in feature.depends_on)
    return TicketSpec(type=TicketType.FEATURE, parent_id=EPIC_REF, depends_on=depends_on, ref=feature.ref, **spec)


def _bullets(heading: str, lines: Sequence[str]) -> str:
    return f"{heading}:\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
