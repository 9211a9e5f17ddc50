"""Compiles the hot folds when there is a C compiler. Without one everything works, at about half the speed."""

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = tuple(f"ems_streams.domain.{name}" for name in ("_telemetry", "_hot", "_device", "_windows"))
# Sums are exact only when every operation is rounded as written: some compilers fuse multiplication and addition unless told not to.
OPTIONS = ["-O2", "-ffp-contract=off"]


class CustomBuildHook(BuildHookInterface):
    """Puts the extension module beside its source, and into a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel or an editable installation is made."""
        if self.target_name != "wheel":
            return
        try:
            compile_folds(Path(self.root))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever is missing, the plain Python does the same
            self.app.display_warning(f"the folds are not compiled ({error}); they run in plain Python, at about half the speed")
            return
        build_data["artifacts"].append("ems_streams/domain/_*.so")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def compile_folds(root: Path) -> None:
    """Compile in place; raises whatever the compiler or its absence raises."""
    import os

    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    with tempfile.TemporaryDirectory() as directory:
        before = Path.cwd()
        os.chdir(root)  # module names come from paths relative to here
        try:
            extensions = [Extension(name, [f"{name.replace('.', '/')}.pyx"], extra_compile_args=OPTIONS) for name in MODULES]
            compiled = cythonize(extensions, build_dir=directory, quiet=True)
            command = Distribution({"ext_modules": compiled}).get_command_obj("build_ext")
            command.inplace = True
            command.build_temp = directory
            command.ensure_finalized()
            command.run()
        finally:
            os.chdir(before)
