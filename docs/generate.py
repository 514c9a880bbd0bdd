"""Write the parts of the documentation that derive from code: python -m docs.generate.

Between `<!-- generated: NAME -->` and `<!-- end -->` of every page here, the text of that name is put in. A test
fails where a page is not current.
"""

from __future__ import annotations

import dataclasses
import json
import re
import string
from collections.abc import Callable
from pathlib import Path

from eigenline.algorithms.hyperparameters import declarations
from eigenline.algorithms.linear_learner.hyperparameter_effects import EFFECTS
from eigenline.container.algorithm_choice import LINEAR_LEARNER, PCA
from eigenline.container.metric_definitions import metric_definitions
from eigenline.container.training_specification import settings_type, text_of
from tests.contract.clauses import WAYS, ClauseTest, clause_tests

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


def effect_table() -> str:
    """Return what each Linear Learner hyperparameter acts on, and where it has no effect."""
    rows = []
    for name, effect in EFFECTS.items():
        where = "; ".join(f"{reason.where}: {reason.because}" for reason in effect.none)
        rows.append((f"`{name}`", effect.acts_on, where))
    return _table(("name", "acts on", "no effect where"), rows)


def metric_definition_list(algorithm: str) -> str:
    """Return the metric definitions of an algorithm as Python to paste, one a line."""
    lines = ",\n".join(f"    {json.dumps(entry)}" for entry in metric_definitions(algorithm))
    return f"```python\nmetric_definitions = [\n{lines},\n]\n```\n"


def contract_table() -> str:
    """Return the grid of the contract: clauses by ways of running, in each cell the test's file."""
    rows: dict[tuple[str, str], list[ClauseTest]] = {}
    for test in clause_tests():
        rows.setdefault((test.section, test.text), []).append(test)
    reasons: dict[str, str] = {}  # reason -> its mark, in order of appearance
    lines = []
    for (section, text), tests in rows.items():
        cells = [_cell(way, tests, reasons) for way in WAYS]
        lines.append((section, text, *cells, ", ".join(f"`{test.name.removeprefix('test_')}`" for test in tests)))
    legend = "".join(f"- {mark}: {reason}\n" for reason, mark in reasons.items())
    files = sorted({test.file.removeprefix("test_") for tests in rows.values() for test in tests})
    links = "".join(f"[{file}]: ../tests/contract/test_{file}.py\n" for file in files)
    table = _table(("", "clause", *WAYS.values(), "test"), lines)
    return f"{table}\nNot shown there, because\n\n{legend}\n{links}"


def _cell(way: str, tests: list[ClauseTest], reasons: dict[str, str]) -> str:
    """Name the file whose test runs in this way, or the mark of the reason why none does."""
    files = sorted({test.file for test in tests if way in test.ways})
    if files:
        return ", ".join(f"[{file.removeprefix('test_')}]" for file in files)
    reason = tests[0].absent[way]
    return reasons.setdefault(reason, f"*{string.ascii_lowercase[len(reasons)]}*")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(row) + " |\n" for row in lines)


SECTIONS: dict[str, Callable[[], str]] = {
    "hyperparameters pca": lambda: hyperparameter_table(PCA),
    "hyperparameters linear-learner": lambda: hyperparameter_table(LINEAR_LEARNER),
    "effects linear-learner": effect_table,
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
