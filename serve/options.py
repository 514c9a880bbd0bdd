"""What one request asks for beyond SageMaker's answer: columns, another threshold, PCA's way back."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from eigenline.algorithms.errors import UserError, excerpt
from eigenline.serve.columns import available_columns, default_columns
from eigenline.serve.models import ServedModel

_NAMES = ("output", "threshold", "inverse")
_PREFIX = "eigenline."  # in X-Amzn-SageMaker-Custom-Attributes, which belongs to the client otherwise


class OptionError(UserError):
    """A request asks for something that does not exist, or that this model does not have."""


@dataclass(frozen=True)
class Options:
    """What an answer shall hold.

    Attributes
    ----------
    output
        Names of columns, in the order of the answer; empty for the algorithm's own.
    threshold
        Replaces a binary classifier's threshold.
    inverse
        The request's records are projections, and the answer is the records that they stand for.
    """

    output: tuple[str, ...] = ()
    threshold: float | None = None
    inverse: bool = False


_NOTHING_SPECIAL = Options()


def read_options(defaults: Options, query: str, custom_attributes: str) -> Options:
    """Return what a request asks for; a query parameter wins over an attribute, that over `defaults`.

    The query is ``output=score,contributions&threshold=0.3&inverse=true``. InvokeEndpoint passes no query, so
    the header ``X-Amzn-SageMaker-Custom-Attributes: eigenline.output=score,raw_score; eigenline.threshold=0.3``
    says the same; everything else in it is left alone.
    """
    if not query and _PREFIX not in custom_attributes:
        return defaults
    given: list[tuple[str, str]] = []
    for part in custom_attributes.split(";"):
        name, _, value = part.strip().partition("=")
        if name.startswith(_PREFIX):
            given.append((name.removeprefix(_PREFIX), value))
    try:
        given += parse_qsl(query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise OptionError(
            "The query has more than 20 parameters; there are only " + ", ".join(_NAMES) + "."
        ) from None
    options = defaults
    for name, value in given:
        options = _with(options, name.strip(), value.strip())
    return options


def _with(options: Options, name: str, value: str) -> Options:
    if name == "output":
        return replace(options, output=tuple(part.strip().lower() for part in value.split(",") if part.strip()))
    if name == "threshold":
        return replace(options, threshold=_threshold(value))
    if name == "inverse":
        if value.lower() not in ("true", "false", "1", "0"):
            raise OptionError(f"inverse must be 'true' or 'false'; got {excerpt(value)}.")
        return replace(options, inverse=value.lower() in ("true", "1"))
    near = difflib.get_close_matches(name, _NAMES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "there are: " + ", ".join(_NAMES) + "."
    raise OptionError(f"Unknown query parameter {excerpt(name)}; {hint}")


def _threshold(text: str) -> float:
    try:
        value = float(text) if len(text) < 40 else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise OptionError(f"threshold must be a finite number such as 0.3; got {excerpt(text)}.")
    return value


def columns_for(model: ServedModel, options: Options) -> tuple[str, ...]:
    """Return the columns of the answer, or say which of the wishes this model cannot fulfil."""
    if options == _NOTHING_SPECIAL:  # nearly every request
        return default_columns(model)
    if options.threshold is not None:
        _refuse_threshold_unless_binary(model)
    if options.inverse:
        if model.pca is None or model.linear is not None:
            raise OptionError(f"inverse=true is PCA's way back; this model is {_described(model)}.")
        _refuse_missing(options.output, ("reconstruction",), "with inverse=true the answer")
        return ("reconstruction",)
    _refuse_missing(options.output, available_columns(model), f"{_described(model)}")
    return options.output or default_columns(model)


def _refuse_threshold_unless_binary(model: ServedModel) -> None:
    if model.linear is None or model.linear.predictor_type != "binary_classifier":
        raise OptionError(f"threshold is for binary classifiers; this model is {_described(model)}.")


def _refuse_missing(wanted: Iterable[str], available: tuple[str, ...], owner: str) -> None:
    for name in wanted:
        if name not in available:
            near = difflib.get_close_matches(name, available, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise OptionError(
                f"There is no output {excerpt(name)}: {hint}{owner} has " + ", ".join(available) + "."
            )


def _described(model: ServedModel) -> str:
    names = []
    if model.pca is not None:
        names.append("a PCA")
    if model.linear is not None:
        names.append("a " + model.linear.predictor_type.replace("_", " "))
    return " followed by ".join(names)
