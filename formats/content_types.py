"""Content types: parsed from a header or a channel under any spelling, and negotiated for a response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from eigenline.algorithms.errors import UserError, excerpt

RECORDIO: Final = "application/x-recordio-protobuf"
CSV: Final = "text/csv"
JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonlines"
RESPONSE_TYPES: Final = (JSON, JSON_LINES, RECORDIO, CSV)

# Spellings met in SDKs, notebooks and other SageMaker containers.
_ALIASES: Final = {
    "csv": CSV,
    "application/csv": CSV,
    "json": JSON,
    "text/json": JSON,
    "jsonlines": JSON_LINES,
    "jsonl": JSON_LINES,
    "application/jsonl": JSON_LINES,
    "application/x-jsonlines": JSON_LINES,
    "application/json-lines": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
    "protobuf": RECORDIO,
    "recordio": RECORDIO,
    "recordio-protobuf": RECORDIO,
    "x-recordio-protobuf": RECORDIO,
    "application/x-recordio": RECORDIO,
    "application/x-labeled-vector-protobuf": RECORDIO,
}
_KNOWN: Final = {**_ALIASES, **{name: name for name in RESPONSE_TYPES}}
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_MOST_LABELS: Final = 1_000_000


class UnsupportedContentType(UserError):  # noqa: N818 -- named after the HTTP status, 415
    """The data is declared as something that no reader here can read."""


class NotAcceptable(UserError):  # noqa: N818 -- named after the HTTP status, 406
    """The client accepts no form in which the answer can be written."""


@dataclass(frozen=True)
class ContentType:
    """A media type that is known here, and its parameters.

    Attributes
    ----------
    media_type
        One of `RECORDIO`, `CSV`, `JSON`, `JSON_LINES`.
    parameters
        Names in lower case to values, for example ``{"label_size": "0"}``.
    """

    media_type: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def label_size(self, default: int) -> int:
        """Return how many leading CSV columns are labels (the parameter ``label_size``)."""
        text = self.parameters.get("label_size")
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text) <= _MOST_LABELS):
            raise UnsupportedContentType(
                f"The content type's label_size is {excerpt(text)}; it must be a whole number, 0 or more, "
                "as in 'text/csv;label_size=0'."
            )
        return int(text)

    def header(self) -> bool | None:
        """Return whether CSV begins with a line of column names; None where ``header`` is not given."""
        text = self.parameters.get("header")
        if text is None:
            return None
        if text.lower() not in {"present", "absent"}:
            raise UnsupportedContentType(
                f"The content type's header is {excerpt(text)}; it must be 'present' or 'absent'."
            )
        return text.lower() == "present"

    def target(self) -> str | None:
        """Return the name of the CSV column that is the label (the parameter ``target``, which AWS does not have).

        None stands for the first column, as AWS has it.

        Raises
        ------
        UnsupportedContentType
            If it contradicts ``label_size`` or ``header``.
        """
        name = self.parameters.get("target")
        if name is None:
            return None
        if not name:
            raise UnsupportedContentType(
                "The content type's target is empty; it must be a column's name, as in "
                "'text/csv;header=present;target=price'."
            )
        if self.header() is False or self.label_size(1) != 1:
            raise UnsupportedContentType(
                f"The content type names a target, {excerpt(name)}, so the data need a header, and label_size can "
                "only be 1."
            )
        return name


def parse_content_type(header: str) -> ContentType:
    """Parse a Content-Type header or a channel's ``ContentType``.

    Letter case, spaces and quotes around values do not matter; `_ALIASES` lists other accepted spellings.

    Raises
    ------
    UnsupportedContentType
        For an unknown type (HTTP 415), or a character encoding other than UTF-8.
    """
    media_type, parameters = _split(header)
    known = _KNOWN.get(media_type)
    if known is None:
        raise UnsupportedContentType(_unsupported(media_type, header))
    encoding = parameters.get("charset") or parameters.get("encoding") or "utf-8"
    if encoding.lower() not in _UTF8:
        raise UnsupportedContentType(
            f"The content type's character encoding is {excerpt(encoding)}; only UTF-8 is read."
        )
    return ContentType(known, parameters)


def _unsupported(media_type: str, header: str) -> str:
    hint = ""
    if "libsvm" in media_type:
        hint = " libsvm text belongs to XGBoost; send sparse data as recordIO-protobuf."
    elif "parquet" in media_type or "npy" in media_type or "npz" in media_type:
        hint = " Convert the file to CSV or recordIO-protobuf first."
    named = (
        f"The content type {excerpt(header)} is not supported" if header.strip() else "No content type is named"
    )
    return f"{named}; supported are {', '.join((RECORDIO, CSV, JSON, JSON_LINES))}.{hint}"


def negotiate(accept: str | None, offered: Sequence[str] = RESPONSE_TYPES, default: str = JSON) -> str:
    """Choose the media type of a response from an Accept header.

    The client's highest quality wins; among equals the more specific range, then the first named. A wildcard
    means `default` where that matches, otherwise with the first of `offered` that does.

    Parameters
    ----------
    accept
        The header: media ranges with optional ``;q=``, separated by commas. None or blank means ``*/*``.
    offered
        Media types that the answer can take.
    default
        What ``*/*`` means: `JSON`, unless the server is configured otherwise. Any spelling is accepted.

    Raises
    ------
    NotAcceptable
        If no range matches (HTTP 406). An answer never silently takes another form.
    """
    default = _KNOWN.get(_split(default)[0], default)
    preferred = [default, *offered] if default in offered else list(offered)
    best: tuple[float, int, int] | None = None
    chosen = ""
    refused: set[str] = set()
    for position, text in enumerate((accept or "").strip().split(",") if (accept or "").strip() else ["*/*"]):
        media_range, parameters = _split(text)
        if not media_range:
            continue
        quality = _quality(parameters.get("q"))
        matches = _matches(media_range, preferred)
        if quality <= 0:
            refused.update(matches if "*" not in media_range else ())
            continue
        rank = (quality, 0 if media_range == "*/*" else 1 if media_range.endswith("/*") else 2, -position)
        if matches and (best is None or rank > best):
            best, chosen = rank, media_range
    allowed = [name for name in _matches(chosen, preferred) if name not in refused] if best else []
    if not allowed:
        raise NotAcceptable(
            f"The answer cannot be written as {excerpt((accept or '').strip())}; "
            f"acceptable are {', '.join(offered)}, or */* for {default}."
        )
    return allowed[0]


def _matches(media_range: str, preferred: Sequence[str]) -> list[str]:
    if media_range in {"*/*", "*"}:
        return list(preferred)
    if media_range.endswith("/*"):
        return [name for name in preferred if name.startswith(media_range[:-1])]
    return [name for name in preferred if name == _KNOWN.get(media_range)][:1]


def _quality(text: str | None) -> float:
    if text is None:
        return 1.0
    try:
        quality = float(text)
    except ValueError:
        return 1.0  # Chosen: a malformed q is ignored rather than refused, as lenient servers do
    return min(max(quality, 0.0), 1.0) if quality == quality else 1.0


def _split(header: str) -> tuple[str, dict[str, str]]:
    """Split ``type; name=value; ...`` into the lower-case type and its parameters."""
    media_type, *pieces = header.split(";")
    parameters = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if equals:
            parameters[name.strip().lower()] = value.strip().strip('"').strip()
    return media_type.strip().lower(), parameters
