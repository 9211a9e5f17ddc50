# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""`TelemetryRecord` and its scanner, compiled. What they are is said in `telemetry_record`; results are the same to the bit.

The scanner knows the usual form of a record and nothing else: plain ASCII texts without escapes, each field and each metric once, times
in UTC that end in `Z`. It never says that a record is bad: whatever it does not know, it leaves to those who do. Values are bytes
objects, which end with a NUL that no JSON may hold there; so the scanner stops at the end without looking for it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.math cimport isinf
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from ems_streams.domain.events import MAX_METRICS

ctypedef unsigned char byte
ctypedef PyObject* Borrowed

cdef extern from "Python.h":
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    void* PyUnicode_DATA(object)
    double PyOS_string_to_double(const char*, char**, PyObject*) except? -1.0

cdef enum:
    METRICS_MAX = 64
    NAME_MAX = 64
    INTERNED_SLOTS = 8_192
    INTERNED_MAX = 4_096
    EXACT_DIGITS_MAX = 15  # so many decimal digits are always less than 2**53

    DEVICE_ID = 1
    SERIAL_NUMBER = 2
    SITE_ID = 4
    DEVICE_TYPE = 8
    TELEMETRY_DATA = 16
    TIMESTAMP = 32
    EVENT_TYPE = 64
    MESSAGE_ID = 128
    REQUIRED = 63

    # Classes of characters.
    DIGIT = 1
    LETTER = 2
    UNDERSCORE = 4
    SERIAL_ONLY = 8

if MAX_METRICS != METRICS_MAX:
    raise ImportError(f"compiled for at most {METRICS_MAX} metrics, not {MAX_METRICS}")

cdef byte[256] classes
cdef double[EXACT_DIGITS_MAX + 1] power_of_ten
cdef int[13] days_before
cdef Borrowed[INTERNED_SLOTS] interned_texts
cdef int interned_count = 0
cdef uint64_t HASH_FACTOR = 0x9E3779B97F4A7C15ULL  # Knuth's multiplicative hash: 2**64 over the golden ratio


def _fill_tables():
    cdef int number
    for number in range(256):
        classes[number] = 0
    for character in b"0123456789":
        classes[<int> character] = DIGIT
    for character in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
        classes[<int> character] = LETTER
    classes[ord("_")] = UNDERSCORE
    for character in b".:-":
        classes[<int> character] = SERIAL_ONLY
    for number in range(EXACT_DIGITS_MAX + 1):
        power_of_ten[number] = 10.0**number
    for number, days in enumerate((0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)):
        days_before[number] = days


_fill_tables()


@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class TelemetryRecord:
    def __init__(
        self, str serial_number not None, long long device_id, long long site_id, str device_type not None,
        metrics not None, long long timestamp_ms, str message_id,
    ):
        if self.values != NULL:
            raise TypeError("a record does not change")
        self.key = serial_number.encode()
        self.device_id, self.site_id, self.device_type = device_id, site_id, device_type
        self.timestamp_ms, self.message_id = timestamp_ms, message_id
        self.values = <Metric*> PyMem_Malloc(max(len(metrics), 1) * sizeof(Metric))
        if self.values == NULL:
            raise MemoryError
        cdef double value
        for name, boxed in metrics.items():
            value = boxed
            take(self, name, value)

    def __dealloc__(self):
        cdef Py_ssize_t place
        for place in range(self.count):
            Py_DECREF(<object> self.values[place].name)
        PyMem_Free(self.values)

    @property
    def serial_number(self):
        return self.key.decode()

    @property
    def metrics(self):
        return {<str> self.values[place].name: self.values[place].value for place in range(self.count)}

    def _fields(self):
        return (
            self.serial_number, self.device_id, self.site_id, self.device_type, self.metrics, self.timestamp_ms, self.message_id
        )

    def __eq__(self, other):
        return type(other) is TelemetryRecord and self._fields() == (<TelemetryRecord> other)._fields()

    def __repr__(self):
        return f"TelemetryRecord{self._fields()}"


