"""The data directory: whose it is, and what `--fresh` removes."""

import subprocess
import sys
from pathlib import Path

import pytest

from ems_streams.dev.datadir import InUseError, locked, rotate, wipe
from ems_streams.errors import SettingError


def test_two_at_once_are_refused_and_the_holder_is_named(tmp_path: Path):
    code = f"import sys, time; from pathlib import Path; from ems_streams.dev.datadir import locked\nwith locked(Path({str(tmp_path)!r})): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InUseError, match=f"process {holder.pid}"), locked(tmp_path):
            pass
        holder.kill()
    with locked(tmp_path):
        pass


def test_a_directory_that_cannot_be_made_is_a_setting_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="EMS_DATA_DIR"), locked(tmp_path / "file" / "data"):
        pass


def test_wipes_what_is_ours_and_nothing_else(tmp_path: Path):
    data_dir = tmp_path / "data"
    for name in ("kafka", "artemis", "postgres", "logs", "worker-0", "worker-12", "mine", "workers"):
        (data_dir / name).mkdir(parents=True)
        (data_dir / name / "file").write_text("x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("x")
    (data_dir / "worker-9").symlink_to(elsewhere)
    (data_dir / "worker-notes").write_text("mine")
    wipe(data_dir)
    assert sorted(path.name for path in data_dir.iterdir()) == ["mine", "worker-9", "worker-notes", "workers"]
    assert (elsewhere / "file").exists()


def test_keeps_the_log_of_the_run_before(tmp_path: Path):
    log = tmp_path / "worker-0.log"
    for run in ("first", "second"):
        rotate(log)
        log.write_text(run)
    assert (tmp_path / "worker-0.log.1").read_text() == "first"
