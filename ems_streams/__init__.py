"""EMS Streams: the event backbone of an energy management system."""

__version__ = "0.1.0"
