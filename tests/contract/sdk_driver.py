"""Drives one of SageMaker's SDKs for the tests: python tests/contract/sdk_driver.py sdk2|sdk3.

Run by the SDK's own interpreter. Importing an SDK takes seconds, so one process serves all tests: each line of
standard input is one call as JSON, each line of standard output its answer. What the SDK prints goes to standard
error.
"""

import base64
import json
import os
import re
import sys
import traceback
from importlib import import_module
from typing import Any


def call(sdk: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Make one call of the SDK and return what came of it."""
    match request.pop("call"):
        case "train":
            try:
                return {"code": 0, "artifacts": sdk.train(**request)}
            except RuntimeError as error:  # how both SDKs report a job that failed
                code = re.search(r"exited with code: (-?\d+)", str(error))
                if not code:
                    raise
                return {"code": int(code[1]), "artifacts": sdk.artifacts_of(request["root"])}
        case "serve":
            return {"port": sdk.serve(**request)}
        case "invoke":
            answer = sdk.invoke(base64.b64decode(request.pop("body")), **request)
            stream = answer["Body"]  # a response of urllib3, which keeps the status that local mode passes over
            return {
                "status": stream.status,
                "content_type": stream.headers.get("Content-Type", ""),
                "body": base64.b64encode(stream.read()).decode(),
            }
        case "stop":
            sdk.stop()
            return {}
        case other:
            raise ValueError(f"no such call: {other}")


def main() -> None:
    """Answer calls until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # the SDKs' threads print whenever a container does
    sdk = import_module(f"{sys.argv[1]}_jobs")  # beside this file
    for line in sys.stdin:
        try:
            answer = call(sdk, json.loads(line))
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # the SDKs' own threads would wait for their containers


if __name__ == "__main__":
    main()
