"""Print what an environment holds as a CycloneDX 1.5 bill of materials; run by the image's build."""

import json
import sys
from importlib.metadata import Distribution, distributions


def component(distribution: Distribution) -> dict[str, object]:
    """Describe one installed distribution: name, version, licence and package URL."""
    about = distribution.metadata
    name, version = about["Name"], distribution.version
    licence = about.get("License-Expression") or (about.get("License") or "").split("\n")[0]
    entry: dict[str, object] = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
    }
    if licence:
        key = "expression" if about.get("License-Expression") else "license"
        entry["licenses"] = [{key: licence if key == "expression" else {"name": licence}}]
    return entry


def main() -> None:
    """Print the document for the environment of the running interpreter."""
    found = sorted((component(d) for d in distributions()), key=lambda entry: str(entry["name"]).lower())
    python = ".".join(map(str, sys.version_info[:3]))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "eigenline"}},
        "components": [
            {"type": "platform", "name": "cpython", "version": python, "purl": f"pkg:generic/python@{python}"},
            *found,
        ],
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
