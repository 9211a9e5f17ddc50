"""settings.md: every setting, from `ems_streams/settings.py`."""

from ems_streams.settings import Settings, as_set, environment_names, is_secret

INTRODUCTION = """\
# Settings

Environment variables, or lines in `.env`; the environment wins. Every name can be given as `NAME_FILE` with the path of a file that holds the value, as
for secrets. An empty value counts as not set. `ems-streams config show` prints what is in force.

| setting | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The reference in Markdown."""
    rows = []
    for name, field in Settings.model_fields.items():
        names = environment_names(name, field)[::2]
        secret = " (secret)" if is_secret(field) else ""
        default = field.default.get_secret_value() if hasattr(field.default, "get_secret_value") else field.default
        shown = "" if default in (None, {}) else f"`{as_set(default)}`"
        rows.append(f"| {' or '.join(f'`{each}`' for each in names)} | {shown} | {field.description}{secret} |\n")
    return INTRODUCTION + "".join(rows)
