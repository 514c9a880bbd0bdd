"""What the server answers, apart from HTTP: readiness, predictions, and what becomes of each error."""

from __future__ import annotations

import functools
import logging
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.errors import DataError, UserError
from eigenline.formats.answers import write_answer
from eigenline.formats.content_types import CSV, JSON, JSON_LINES, RECORDIO, negotiate, parse_content_type
from eigenline.formats.recordio.pass_through import pass_through
from eigenline.formats.requests import read_features
from eigenline.serve.answers import Answer, Refusal, message, refuse
from eigenline.serve.columns import COLUMNS, Computation, Cost, cost_of
from eigenline.serve.models import ServedModel
from eigenline.serve.options import Options, columns_for, read_options
from eigenline.serve.settings import Settings

logger = logging.getLogger("serve")

OFFERED = (JSON, JSON_LINES, RECORDIO, CSV)
_ALWAYS_FINITE: Final = ("predicted_label", "labels")
NO_MEMORY: Final = "There is no memory for this request now. Send fewer records at a time, or unload a model."
_parse_content_type = functools.lru_cache(maxsize=64)(parse_content_type)  # clients send the same few
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(slots=True)
class Call:
    """One request for predictions, whatever brought it.

    `content_type` and `accept` are the headers as they came; `accept` is None where there was none.
    """

    body: bytes
    content_type: str = ""
    accept: str | None = None
    query: str = ""
    custom_attributes: str = ""
    request_id: str = ""
    content_encoding: str = ""


@dataclass(slots=True)
class Work:
    """One call whose records have been read and whose answer has not been computed.

    Attributes
    ----------
    call, model, options
        What was asked, and of which model.
    media_type
        Of the answer.
    names
        Columns of the answer.
    features
        Float32, shape (n, width).
    cost
        What the answer will take, known before it is paid.
    """

    call: Call
    model: ServedModel
    options: Options
    media_type: str
    names: Sequence[str]
    features: Features
    cost: Cost


def request_id_of(*candidates: str) -> str:
    """Return the first of the client's own ids that is fit for a log and a header, or a new one."""
    for candidate in candidates:
        if candidate and _REQUEST_ID.fullmatch(candidate):
            return candidate
    return f"{random.getrandbits(64):016x}"  # seeded anew after each fork, by Python itself


