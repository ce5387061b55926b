"""Write the tables of results into the pages that show them: `make tables`.

A page says in a comment which command prints its table, and the table stands below it:

    <!-- results: dreamer table docs/results/scores/dreamer_laptop.csv -->
"""

import re
from pathlib import Path

from dreamer.results.report import results_table

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/results/README.md")
TABLE = re.compile(
    r"(?<=<!-- results: dreamer table )(?P<files>.+?)( -->\n).*?(?=<!-- /results -->)", re.DOTALL
)


def with_table(page: str) -> str:
    """Return the text of a page with its table made anew."""

    def table(found: re.Match[str]) -> str:
        files = [path for pattern in found["files"].split() for path in sorted(ROOT.glob(pattern))]
        return found["files"] + found[2] + results_table(files)

    return TABLE.sub(table, page)


if __name__ == "__main__":
    for page in PAGES:
        path = ROOT / page
        path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
