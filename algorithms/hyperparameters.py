"""Hyperparameters declared as data: named domains, SageMaker's strings parsed, every problem reported at once."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

import numpy as np

from eigenline.algorithms.errors import HyperparameterError, excerpt

Auto: TypeAlias = Literal["auto"]
AUTO: Final[Auto] = "auto"

# Python's own int() and float() also take "1_000", " 7 " and non-ASCII digits; SageMaker's schema does not.
_INTEGER = re.compile(r"[+-]?[0-9]+")
# Each character can be matched in one way only, or digits before a letter would take quadratic time.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LONGEST_INTEGER = 18  # digits; beyond, nothing is meant seriously, and Python's int() takes quadratic time
_LONGEST_NUMBER = 999  # characters


@dataclass(frozen=True)
class Domain:
    """The set of values that a hyperparameter may take.

    Attributes
    ----------
    rule
        The set in words, to follow "must be": ``an integer of at least 1``.
    parse
        Text to value; raises ValueError for text outside the set.
    kind
        SageMaker's name for the type: ``Integer``, ``Continuous``, ``Categorical`` or ``FreeText``.
    low, high
        Bounds of a numeric set, as SageMaker's training specification wants them; None where there is none.
    choices
        The members of a categorical set.
    """

    rule: str
    parse: Callable[[str], Any]
    kind: Literal["Integer", "Continuous", "Categorical", "FreeText"]
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def integer(low: int, high: int | None = None) -> Domain:
    """Integers from `low` to `high`, both included; without `high`, without end."""

    def parse(text: str) -> int:
        if len(text) > _LONGEST_INTEGER or not _INTEGER.fullmatch(text):
            raise ValueError(text)
        value = int(text)
        if value < low or (high is not None and value > high):
            raise ValueError(text)
        return value

    rule = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    return Domain(rule, parse, "Integer", low, high)


def number(low: float, high: float = math.inf, *, low_open: bool = False, high_open: bool = False) -> Domain:
    """Finite real numbers between `low` and `high`; an open end is itself excluded."""

    def parse(text: str) -> float:
        if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
            raise ValueError(text)
        value = float(text)
        inside_low = value > low if low_open else value >= low
        inside_high = value < high if high_open or math.isinf(high) else value <= high
        if not (inside_low and inside_high):
            raise ValueError(text)
        return value

    left, right = "(" if low_open else "[", ")" if high_open or math.isinf(high) else "]"
    interval = f"{left}{_bound(low)}, {_bound(high)}{right}"
    rule = "a finite number" if low == -math.inf and high == math.inf else f"a number in {interval}"
    return Domain(
        rule,
        parse,
        "Continuous",
        None if math.isinf(low) else low,
        None if math.isinf(high) else high,
    )


def _bound(value: float) -> str:
    return {math.inf: "inf", -math.inf: "-inf"}.get(value, f"{value:g}")


def one_of(*choices: str, aliases: Mapping[str, str] | None = None) -> Domain:
    """One of a few words; `aliases` maps further spellings onto them."""
    spellings = {choice: choice for choice in choices} | dict(aliases or {})

    def parse(text: str) -> str:
        if text not in spellings:
            raise ValueError(text)
        return spellings[text]

    return Domain("one of " + ", ".join(map(repr, choices)), parse, "Categorical", choices=choices)


def either(first: Domain, second: Domain) -> Domain:
    """The union of two domains; the first that takes the text decides its value."""

    def parse(text: str) -> Any:
        try:
            return first.parse(text)
        except ValueError:
            return second.parse(text)

    return Domain(f"{first.rule} or {second.rule}", parse, "FreeText", choices=first.choices)


def auto_or(domain: Domain) -> Domain:
    """The word ``auto``, which leaves the choice to the algorithm, or a value of `domain`."""
    return either(Domain("'auto'", one_of(AUTO).parse, "Categorical", choices=(AUTO,)), domain)


def _parse_flag(text: str) -> bool:
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


FLAG: Final = Domain("'true' or 'false'", _parse_flag, "Categorical", choices=("true", "false"))
POSITIVE_INTEGER: Final = integer(1)
NON_NEGATIVE: Final = number(0)
POSITIVE: Final = number(0, low_open=True)


@dataclass(frozen=True)
class Declaration:
    """What is declared about one hyperparameter beside its name, type and default."""

    domain: Domain
    doc: str
    extension: bool = False  # True: AWS does not have it


def hyperparameter(
    domain: Domain, default: Any = dataclasses.MISSING, *, doc: str, extension: bool = False
) -> Any:
    """Declare one field of a settings dataclass; without `default` it is required."""
    metadata = {"declaration": Declaration(domain, doc, extension)}
    return dataclasses.field(default=default, metadata=metadata, kw_only=True)


def declarations(settings_type: type) -> dict[str, tuple[Declaration, Any]]:
    """Return name -> (declaration, default) of a settings dataclass, in order of declaration."""
    return {
        field.name: (field.metadata["declaration"], field.default)
        for field in dataclasses.fields(settings_type)
        if "declaration" in field.metadata
    }


Settings = TypeVar("Settings")


def parse(
    settings_type: type[Settings], given: Mapping[str, object], tolerated: frozenset[str] = frozenset()
) -> Settings:
    """Make a settings object from hyperparameters as SageMaker delivers them, or name every problem at once.

    Parameters
    ----------
    settings_type
        A frozen dataclass of `hyperparameter` fields. Where it has a method ``conflicts() -> list[str]``,
        that is asked for rules across fields once every field by itself is right.
    given
        Names to values. SageMaker sends only strings; numbers and booleans are taken too.
    tolerated
        Further names that are accepted and ignored. Names that begin with ``_`` (private to the service)
        or ``sagemaker_`` (the SDK's own) always are.

    Raises
    ------
    HyperparameterError
        With one line a problem: name, rule and value; near names for unknown ones.
    """
    known = declarations(settings_type)
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in known:
            domain = known[name][0].domain
            try:
                values[name] = domain.parse(_as_text(value))
            except ValueError:
                problems.append(f"{name}: must be {domain.rule}; got {excerpt(value)}")
        elif not (name in tolerated or name.startswith(("_", "sagemaker_"))):
            near = difflib.get_close_matches(name, known, n=1)
            problems.append(
                f"{excerpt(name)}: unknown hyperparameter" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    for name, (declaration, default) in known.items():
        if default is dataclasses.MISSING and name not in given:
            problems.append(f"{name}: is required, and must be {declaration.domain.rule}")
    if not problems:
        settings = settings_type(**values)
        conflicts = getattr(settings, "conflicts", None)
        problems = conflicts() if conflicts else []
        if not problems:
            return settings
    if len(problems) == 1:
        raise HyperparameterError(f"Hyperparameter {problems[0]}")
    raise HyperparameterError(
        f"{len(problems)} hyperparameters are wrong:\n" + "\n".join(f"  {p}" for p in problems)
    )


def _as_text(value: object) -> str:
    if isinstance(value, np.generic):  # as a search over `np.logspace` gives them
        value = value.item()
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    raise ValueError(value)
