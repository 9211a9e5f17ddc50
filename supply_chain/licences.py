"""Licences of installed packages, from their own metadata."""

from importlib import metadata
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.license import License

_CLASSIFIER: Final = "License :: "
_LONGEST_NAME: Final = 120
"""What is longer is the text of a licence, and not its name."""


def licences_of(name: str, version: str) -> list[License]:
    """What a package says of itself; nothing for one that is not installed here in this version, or says nothing."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return []
    if found.version != version:
        return []
    told = found.metadata
    factory = LicenseFactory()
    expression = told.get("License-Expression")
    if expression:
        return [factory.make_from_string(expression)]  # type: ignore[list-item]  # an expression is one, too
    names = [each.rsplit(" :: ", 1)[-1] for each in told.get_all("Classifier") or () if each.startswith(_CLASSIFIER)]
    names = [each for each in names if each != "OSI Approved"]
    said = (told.get("License") or "").strip()
    if not names and said and len(said) <= _LONGEST_NAME and "\n" not in said:
        names = [said]
    return [factory.make_with_name(each) for each in dict.fromkeys(names)]
