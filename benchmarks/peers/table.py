"""What a comparison says: a line a library, ours beside the fastest of each kind with the goals, rows for the file."""

from collections.abc import Sequence

from benchmarks.peers.measure import Results
from benchmarks.peers.peers import OURS, Kind, Peer
from benchmarks.report import Goal, Row, format_figure

HEADINGS = ("library", "version", "one by one", "many at once", "bulk", "drain", "start p50", "settings")
TEXT_COLUMNS = frozenset({"library", "version", "settings"})
QUESTIONS = {
    Kind.ONE: "enqueue awaited one by one",
    Kind.MANY: "enqueue many at once",
    Kind.BULK: "enqueue in bulk",
    Kind.DRAIN: "drain by one worker process",
    Kind.LATENCY: "enqueue to handler start, p50",
}
GOALS = {
    Kind.ONE: Goal(bound=1.0),
    Kind.MANY: Goal(bound=4.0),
    Kind.BULK: Goal(bound=4.0),
    Kind.DRAIN: Goal(bound=10.0),
    Kind.LATENCY: Goal(bound=1.0, of="ours", sense="at most"),
}


def format_libraries(results: Results, libraries: Sequence[Peer]) -> str:
    """Align a line a library; one that failed has its reason below."""
    lines = [HEADINGS, *(_cells(results, peer) for peer in libraries)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = [_align(line, widths) for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    failed = [f"{peer.name} was left out: {reason}" for peer, reason in results.failures.items()]
    return "\n".join([*text, *failed])


def _cells(results: Results, peer: Peer) -> tuple[str, ...]:
    figures = []
    for kind in Kind:
        figure = results.median(peer, kind)
        unit = "ms" if kind is Kind.LATENCY else "/s"
        figures.append("" if figure is None else f"{format_figure(figure)} {unit}")
    return peer.name, results.versions.get(peer, ""), *figures, peer.settings


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.ljust(width) if heading in TEXT_COLUMNS else cell.rjust(width)
        for heading, cell, width in zip(HEADINGS, cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def rows_beside_the_fastest(results: Results, peers: Sequence[Peer], note: str) -> list[Row]:
    """Make a row with its goal for each kind: ours beside the fastest peer with room for several jobs.

    A peer that runs one job at a time has a row of its own where it is the fastest of all.
    """
    rows = []
    for kind, goal in GOALS.items():
        roomy = _fastest(results, kind, [peer for peer in peers if peer.slots > 1 or kind is not Kind.DRAIN])
        rows += [_row(results, kind, roomy, note, goal)] if roomy else []
        fastest = _fastest(results, kind, peers)
        if fastest is not None and fastest is not roomy:
            rows.append(_row(results, kind, fastest, f"{note}; {fastest.name} runs one job at a time"))
    return rows


def rows_beside_each(results: Results, peers: Sequence[Peer], note: str) -> list[Row]:
    """Make a row for each kind and peer, for the file."""
    return [
        _row(results, kind, peer, f"{note}; {peer.settings}")
        for kind in Kind
        for peer in peers
        if results.runs(peer, kind)
    ]


def _fastest(results: Results, kind: Kind, peers: Sequence[Peer]) -> Peer | None:
    figures = {peer: figure for peer in peers if (figure := results.median(peer, kind)) is not None}
    if not figures:
        return None
    choose = min if kind is Kind.LATENCY else max
    return choose(figures, key=lambda peer: figures[peer])


def _row(results: Results, kind: Kind, peer: Peer, note: str, goal: Goal | None = None) -> Row:
    ours, theirs = results.median(OURS, kind), results.median(peer, kind)
    return Row(
        question=QUESTIONS[kind],
        ours=ours or 0.0,
        unit="ms" if kind is Kind.LATENCY else "jobs/s",
        reference=theirs,
        against=f"{peer.name} {results.versions[peer]}",
        goal=goal if ours is not None else None,
        note=note,
        ours_runs=results.runs(OURS, kind),
        reference_runs=results.runs(peer, kind),
    )
