# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""`aggregates`, compiled: the state of a device in one piece of memory, and what is done with every message.

What it does is said there; results are the same to the bit.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.dict cimport PyDict_GetItemWithError
from cpython.ref cimport PyObject

from ems_streams.domain._hot cimport add_names, add_samples, append_known, remember
from ems_streams.domain._telemetry cimport TelemetryRecord

from xxhash import xxh3_64_digest

from ems_streams.domain import fold_outcome
from ems_streams.domain.accumulators import MAX_METRICS_PER_DEVICE
from ems_streams.domain.samples import ordered
from ems_streams.domain.section import new_section
from ems_streams.domain.timestamps import MINUTE_MS as MINUTE
from ems_streams.domain.windows import Window

cdef enum:
    WINDOWS = 5
    # So many different sets of names are shared between devices, each of so many names at the most.
    SHARED_MAX = 1_024
    SHARED_NAMES_MAX = 64

if len(Window) != WINDOWS:
    raise ImportError(f"compiled for {WINDOWS} kinds of windows, not {len(Window)}")

cdef long long NEVER_MS = fold_outcome.NEVER_MS
cdef long long NOT_YET_MS = fold_outcome.NOT_YET_MS
cdef long long FUTURE_TOLERANCE_MS = fold_outcome.FUTURE_TOLERANCE_MS
cdef long long MINUTE_MS = MINUTE
cdef Py_ssize_t RECENT_IDENTITIES = fold_outcome.RECENT_IDENTITIES
cdef Py_ssize_t OPEN_BYTES_MAX = fold_outcome.OPEN_BYTES_MAX
cdef Py_ssize_t NAMES_MAX = MAX_METRICS_PER_DEVICE
cdef object FOLDED = fold_outcome.Outcome.FOLDED
cdef object DUE = fold_outcome.Outcome.DUE
cdef object LATE = fold_outcome.Outcome.LATE
cdef object REPEATED = fold_outcome.Outcome.REPEATED

cdef dict shared_names = {}


cdef dict shared(dict names):
    """Names with the same numbers, which many devices have: they stay in the processor's cache. Nobody changes them in place."""
    cdef tuple key
    if len(names) > SHARED_NAMES_MAX:
        return names
    key = tuple(names)
    found = shared_names.get(key)
    if found is None:
        if len(shared_names) >= SHARED_MAX:
            return names
        found = shared_names[key] = names
    return <dict> found


@cython.final
@cython.no_gc
cdef class DeviceAggregates:
    cdef public str serial_number
    cdef public str device_type
    cdef public bytearray base
    cdef public bytearray open
    cdef public bytearray late
    cdef public bytearray recent
    cdef dict _names
    cdef long long[WINDOWS] _closed_ms
    cdef public long long device_id
    cdef public long long site_id
    cdef public long long last_offset
    cdef public long long arrived_ms
    cdef public long long newest_ms
    cdef public long long watermark_ms
    cdef public long long open_from_ms
    cdef public long long revision
    cdef public long long oldest_quarter_ms
    cdef public long long newest_quarter_ms
    cdef public long long late_events
    cdef public long long duplicate_events
    cdef public long long future_events
    cdef public long long left_out_values
    cdef public tuple next_power
    cdef public tuple next_register
    cdef public tuple last_register

    def __init__(self, str serial_number not None, long long device_id=0, long long site_id=0, str device_type not None="UNKNOWN"):
        cdef int window
        self.serial_number = serial_number
        self.device_id = device_id
        self.site_id = site_id
        self.device_type = device_type
        self._names = shared({})
        self.base = new_section(0)
        self.open = bytearray()
        self.late = bytearray()
        self.recent = bytearray()
        self.last_offset = -1
        self.arrived_ms = self.newest_ms = self.watermark_ms = self.newest_quarter_ms = NEVER_MS
        self.open_from_ms = self.oldest_quarter_ms = NOT_YET_MS
        for window in range(WINDOWS):
            self._closed_ms[window] = NEVER_MS

    @property
    def names(self):
        return self._names

    @names.setter
    def names(self, dict names not None):
        self._names = shared(names)

    @property
    def metric_names(self):
        return tuple(self._names)

    @property
    def closed_ms(self):
        cdef long long* closed_ms = self._closed_ms
        return (closed_ms[0], closed_ms[1], closed_ms[2], closed_ms[3], closed_ms[4])

    @closed_ms.setter
    def closed_ms(self, tuple closed_ms not None):
        cdef int window
        if len(closed_ms) != WINDOWS:
            raise ValueError(f"{len(closed_ms)} ends of windows, expected {WINDOWS}")
        for window in range(WINDOWS):
            self._closed_ms[window] = closed_ms[window]

    def __copy__(self):
        cdef DeviceAggregates copy = DeviceAggregates.__new__(DeviceAggregates)
        cdef int window
        copy.serial_number, copy.device_type, copy._names = self.serial_number, self.device_type, self._names
        copy.base, copy.open, copy.late, copy.recent = self.base, self.open, self.late, self.recent
        copy.next_power, copy.next_register, copy.last_register = self.next_power, self.next_register, self.last_register
        copy.device_id, copy.site_id, copy.last_offset, copy.arrived_ms = self.device_id, self.site_id, self.last_offset, self.arrived_ms
        copy.newest_ms, copy.watermark_ms, copy.open_from_ms = self.newest_ms, self.watermark_ms, self.open_from_ms
        copy.oldest_quarter_ms, copy.newest_quarter_ms = self.oldest_quarter_ms, self.newest_quarter_ms
        copy.revision, copy.late_events, copy.duplicate_events = self.revision, self.late_events, self.duplicate_events
        copy.future_events, copy.left_out_values = self.future_events, self.left_out_values
        for window in range(WINDOWS):
            copy._closed_ms[window] = self._closed_ms[window]
        return copy