cdef inline void take(TelemetryRecord record, str name, double value):
    Py_INCREF(name)
    record.values[record.count].name = <void*> name
    record.values[record.count].value = value
    record.count += 1


cdef inline uint64_t mix(uint64_t mixed, byte character) noexcept nogil:
    return (mixed ^ character) * HASH_FACTOR


cdef PyObject* interned(const byte* text, Py_ssize_t size, uint64_t mixed) except? NULL:
    """The one str for a text of ASCII characters, borrowed; NULL without an error once there are too many texts."""
    global interned_count
    cdef Py_ssize_t slot = (mixed ^ (mixed >> 29)) & (INTERNED_SLOTS - 1)
    cdef PyObject* found
    while interned_texts[slot] != NULL:
        found = interned_texts[slot]
        if PyUnicode_GET_LENGTH(<object> found) == size and memcmp(PyUnicode_DATA(<object> found), text, size) == 0:
            return found
        slot = (slot + 1) & (INTERNED_SLOTS - 1)
    if interned_count >= INTERNED_MAX:
        return NULL
    fresh = PyUnicode_DecodeASCII(<const char*> text, size, NULL)
    Py_INCREF(fresh)
    interned_texts[slot] = <PyObject*> fresh
    interned_count += 1
    return interned_texts[slot]


cdef inline const byte* after_space(const byte* at) noexcept nogil:
    while at[0] == c" " or at[0] == c"\n" or at[0] == c"\r" or at[0] == c"\t":
        at += 1
    return at


cdef inline const byte* after_sign(const byte* at, byte sign) noexcept nogil:
    """Behind a comma, colon or bracket and the space around it; NULL when it is not there."""
    at = after_space(at)
    return after_space(at + 1) if at[0] == sign else NULL


cdef inline const byte* text_end(const byte* at) noexcept nogil:
    """The quote that ends a text of plain ASCII characters; NULL when it holds anything else."""
    while at[0] != c'"':
        if at[0] < 32 or at[0] > 126 or at[0] == c"\\":
            return NULL
        at += 1
    return at


cdef inline const byte* scan_id(const byte* at, long long* found) noexcept nogil:
    """An integer of at most 18 digits, which is never too great."""
    cdef const byte* start = at
    cdef long long number = 0
    while classes[at[0]] == DIGIT:
        number = number * 10 + (at[0] - c"0")
        at += 1
        if at - start > 18:
            return NULL
    if at == start or (start[0] == c"0" and at - start > 1) or at[0] == c"." or at[0] == c"e" or at[0] == c"E":
        return NULL
    found[0] = number
    return at


cdef const byte* scan_number(const byte* at, double* found) except? NULL:
    """A JSON number; rounded correctly, and NULL for one that is too great or a negative zero."""
    cdef const byte* start = at
    cdef const byte* digits
    cdef uint64_t mantissa = 0
    cdef Py_ssize_t digit_count, fraction_digits = 0
    cdef bint negative = at[0] == c"-"
    cdef bint has_exponent = False
    cdef char* end
    if negative:
        at += 1
    digits = at
    while classes[at[0]] == DIGIT:
        mantissa = mantissa * 10 + (at[0] - c"0")
        at += 1
    digit_count = at - digits
    if digit_count == 0 or (digits[0] == c"0" and digit_count > 1):
        return NULL
    if at[0] == c".":
        at += 1
        digits = at
        while classes[at[0]] == DIGIT:
            mantissa = mantissa * 10 + (at[0] - c"0")
            at += 1
        fraction_digits = at - digits
        if fraction_digits == 0:
            return NULL
        digit_count += fraction_digits
    if at[0] == c"e" or at[0] == c"E":
        has_exponent = True
        at += 1
        if at[0] == c"+" or at[0] == c"-":
            at += 1
        digits = at
        while classes[at[0]] == DIGIT:
            at += 1
        if at == digits:
            return NULL
    if has_exponent or digit_count > EXACT_DIGITS_MAX:
        found[0] = PyOS_string_to_double(<const char*> start, &end, NULL)
        if <const byte*> end != at or isinf(found[0]):
            return NULL
    else:
        # Both are exact as doubles, so their quotient is rounded once (Clinger 1990).
        found[0] = <double> mantissa / power_of_ten[fraction_digits]
        if negative:
            found[0] = -found[0]
    return NULL if negative and found[0] == 0 else at


