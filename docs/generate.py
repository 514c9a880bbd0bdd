"""Write the parts of the documentation that derive from code: python -m docs.generate.

Between `<!-- generated: NAME -->` and `<!-- end -->` of every page here, the text of that name is put in. A test
fails where a page is not current.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

from algorithms.hyperparameters import declarations
from container.algorithm_choice import LINEAR_LEARNER, PCA
from container.metric_definitions import metric_definitions
from container.training_specification import settings_type, text_of

ROOT = Path(__file__).parents[1]
_SECTION = re.compile(r"(<!-- generated: ([a-z- ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def hyperparameter_table(algorithm: str) -> str:
    """Return the Markdown table of an algorithm's hyperparameters, in order of declaration."""
    rows = []
    for name, (declaration, default) in declarations(settings_type(algorithm)).items():
        shown = "required" if default is dataclasses.MISSING else f"`{text_of(default)}`"
        own = " (not in SageMaker)" if declaration.extension else ""
        rows.append((f"`{name}`", shown, declaration.domain.rule.replace("|", "\\|"), declaration.doc + own))
    return _table(("name", "default", "values", "meaning"), rows)


def metric_definition_list(algorithm: str) -> str:
    """Return the metric definitions of an algorithm as Python to paste, one a line."""
    lines = ",\n".join(f"    {json.dumps(entry)}" for entry in metric_definitions(algorithm))
    return f"```python\nmetric_definitions = [\n{lines},\n]\n```\n"


def contract_table() -> str:
    """Return the contract as a table: a line a test, and where that test runs."""
    rows = []
    for path in sorted((ROOT / "tests" / "contract").glob("test_*.py")):
        tree = ast.parse(path.read_text())
        everywhere_image = "pytestmark" in ast.unparse(tree)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                places = _places(node, path.stem, everywhere_image)
                if places:
                    clause = node.name.removeprefix("test_").replace("_", " ")
                    marks = ["yes" if place in places else "" for place in ("process", "image", "SDK 2", "SDK 3")]
                    rows.append((f"{clause}", *marks, f"`{path.stem}`"))
    return _table(("clause", "process", "image", "SDK 2", "SDK 3", "tests/contract/"), rows)


def _places(node: ast.FunctionDef, file: str, everywhere_image: bool) -> set[str]:
    if file == "test_sdks":
        return {"image", "SDK 3" if "sdk_3" in node.name else "SDK 2"}
    arguments = {argument.arg for argument in node.args.args}
    marked = any("mark.image" in ast.unparse(decorator) for decorator in node.decorator_list)
    if "start" in arguments:
        only_process = "request" in arguments
        return {"process"} if only_process else {"process", "image"}
    return {"image"} if everywhere_image or marked else set()


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(row) + " |\n" for row in lines)


SECTIONS: dict[str, Callable[[], str]] = {
    "hyperparameters pca": lambda: hyperparameter_table(PCA),
    "hyperparameters linear-learner": lambda: hyperparameter_table(LINEAR_LEARNER),
    "metrics pca": lambda: metric_definition_list(PCA),
    "metrics linear-learner": lambda: metric_definition_list(LINEAR_LEARNER),
    "contract": contract_table,
}


def generated(page: str) -> str:
    """Return a page with all of its generated parts current."""
    return _SECTION.sub(lambda match: match[1] + SECTIONS[match[2]]() + match[4], page)


def main() -> None:
    """Bring all pages up to date."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        page = path.read_text()
        if (current := generated(page)) != page:
            path.write_text(current)


if __name__ == "__main__":
    main()
