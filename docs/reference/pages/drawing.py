"""A table of transitions in Markdown: drawn, and as a table."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

S = TypeVar("S", bound=str)
H = TypeVar("H", bound=str)


def drawing(
    transitions: Mapping[tuple[S, H], S],
    in_words: Mapping[H, str],
    states: Sequence[S],
    *,
    column: str,
    empty: str,
    ends: Collection[S] = (),
) -> str:
    """Diagram and table.

    Args:
        transitions: What becomes of a state by an input.
        in_words: The inputs, in the order of the columns.
        states: In the order of the rows; the first is where it begins.
        column: What states are called.
        empty: What an empty cell means.
        ends: States that it may end in.
    """
    edges: dict[tuple[S, S], list[str]] = {}
    for (state, happened), new_state in transitions.items():
        edges.setdefault((state, new_state), []).append(in_words[happened])
    drawn = [f"    {state} --> {new_state}: {' / '.join(words)}\n" for (state, new_state), words in edges.items()]
    drawn += [f"    {state} --> [*]\n" for state in states if state in ends]
    rows = [f"| {state} | {' | '.join(transitions.get((state, happened), '') for happened in in_words)} |\n" for state in states]
    head = f"| {column} | {' | '.join(in_words.values())} |\n|{'---|' * (len(in_words) + 1)}\n"
    picture = f"```mermaid\nstateDiagram-v2\n    [*] --> {states[0]}\n{''.join(drawn)}```\n"
    return f"{picture}\n{empty}\n\n{head}{''.join(rows)}"