cdef const byte* scan_metrics(const byte* at, TelemetryRecord record) except? NULL:
    """The object of metrics up to behind its closing brace."""
    cdef Metric[METRICS_MAX] metrics
    cdef Py_ssize_t count = 0, place
    cdef const byte* start
    cdef uint64_t mixed
    cdef PyObject* name
    cdef byte kind
    if at[0] != c"{":
        return NULL
    at = after_space(at + 1)
    while True:
        if at[0] != c'"' or count == METRICS_MAX:
            return NULL
        at += 1
        start = at
        if classes[at[0]] != LETTER:
            return NULL
        mixed = 0
        while True:
            kind = classes[at[0]]
            if kind == 0 or kind == SERIAL_ONLY:
                break
            mixed = mix(mixed, at[0])
            at += 1
        if at[0] != c'"' or at - start > NAME_MAX:
            return NULL
        name = interned(start, at - start, mixed)
        if name == NULL:
            return NULL
        for place in range(count):
            if metrics[place].name == <void*> name:
                return NULL
        at = after_sign(at + 1, c":")
        if at == NULL:
            return NULL
        at = scan_number(at, &metrics[count].value)
        if at == NULL:
            return NULL
        metrics[count].name = <void*> name
        count += 1
        at = after_space(at)
        if at[0] == c"}":
            break
        if at[0] != c",":
            return NULL
        at = after_space(at + 1)
    record.values = <Metric*> PyMem_Malloc(count * sizeof(Metric))
    if record.values == NULL:
        raise MemoryError
    for place in range(count):
        take(record, <str> metrics[place].name, metrics[place].value)
    return at + 1


cdef inline int two_digits(const byte* at) noexcept nogil:
    if classes[at[0]] != DIGIT or classes[at[1]] != DIGIT:
        return -1
    return (at[0] - c"0") * 10 + (at[1] - c"0")


cdef const byte* scan_time(const byte* at, long long* found_ms) noexcept nogil:
    """`2025-10-04T10:15:00Z`, with up to six digits of a fraction, of which milliseconds are kept; up to behind the `Z`."""
    cdef int century, year, month, day, hour, minute, second, length_of_month
    cdef long long days, milliseconds = 0, unit = 100
    cdef Py_ssize_t digits = 0
    cdef bint leap
    # A NUL within the text is no digit, so each of these looks at most one place behind what the one before has seen.
    century = two_digits(at)
    if century < 0:
        return NULL
    year = two_digits(at + 2)
    if year < 0 or at[4] != c"-":
        return NULL
    year += century * 100
    month = two_digits(at + 5)
    if month < 1 or month > 12 or at[7] != c"-":
        return NULL
    day = two_digits(at + 8)
    if day < 1 or at[10] != c"T":
        return NULL
    hour = two_digits(at + 11)
    if hour < 0 or hour > 23 or at[13] != c":":
        return NULL
    minute = two_digits(at + 14)
    if minute < 0 or minute > 59 or at[16] != c":":
        return NULL
    second = two_digits(at + 17)
    if second < 0 or second > 59 or year < 1970 or year > 9998:
        return NULL
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length_of_month = (29 if leap else 28) if month == 2 else (30 if month == 4 or month == 6 or month == 9 or month == 11 else 31)
    if day > length_of_month:
        return NULL
    at += 19
    if at[0] == c".":
        at += 1
        while classes[at[0]] == DIGIT:
            milliseconds += (at[0] - c"0") * unit
            unit //= 10
            digits += 1
            at += 1
        if digits == 0 or digits > 6:
            return NULL
    if at[0] != c"Z":
        return NULL
    year -= 1
    days = year * 365 + year // 4 - year // 100 + year // 400 + days_before[month] + day - 1 + (leap and month > 2)
    days -= 719_162  # of 1970-01-01
    found_ms[0] = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + milliseconds
    return at + 1


