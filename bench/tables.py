# SPDX-License-Identifier: BSD-2-Clause
"""Tables that a measurement of its own leaves in build/bench/NAME.json for the report: {"title", "machine", "columns",
"rows", "notes"}."""
import json

from machines import OUT


def lines(table):
    """As Markdown."""
    yield f"\n## {table['title']}\n\n{table.get('machine', '')}\n"
    yield "| " + " | ".join(table["columns"]) + " |"
    yield "|" + "---|" * len(table["columns"])
    for row in table["rows"]:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    for note in table.get("notes", []):
        yield f"\n* {note}"


def keep(name, table):
    """Writes it, and prints it."""
    with open(f"{OUT}/{name}.json", "w") as f:
        json.dump(table, f, indent=1)
    print("\n".join(lines(table)))


def kept(name):
    """The lines of one that was kept; none: there is no such table."""
    try:
        with open(f"{OUT}/{name}.json") as f:
            table = json.load(f)
    except (OSError, ValueError):
        return
    yield from lines(table)
