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
    """Make a row with its goal for each kind: ours beside the fastest peer that can have several jobs in hand.

    Two rows more, without a goal, keep us honest: a drain by one job at a time, and calls that were not made at once,
    for either is faster in some libraries.
    """
    rows = []
    for kind, goal in GOALS.items():
        roomy = [peer for peer in peers if kind is not Kind.DRAIN or peer.slots > 1]
        if fastest := _fastest(results, kind, roomy):
            rows.append(_row(results, kind, fastest, note, goal=goal))
    if fastest := _fastest(results, Kind.ONE, peers):
        rows.append(_row(results, Kind.MANY, fastest, f"{note}; the peer's calls one by one", theirs=Kind.ONE))
    if fastest := _fastest(results, Kind.DRAIN, [peer for peer in peers if peer.slots == 1]):
        rows.append(_row(results, Kind.DRAIN, fastest, f"{note}; the peer runs one job at a time"))
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


def _row(
    results: Results, kind: Kind, peer: Peer, note: str, *, theirs: Kind | None = None, goal: Goal | None = None
) -> Row:
    """Hold ours of a kind against a peer's of the same, or of another."""
    return Row(
        question=QUESTIONS[kind],
        ours=results.median(OURS, kind) or 0.0,
        unit="ms" if kind is Kind.LATENCY else "jobs/s",
        reference=results.median(peer, theirs or kind),
        against=f"{peer.name} {results.versions[peer]}",
        goal=goal,
        note=note,
        ours_runs=results.runs(OURS, kind),
        reference_runs=results.runs(peer, theirs or kind),
    )
