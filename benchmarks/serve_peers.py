"""The servers that are compared: ours, the same application on other fronts, and other model servers.

Every peer gets the same artifact and the same matrix product on one worker. CSV and JSON are read as their users
do (`numpy.loadtxt`, `json`). No peer reads recordIO. MLServer and the Java server are lent our reader for it;
"Starlette, numpy, json, SDK" reads record by record, as the SageMaker SDK does; "Starlette, our formats" has our
readers and writers throughout: it differs from us in the web framework alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_MODEL = """
import io, json, struct, sys
import numpy as np
sys.path.insert(0, {root!r})
from eigenline.formats.artifact.model_file import read_artifact
from eigenline.formats.requests import read_features
from eigenline.formats.answers import write_answer
from eigenline.formats.recordio.record_pb2 import Record
model = read_artifact(open({artifact!r}, "rb").read())

def features_of(body, content_type):
    if content_type == "text/csv":
        return np.loadtxt(io.BytesIO(body), delimiter=",", dtype=np.float32, ndmin=2)
    if content_type == "application/json":
        return np.array([instance["features"] for instance in json.loads(body)["instances"]], dtype=np.float32)
    return read_features(body, content_type)

def records_of(body):
    place, rows = 0, []
    while place < len(body):
        _, length = struct.unpack_from("<II", body, place)
        record = Record()
        record.ParseFromString(body[place + 8 : place + 8 + length])
        rows.append(np.array(record.features["values"].float32_tensor.values, dtype=np.float32))
        place += 8 + length + -length % 4
    return np.stack(rows)

def sdks_way(body, content_type):
    is_recordio = content_type == "application/x-recordio-protobuf"
    return text_of(records_of(body) if is_recordio else features_of(body, content_type))

def answer_to(body, content_type):
    return text_of(features_of(body, content_type))

def text_of(features):
    predictions = model.predict(features)
    pairs = zip(predictions.score.tolist(), predictions.predicted_label.tolist())
    return json.dumps({{"predictions": [{{"score": s, "predicted_label": int(p)}} for s, p in pairs]}})

def ours(body, content_type):
    predictions = model.predict(read_features(body, content_type, model.feature_dim))
    columns = {{"score": predictions.score, "predicted_label": predictions.predicted_label}}
    return write_answer(columns, envelope="predictions", media_type="application/json")
"""

_STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from model import ours, sdks_way

def endpoint(function):
    async def invocations(request):
        text = function(await request.body(), request.headers["content-type"])
        return Response(text, media_type="application/json")
    return invocations

app = Starlette(routes=[Route("/invocations", endpoint(sdks_way), methods=["POST"])])
app_with_our_formats = Starlette(routes=[Route("/invocations", endpoint(ours), methods=["POST"])])
"""

_MLSERVER = """
from fastapi import Request, Response
from mlserver import MLModel
from mlserver.handlers import custom_handler
from model import answer_to

class Model(MLModel):
    async def load(self) -> bool:
        return True

    @custom_handler(rest_path="/invocations")
    async def invocations(self, request: Request) -> Response:
        text = answer_to(await request.body(), request.headers["content-type"])
        return Response(text, media_type="application/json")
"""

_JAVA = """
import sys
sys.path.insert(0, {folder!r})
from model import answer_to

def handle(requests, context):
    if requests is None:  # loading
        return None
    return [answer_to(bytes(one["body"]), context.get_request_header(0, "Content-Type")) for one in requests]
"""

_JAVA_SETTINGS = """
inference_address=http://127.0.0.1:{port}
management_address=http://127.0.0.1:{management_port}
model_store={folder}/java-models
load_models=model=model
default_workers_per_model=1
default_service_handler=service:handle
decode_input_request=false
async_logging=true
"""

_JAVA_LOG = '<Configuration><Loggers><Root level="error"/></Loggers></Configuration>'

_BENTO = """
import bentoml
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
import numpy as np
from model import model

@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Model:
    @bentoml.api(route="/invocations")
    def invocations(self, instances: list) -> dict:
        rows = np.array([instance["features"] for instance in instances], dtype=np.float32)
        found = model.predict(rows)
        pairs = zip(found.score.tolist(), found.predicted_label.tolist())
        return {"predictions": [{"score": s, "predicted_label": int(p)} for s, p in pairs]}
"""


@dataclass(frozen=True)
class Peer:
    """A server: its command, its packages, what it cannot read, a program that it needs, its checkout."""

    name: str
    command: list[str]
    packages: tuple[str, ...] = ()
    only_json: bool = False
    needs: str = sys.executable
    root: Path = ROOT