cdef inline int keep(DeviceAggregates state, bytearray samples, TelemetryRecord record, bytes identity) except -1:
    """Append a message to samples; names that are new to the device get numbers."""
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(samples)
    cdef int left_out = append_known(samples, record, identity, state._names)
    cdef dict names
    if left_out == 0:
        return 0
    if len(state._names) < NAMES_MAX:
        PyByteArray_Resize(samples, size)
        names = state._names.copy()
        add_names(names, record)
        state._names = shared(names)
        left_out = append_known(samples, record, identity, names)
    state.left_out_values += left_out
    return 0


cdef inline void identify(DeviceAggregates state, TelemetryRecord record):
    if record.timestamp_ms == state.newest_ms:
        state.device_id = record.device_id
        state.site_id = record.site_id
        state.device_type = record.device_type


cdef object outside(DeviceAggregates state, TelemetryRecord record, bytes identity, object outcome):
    cdef bytearray sample = bytearray()
    if record.message_id is None and not remember(state.recent, identity, RECENT_IDENTITIES):
        state.revision -= 1
        state.duplicate_events += 1
        return REPEATED
    if outcome is LATE:
        state.late_events += 1
    else:
        state.future_events += 1
    keep(state, sample, record, identity)
    add_samples(state.base, sample)
    return outcome


cdef int drop_repeated(DeviceAggregates state) except -1:
    cdef object arrived = ordered(state.open)
    state.open = bytearray(arrived.data)
    state.duplicate_events += arrived.repeated
    return 0


cdef object take(
    DeviceAggregates state, TelemetryRecord record, bytes identity, long long offset, long long arrived_ms,
    long long horizon_ms, long long lateness_ms,
):
    cdef long long time_ms = record.timestamp_ms
    cdef bint is_due
    cdef Py_ssize_t size, grown
    state.last_offset = offset
    state.arrived_ms = arrived_ms
    if record.message_id is not None and not remember(state.recent, identity, RECENT_IDENTITIES):
        state.duplicate_events += 1
        return REPEATED
    state.revision += 1
    if time_ms > state.newest_ms:
        if time_ms > arrived_ms + FUTURE_TOLERANCE_MS:
            return outside(state, record, identity, FOLDED)
        state.newest_ms = time_ms
        if time_ms > state.watermark_ms:
            state.watermark_ms = time_ms
    elif time_ms < state.watermark_ms - horizon_ms:
        return outside(state, record, identity, LATE)
    if time_ms < state._closed_ms[0]:
        if time_ms < state.watermark_ms - horizon_ms:
            return outside(state, record, identity, LATE)
        if PyByteArray_GET_SIZE(state.late) >= OPEN_BYTES_MAX:
            return outside(state, record, identity, LATE)
        keep(state, state.late, record, identity)
        return DUE
    if time_ms < state.open_from_ms:
        state.open_from_ms = time_ms - time_ms % MINUTE_MS
        identify(state, record)
    is_due = state.watermark_ms >= state.open_from_ms + MINUTE_MS + lateness_ms
    size = PyByteArray_GET_SIZE(state.open)
    if size >= OPEN_BYTES_MAX and (not is_due or size >= 2 * OPEN_BYTES_MAX):
        return outside(state, record, identity, LATE)
    keep(state, state.open, record, identity)
    grown = PyByteArray_GET_SIZE(state.open)
    if size < OPEN_BYTES_MAX // 2 <= grown or size < OPEN_BYTES_MAX <= grown:
        drop_repeated(state)
    if not is_due:
        return FOLDED
    identify(state, record)
    return DUE


def fold(
    DeviceAggregates state not None, TelemetryRecord record not None, bytes identity not None, long long offset, long long arrived_ms,
    policy not None,
):
    return take(state, record, identity, offset, arrived_ms, policy.horizon_ms, policy.lateness_ms[0])


def fold_usual(list records not None, list events not None, Py_ssize_t at, dict changed not None, policy not None, list due not None):
    cdef long long horizon_ms = policy.horizon_ms
    cdef long long lateness_ms = policy.lateness_ms[0]
    cdef Py_ssize_t count = min(len(records), len(events))
    cdef TelemetryRecord event
    cdef DeviceAggregates state
    cdef PyObject* found
    cdef object record
    cdef bytes identity
    while at < count:
        if type(events[at]) is not TelemetryRecord:
            return at
        event = <TelemetryRecord> events[at]
        found = PyDict_GetItemWithError(changed, event.key)
        if found == NULL or type(<object> found) is not DeviceAggregates:
            return at
        state = <DeviceAggregates> found
        record = records[at]
        if (
            PyByteArray_GET_SIZE(state.open) == 0
            or PyByteArray_GET_SIZE(state.open) >= OPEN_BYTES_MAX
            or PyByteArray_GET_SIZE(state.late) >= OPEN_BYTES_MAX
            or state.watermark_ms > state.newest_ms
            or event.timestamp_ms < state.watermark_ms - horizon_ms
            or record.key != event.key
        ):
            return at
        identity = xxh3_64_digest(event.message_id.encode() if event.message_id else record.value)
        if take(state, event, identity, record.offset, record.timestamp, horizon_ms, lateness_ms) is DUE:
            due.append(event.key)
        at += 1
    return at
