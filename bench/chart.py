# SPDX-License-Identifier: BSD-2-Clause
"""Charts as SVG text, drawn with nothing but format strings: the same figures give the same bytes. Both kinds have a
logarithmic axis of values, because what is compared is ratios. Colours are legible on light and on dark ground, and
lines differ in their marks, too.

    lines(title, unit, ["1", "16"], [("Pagewire", [10.0, None], False), ...])   None: not measured; True: dashed
    bars(title, unit, ["1 KB", "4 KB"], [("Pagewire", [1.0, 2.0]), ...])
"""
import math

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 60, 50
NAMES = ("Pagewire", "Linux + nginx", "floor")  # the order of colours and marks
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.c0 { stroke: #0969da; fill: #0969da } .c1 { stroke: #bc4c00; fill: #bc4c00 } .c2 { stroke: #6e7781; fill: #6e7781 }
.line { fill: none; stroke-width: 2.5 } .dashed { stroke-dasharray: 6 4 } .bar { stroke: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .grid { stroke: #444c56 }
.c0 { stroke: #58a6ff; fill: #58a6ff } .c1 { stroke: #f0883e; fill: #f0883e } .c2 { stroke: #9ea7b3; fill: #9ea7b3 }
.line { fill: none } .bar { stroke: none }
}"""


def short(value):
    """1500000 as 1.5 M."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


class Axis:
    """Powers of ten from below the least to above the largest value."""

    def __init__(self, values):
        values = [v for v in values if v]
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)

    def y(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    def grid(self):
        for power in range(self.low, self.high + 1):
            y = self.y(10 ** power)
            yield f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(10 ** power)}</text>'


def colour(name):
    return next((n for n, known in enumerate(NAMES) if name.startswith(known)), 2)


def mark(kind, x, y):
    if kind == 0:
        return f'<circle class="c0" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if kind == 1:
        return f'<rect class="c1" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    return f'<path class="c2" d="M{x:.1f} {y - 5:.1f}l5 9h-10z"/>'


def legend(names):
    x = LEFT
    for name in names:
        yield mark(colour(name), x + 5, 42)
        yield f'<text x="{x + 16}" y="46">{name}</text>'
        x += 40 + 8 * len(name)


def frame(title, unit, names, body):
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img" aria-label="{title}, {unit}">', f"<title>{title}, {unit}</title>",
            f"<style>{STYLE}\n</style>", f'<text class="title" x="{LEFT}" y="22">{title}, {unit}</text>',
            *legend(names)]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def labels(categories, step):
    for n, text in enumerate(categories):
        yield f'<text x="{LEFT + step * (n + 0.5):.1f}" y="{HEIGHT - 22}" text-anchor="middle">{text}</text>'


def lines(title, unit, categories, series):
    axis = Axis([v for _, values, _ in series for v in values])
    step = (WIDTH - LEFT - RIGHT) / len(categories)
    body = [*axis.grid(), *labels(categories, step)]
    for name, values, dashed in series:
        points = [(LEFT + step * (n + 0.5), axis.y(v)) for n, v in enumerate(values) if v]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        kind = colour(name)
        body.append(f'<polyline class="c{kind} line{" dashed" if dashed else ""}" points="{path}"/>')
        body += [mark(kind, x, y) for x, y in points]
    return frame(title, unit, [name for name, _, dashed in series if not dashed], body)


def bars(title, unit, categories, series):
    axis = Axis([v for _, values in series for v in values])
    step = (WIDTH - LEFT - RIGHT) / len(categories)
    wide = step * 0.8 / len(series)
    body = [*axis.grid(), *labels(categories, step)]
    for number, (name, values) in enumerate(series):
        for n, value in enumerate(values):
            if not value:
                continue
            x, y = LEFT + step * (n + 0.1) + wide * number, axis.y(value)
            body.append(f'<rect class="c{colour(name)} bar" x="{x + 1:.1f}" y="{y:.1f}" width="{wide - 2:.1f}" '
                        f'height="{HEIGHT - BOTTOM - y:.1f}"/>')
            body.append(f'<text x="{x + wide / 2:.1f}" y="{y - 5:.1f}" text-anchor="middle">{short(value)}</text>')
    return frame(title, unit, [name for name, _ in series], body)
