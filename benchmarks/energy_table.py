"""Prints what is found for days whose energy is known in closed form: `python -m benchmarks.energy_table`."""

import sys

from tests.unit.domain.energy_cases import CASES, day_of


def table() -> str:
    """In Markdown."""
    lines = ["| case | true kWh | found kWh | error | quality | covered |", "|---|---:|---:|---:|---|---:|"]
    for name, case in CASES.items():
        energy = day_of(name).energy
        found = "none" if energy.kwh is None else f"{energy.kwh:,.3f}"
        lines.append(
            f"| {name} | {case.true_kwh:,.3f} | {found} | {_error(energy.kwh, case.true_kwh)} | {energy.quality.name} | {energy.covered_share:.2%} |"
        )
    return "\n".join(lines)


def _error(found_kwh: float | None, true_kwh: float) -> str:
    if found_kwh is None:
        return ""
    if abs(true_kwh) < 1e-6:  # nothing can be a share of nothing
        return f"{abs(found_kwh - true_kwh):.3f} kWh"
    share = (found_kwh - true_kwh) / true_kwh
    return "below 0.001%" if abs(share) < 1e-5 else f"{share:+.3%}"


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
