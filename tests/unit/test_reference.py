"""The reference in docs/ is what the code says."""

import runpy
from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_settings_reference_is_current() -> None:
    generated = runpy.run_path(str(REFERENCE / "generate.py"))["settings_reference"]()

    assert (REFERENCE / "settings.md").read_text() == generated, "run `make docs`"


def test_the_drawn_status_machine_is_that_of_the_code() -> None:
    generated = runpy.run_path(str(REFERENCE / "generate.py"))["status_reference"]()

    assert (REFERENCE / "status-machine.md").read_text() == generated, "run `make docs`"


def test_the_drawn_life_of_an_alarm_is_that_of_the_code() -> None:
    generated = runpy.run_path(str(REFERENCE / "generate.py"))["alarm_reference"]()

    assert (REFERENCE / "alarm-lifecycle.md").read_text() == generated, "run `make docs`"


def test_the_table_of_built_in_rules_is_that_of_their_file() -> None:
    generated = runpy.run_path(str(REFERENCE / "generate.py"))["rules_reference"]()

    assert (REFERENCE / "builtin-rules.md").read_text() == generated, "run `make docs`"


def test_the_metrics_reference_is_current() -> None:
    generated = runpy.run_path(str(REFERENCE / "generate.py"))["metrics_reference"]()

    assert (REFERENCE / "metrics.md").read_text() == generated, "run `make docs`"


def test_the_drawn_life_of_a_command_is_that_of_the_code() -> None:
    generated = runpy.run_path(str(REFERENCE / "generate.py"))["command_reference"]()

    assert (REFERENCE / "command-life.md").read_text() == generated, "run `make docs`"
