"""A figure, its peer, its target, and how they are shown."""
import dataclasses
import operator
import statistics

_COMPARE = {"<": operator.lt, "<=": operator.le, ">=": operator.ge, "==": operator.eq}


def percentile(samples, share):
    ordered = sorted(samples)
    return ordered[round(share * (len(ordered) - 1))]


@dataclasses.dataclass
class Figure:
    """`samples` and `peer_samples` are one value a repeat; what is shown and judged is their median. `judged` says whether the
    value or the ratio ours/peer is held against the target."""
    name: str
    unit: str
    samples: list
    peer: str = ""
    peer_samples: list = dataclasses.field(default_factory=list)
    target: tuple = ()  # ("<", 10)
    judged: str = "value"
    note: str = ""

    @property
    def value(self):
        return statistics.median(self.samples) if self.samples else None

    @property
    def peer_value(self):
        return statistics.median(self.peer_samples) if self.peer_samples else None

    @property
    def ratio(self):
        if not self.samples or not self.peer_samples:
            return None
        if len(self.samples) == len(self.peer_samples) and all(self.peer_samples):
            # Repeats alternate, so a slow minute of the machine hits both sides of one pair.
            return statistics.median(a / b for a, b in zip(self.samples, self.peer_samples))
        return self.value / self.peer_value if self.peer_value else None

    @property
    def passed(self):
        if not self.target:
            return None
        judged = self.ratio if self.judged == "ratio" else self.value
        return None if judged is None else _COMPARE[self.target[0]](judged, self.target[1])

    def as_json(self):
        return dataclasses.asdict(self) | {
            "value": self.value, "peer_value": self.peer_value, "ratio": self.ratio, "passed": self.passed}


def _number(value):
    if value is None:
        return "-"
    magnitude = abs(value)
    if magnitude >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if magnitude < 1 else f"{value:.2f}"


def table(benchmarks):
    """`benchmarks`: name -> list of figures."""
    head = ("BENCHMARK", "FIGURE", "OURS", "UNIT", "PEER", "RATIO", "TARGET", "", "NOTE")
    rows = [head]
    for benchmark, figures in benchmarks.items():
        for figure in figures:
            target = ""
            if figure.target:
                target = f"{'ratio ' if figure.judged == 'ratio' else ''}{figure.target[0]} {figure.target[1]:g}"
            peer = f"{_number(figure.peer_value)} {figure.peer}" if figure.peer_samples else "-"
            verdict = {True: "pass", False: "MISS", None: "" if not figure.target else "no figure"}[figure.passed]
            rows.append((benchmark, figure.name, _number(figure.value), figure.unit, peer, _number(figure.ratio), target, verdict, figure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
