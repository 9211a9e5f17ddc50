"""Parameters by which dead letters are chosen."""

from typing import Final

from ems_streams.dead_letters.views import STATES
from ems_streams.gateway.openapi.describe import Parameter
from ems_streams.gateway.openapi.parameters import TEXT, TIME

FILTERS: Final = (
    Parameter("errorClass", "Only of one of these error classes; `-` is none.", TEXT, repeated=True, example=["invalid_json"]),
    Parameter("stage", "Only put aside by one of these stages.", TEXT, repeated=True),
    Parameter("serial", "Only of one of these devices.", TEXT, repeated=True),
    Parameter("origin", "Only of records of one of these topics.", TEXT, repeated=True),
    Parameter("channel", "Only of one of these channels.", TEXT, repeated=True),
    Parameter("message", "Only with one of these in their error message.", TEXT, repeated=True),
    Parameter("since", "Only put aside then or later; a time with its zone.", TIME),
    Parameter("until", "Only put aside before; a time with its zone.", TIME),
    Parameter("state", "Only letters with which this was done.", {"type": "string", "enum": [*STATES]}),
)