cdef inline int field_of(const byte* name, Py_ssize_t size) noexcept nogil:
    if size == 8:
        return DEVICE_ID if memcmp(name, b"deviceId", 8) == 0 else 0
    if size == 12:
        return SERIAL_NUMBER if memcmp(name, b"serialNumber", 12) == 0 else 0
    if size == 6:
        return SITE_ID if memcmp(name, b"siteId", 6) == 0 else 0
    if size == 10:
        return DEVICE_TYPE if memcmp(name, b"deviceType", 10) == 0 else 0
    if size == 13:
        return TELEMETRY_DATA if memcmp(name, b"telemetryData", 13) == 0 else 0
    if size != 9:
        return 0
    if memcmp(name, b"timestamp", 9) == 0:
        return TIMESTAMP
    if memcmp(name, b"eventType", 9) == 0:
        return EVENT_TYPE
    return MESSAGE_ID if memcmp(name, b"messageId", 9) == 0 else 0


cdef const byte* scan_text(const byte* at, int field, TelemetryRecord record) except? NULL:
    """A field that is a text, from its opening quote up to behind its closing one."""
    cdef const byte* start
    cdef const byte* end
    cdef const byte* each
    cdef uint64_t mixed = 0
    cdef PyObject* kind
    if at[0] != c'"':
        return NULL
    start = at + 1
    if field == TIMESTAMP:
        end = scan_time(start, &record.timestamp_ms)
        return end + 1 if end != NULL and end[0] == c'"' else NULL
    end = text_end(start)
    if end == NULL:
        return NULL
    if field == SERIAL_NUMBER:
        if end == start or end - start > NAME_MAX or not classes[start[0]] & (DIGIT | LETTER):
            return NULL
        each = start
        while each != end:
            if classes[each[0]] == 0:
                return NULL
            each += 1
        record.key = PyBytes_FromStringAndSize(<const char*> start, end - start)
    elif field == DEVICE_TYPE:
        each = start
        while each != end:
            mixed = mix(mixed, each[0])
            each += 1
        kind = interned(start, end - start, mixed)
        if kind == NULL:
            return NULL
        record.device_type = <str> kind
    elif field == EVENT_TYPE:
        if end - start != 16 or memcmp(start, b"DEVICE_TELEMETRY", 16) != 0:
            return NULL
    else:
        record.message_id = PyUnicode_DecodeASCII(<const char*> start, end - start, NULL)
    return end + 1


def scan(value):
    if type(value) is not bytes:
        return None
    cdef const byte* at = <const byte*> PyBytes_AS_STRING(value)
    cdef const byte* end = at + PyBytes_GET_SIZE(value)
    cdef const byte* start
    cdef int field, seen = 0
    cdef TelemetryRecord record = TelemetryRecord.__new__(TelemetryRecord)
    at = after_sign(at, c"{")
    while True:
        if at == NULL or at[0] != c'"':
            return None
        start = at + 1
        at = text_end(start)
        if at == NULL:
            return None
        field = field_of(start, at - start)
        if field == 0 or seen & field:
            return None
        seen |= field
        at = after_sign(at + 1, c":")
        if at == NULL:
            return None
        if field == DEVICE_ID:
            at = scan_id(at, &record.device_id)
        elif field == SITE_ID:
            at = scan_id(at, &record.site_id)
        elif field == TELEMETRY_DATA:
            at = scan_metrics(at, record)
        else:
            at = scan_text(at, field, record)
        if at == NULL:
            return None
        at = after_space(at)
        if at[0] != c",":
            break
        at = after_space(at + 1)
    at = after_sign(at, c"}")
    return record if at == end and seen & REQUIRED == REQUIRED else None
