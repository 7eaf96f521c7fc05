"""Write README's tables from the code, between `<!-- table: name -->` and `<!-- end -->`.

python docs/write_tables.py            # rewrites README.md
"""

import re
from pathlib import Path

from onetake import tables

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(rows: tables.Rows) -> str:
    """Rows as a Markdown table."""
    header, *body = rows
    lines = [header, ("---",) * len(header), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def with_tables(text: str) -> str:
    """``text`` with every table made anew."""
    return BLOCK.sub(
        lambda found: found[1] + markdown(getattr(tables, found[2])()) + found[3], text
    )


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