def peers(folder: Path, artifact: Path, ports: range) -> list[Peer]:
    """Write the peers' sources below `folder`, and return how each is started; ours comes first."""
    (folder / "java-models/model").mkdir(parents=True, exist_ok=True)
    for name, source in {
        "model.py": _MODEL.format(root=str(ROOT), artifact=str(artifact)),
        "star.py": _STARLETTE,
        "runtime.py": _MLSERVER,
        "bento.py": _BENTO,
        "settings.json": f'{{"parallel_workers": 0, "http_port": {ports[4]}, "grpc_port": {ports[7]}, '
        f'"metrics_port": {ports[8]}, "debug": false}}',
        "java-models/model/service.py": _JAVA.format(folder=str(folder)),
        "java.properties": _JAVA_SETTINGS.format(port=ports[6], management_port=ports[9], folder=folder),
        "log4j2.xml": _JAVA_LOG,
        "model-settings.json": '{"name": "model", "implementation": "runtime.Model"}',
    }.items():
        (folder / name).write_text(source)
    here = sys.executable
    uvicorn = [str(folder / "starlette/bin/python"), "-m", "uvicorn", "--no-access-log", "--log-level=warning"]
    gthread = ["-k", "gthread", "--threads=2", "-w1", "--keep-alive=30", "--log-level=warning"]
    factory = f"eigenline.serve.app:create_app({str(artifact.parent)!r})"
    star = ("starlette", "uvicorn", "uvloop", "httptools", "numpy", "scipy", "pysimdjson", "protobuf")
    return [
        Peer(
            "eigenline",
            [here, "-m", "eigenline.serve.server", str(artifact.parent), f"--port={ports[0]}", "--workers=1"],
        ),
        Peer("our Flask application on gthread", [here, "-m", "gunicorn", f"-b:{ports[1]}", *gthread, factory]),
        Peer("Starlette, our formats", [*uvicorn, f"--port={ports[2]}", "star:app_with_our_formats"], star),
        Peer("Starlette, numpy, json, SDK", [*uvicorn, f"--port={ports[3]}", "star:app"], star),
        Peer(
            "MLServer",
            [str(folder / "mlserver/bin/mlserver"), "start", "."],
            ("mlserver", "numpy>=2", "pysimdjson", "protobuf"),
        ),
        Peer(
            "BentoML",
            [str(folder / "bentoml/bin/bentoml"), "serve", "bento:Model", f"--port={ports[5]}"],
            ("bentoml", "numpy>=2", "pysimdjson", "protobuf"),
            only_json=True,
        ),
        Peer(
            "Java multi-model server",
            _java_command(folder),
            ("multi-model-server", "numpy>=2", "pysimdjson", "protobuf"),
            needs="java",
        ),
    ]


def before(checkout: Path, artifact: Path, port: int) -> Peer:
    """Return this server as another checkout of the repository has it, on the same interpreter and packages."""
    module = "eigenline.serve.server" if (checkout / "eigenline").is_dir() else "serve.server"
    command = [sys.executable, "-m", module, str(artifact.parent), f"--port={port}", "--workers=1"]
    return Peer("before", command, root=checkout)


def _java_command(folder: Path) -> list[str]:
    """Start the server of SageMaker's inference toolkit as its own launcher does, on today's Java."""
    environment = folder / "multi-model-server"
    packages = environment / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    return [
        "java",
        f"-Dmodel_server_home={packages}",
        f"-Dlog4j.configurationFile=file://{folder}/log4j2.xml",
        "-XX:-UseContainerSupport",
        "--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED",
        "--add-opens=java.base/java.nio=ALL-UNNAMED",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-cp",
        f"{packages}/mms/frontend/*",
        "com.amazonaws.ml.mms.ModelServer",
        "--python",
        str(environment / "bin/python"),
        "-f",
        str(folder / "java.properties"),
    ]


def is_installed(peer: Peer, folder: Path) -> bool:
    """Tell whether a peer's environment has been made, and the program that it needs is there."""
    made = not peer.packages or (folder / peer.packages[0] / ".ready").exists()
    return made and shutil.which(peer.needs) is not None


def install(peer: Peer, folder: Path) -> None:
    """Make the environment of a peer, once."""
    if not peer.packages:
        return
    environment = folder / peer.packages[0]
    if not (environment / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(environment / "bin/pip"), "install", "--quiet", *peer.packages], check=True)
        (environment / ".ready").touch()