class Service:
    """Answers calls with one model, or with whichever model a multi-model endpoint names.

    Parameters
    ----------
    settings
        See `Settings`.
    model
        The one model; None for a multi-model endpoint, where each call brings its own.
    """

    def __init__(self, settings: Settings, model: ServedModel | None = None) -> None:
        self.settings = settings
        self.model = model
        self.defaults = Options(settings.output, settings.threshold)
        self._default_accept = JSON
        if settings.default_accept:
            self._default_accept = negotiate(settings.default_accept, OFFERED, JSON)
        if model is not None:
            columns_for(model, self.defaults)  # a wish from the environment fails at the start, not per request
        self._doubtful = model is not None  # nothing has been answered yet
        self._checking = threading.Lock()

    def ping(self) -> Answer:
        """200 when the model can answer; 503 when it cannot.

        The first call, and each call after a request failed with an error of ours, predicts one record of
        zeros to find out. A multi-model endpoint is ready before it has any model.
        """
        if self._doubtful and self.model is not None:
            with self._checking:
                try:
                    zeros = np.zeros((1, self.model.feature_dim), np.float32)
                    self._predict(self.model, zeros, self.defaults, columns_for(self.model, self.defaults))
                except Exception:
                    logger.exception("The model cannot answer; /ping says so")
                    return Answer(503, b"The model cannot answer; the log says why.\n", "text/plain")
                self._doubtful = False
        return Answer(200)

    def invoke(self, model: ServedModel, call: Call) -> Answer:
        """Answer one call; never raises."""
        work = self.read(model, call)
        return work if isinstance(work, Answer) else self.predict(work)

    def read(self, model: ServedModel, call: Call) -> Work | Answer:
        """Read a call's records, or return the answer where there is nothing to compute; never raises."""
        return self._guarded(call, lambda: self._read(model, call))

    def predict(self, work: Work) -> Answer:
        """Compute and write the answer; never raises."""
        answer = self._guarded(work.call, lambda: self._predicted(work))
        assert isinstance(answer, Answer)
        return answer

    def _guarded(self, call: Call, step: Callable[[], Work | Answer]) -> Work | Answer:
        try:
            outcome = step()
        except UserError as error:
            outcome = refuse(error, call.accept, call.request_id)
            logger.info("request_id=%s status=%d error=%s", call.request_id, outcome.status, error)
        except MemoryError:
            logger.error("request_id=%s status=507 error=no memory", call.request_id)
            outcome = message(507, NO_MEMORY, call.accept, call.request_id)
        except Exception:
            outcome = self.failure(call)
        if isinstance(outcome, Answer):
            outcome.headers = (("X-Request-Id", call.request_id), *outcome.headers)
            if call.custom_attributes:
                outcome.headers += (("X-Amzn-SageMaker-Custom-Attributes", call.custom_attributes),)
        return outcome

    def failed(self, call: Call, error: BaseException) -> Answer:
        """Return the answer to a call that ended with this error."""

        def step() -> Answer:
            raise error

        answer = self._guarded(call, step)
        assert isinstance(answer, Answer)
        return answer

    def failure(self, call: Call) -> Answer:
        """Log the exception being handled, and own up to it without telling the client its details."""
        self._doubtful = True
        logger.exception(
            "request_id=%s status=500 content_type=%r accept=%r body_bytes=%d",
            call.request_id,
            call.content_type,
            call.accept,
            len(call.body),
        )
        sentence = f"This is an error of the server, not of the request; its log has it under {call.request_id}."
        return message(500, sentence, call.accept, call.request_id)

    def _read(self, model: ServedModel, call: Call) -> Work | Answer:
        media_type = self._default_accept
        if call.accept is not None and call.accept != "*/*":
            media_type = negotiate(call.accept, OFFERED, self._default_accept)
        if call.content_encoding not in ("", "identity"):
            raise Refusal(415, f"Content-Encoding {call.content_encoding[:40]!r} is not read here; send it plain.")
        options = read_options(self.defaults, call.query, call.custom_attributes)
        names = columns_for(model, options)
        if not call.body:
            return Answer(204)
        features = _features(call, model, options)
        cost = cost_of(model, names, features, inverse=options.inverse)
        cost.check(names, self.settings.body_budget_bytes)
        return Work(call, model, options, media_type, names, features, cost)

    def _predicted(self, work: Work) -> Answer:
        call, model, media_type = work.call, work.model, work.media_type
        columns = self._predict(model, work.features, work.options, work.names)
        _check_finite(columns)
        envelope = _envelope(model, work.options)
        body = write_answer(columns, envelope=envelope, media_type=media_type, classes=model.classes)
        if media_type == RECORDIO and _parse_content_type(call.content_type).media_type == RECORDIO:
            body = pass_through(call.body, body)
        return Answer(200, body, media_type)

    def _predict(
        self, model: ServedModel, features: Features, options: Options, names: Sequence[str]
    ) -> Mapping[str, NDArray[np.float32]]:
        # Overflow to infinity is an answer about absurd input, not a fault.
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            if options.inverse and model.pca is not None:
                projections = features.toarray() if is_sparse(features) else features
                return {"reconstruction": model.pca.reconstruct(np.asarray(projections, np.float32))}
            computation = Computation(model, features, options.threshold)
            return {name: COLUMNS[name].values(computation) for name in names}


def _features(call: Call, model: ServedModel, options: Options) -> Features:
    if not call.content_type.strip():
        raise Refusal(
            415,
            "The request has no Content-Type; name one of: " + ", ".join((CSV, JSON, JSON_LINES, RECORDIO)) + ".",
        )
    content_type = _parse_content_type(call.content_type)
    assert model.pca is not None or not options.inverse
    width = model.pca.num_components if options.inverse and model.pca is not None else model.feature_dim
    return read_features(call.body, content_type, width, None if options.inverse else model.preparation)


def _check_finite(columns: Mapping[str, NDArray[np.float32]]) -> None:
    """Refuse to answer with infinities: JSON has no word for them, and no client expects them."""
    for name, values in columns.items():
        if name not in _ALWAYS_FINITE and not np.isfinite(values).all():
            bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
            raise DataError(
                f"The {name} of record {int(np.argmax(bad)) + 1} is beyond what float32 can hold: its features "
                "are too large for this model. Are they in the units of the training data?"
            )


def _envelope(model: ServedModel, options: Options) -> str:
    if options.inverse:
        return "reconstructions"
    return "projections" if model.linear is None else "predictions"
