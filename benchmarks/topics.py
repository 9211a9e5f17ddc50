"""Makes the topics of a worker beside `device-telemetry`, which the dataset has made already: without retention, since its events are old.

`ems-streams topics apply` would say that this one is not as wanted, and end with exit code 1.
"""

import asyncio
import sys

from benchmarks.dataset import TELEMETRY_TOPIC
from ems_streams.kafka.admin import apply_topics
from ems_streams.settings import Settings


def main() -> int:
    """The exit code is 1 when another topic is not as wanted."""
    plans = asyncio.run(apply_topics(Settings.load()))
    refused = {each.topic.name: each.refusals for each in plans if each.refusals and each.topic.name != TELEMETRY_TOPIC}
    if refused:
        print(refused, file=sys.stderr)
    return int(bool(refused))


if __name__ == "__main__":
    sys.exit(main())
