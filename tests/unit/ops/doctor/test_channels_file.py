"""A file of channels that cannot be used is found once: by the check of the settings."""

from pathlib import Path
from typing import cast

from aiohttp import ClientSession

from ems_streams.processes.doctor.context import Context
from ems_streams.processes.doctor.groups import check_notifier
from ems_streams.processes.doctor.host import check_settings
from ems_streams.settings import Settings


async def test_a_file_that_is_wrong_is_no_failure_of_the_check_of_notifiers(tmp_path: Path) -> None:
    file = tmp_path / "channels.yaml"
    file.write_text("channels: [")
    # Nothing is asked over HTTP.
    context = Context(Settings.load(channels_file=file), cast(ClientSession, None))

    of_settings, of_notifiers = await check_settings(context), await check_notifier(context)

    assert "channels-file-wrong" in [each.code for each in of_settings.findings]
    assert list(of_notifiers.findings) == []
    assert of_notifiers.facts == {"channels": "the file cannot be used"}
