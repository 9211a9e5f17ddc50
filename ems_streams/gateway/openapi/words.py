"""What the OpenAPI document says in general."""

from typing import Final

DEVICES: Final = "devices"
SITES: Final = "sites"
ALARMS: Final = "alarms"
COMMANDS: Final = "commands"
NOTIFICATIONS: Final = "notifications"
MAINTENANCE: Final = "maintenance"
DEAD_LETTERS: Final = "dead letters"
OPERATION: Final = "operation"
SESSION: Final = "session"
PAGES: Final = "pages"

TAGS: Final = {
    DEVICES: "Live state of devices, their statistics and windows.",
    SITES: "Sites, and windows over their devices.",
    ALARMS: "What rules found, and taking note of it.",
    COMMANDS: "What devices are told to do.",
    NOTIFICATIONS: "What people are told.",
    MAINTENANCE: "Times in which people are not told of devices.",
    DEAD_LETTERS: "What could not be processed, and sending it back.",
    SESSION: "Logging in with a browser.",
    OPERATION: "Health, metrics, and these documents.",
}

INTRODUCTION: Final = """\
Answers are JSON with camelCase names and times in UTC; programs should expect members that they do not know.

* **Errors** are problem documents (RFC 9457). `detail` names the parameter or field, the value and what was expected; `requestId` finds the request in the logs.
* **Parameters** that a route does not have are refused with 400, as are those that are given twice and may be given once: a slip must not look like an answer.
* **Lists** are paged with `limit` and `cursor`: `nextCursor` and the header `Link` lead to the next page, and are not there on the last one. Pages are cut by place, so
  that nothing is seen twice because of what came meanwhile.
* **Lists over workers** say by `asOf` when the workers were asked, and by `partitionsTotal` and `partitionsAnswered` whether anything is missing.
* **Conditional requests**: the `ETag` of live answers changes with what they say, but for `asOf`. With `If-None-Match` an unchanged answer is 304, as of its `Date`.
* **Compression**: `Accept-Encoding: gzip`, for what is large enough to be worth it.
* **Deadlines**: `Request-Timeout` in seconds, for what only reads. It is then 504.
* HEAD answers like GET, without the body. A 405 says in `Allow` what is possible.
"""
