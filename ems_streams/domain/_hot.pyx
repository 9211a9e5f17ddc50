# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The hot functions of `section`, `samples` and `recent_identities`, compiled. What they do is said there; results are the same to the bit."""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.ref cimport PyObject
from libc.math cimport isnan
from libc.string cimport memchr, memcpy, memmove

from ems_streams.domain._telemetry cimport TelemetryRecord
from ems_streams.domain.accumulators import MAX_METRICS_PER_DEVICE

cdef enum:
    COUNT_AT = 8
    NUMBERS_AT = 10
    BYTES = 64
    # As in `samples`.
    SAMPLE_HEADER = 17
    SAMPLE_VALUE = 9

cdef Py_ssize_t NAMES_MAX = MAX_METRICS_PER_DEVICE

# As in `accumulators`.
cdef struct Accumulator:
    double count
    double sum
    double compensation
    double least
    double greatest
    double last
    double squares
    double last_ms


cdef inline Py_ssize_t metrics_in(const char* section):
    return <unsigned char> section[COUNT_AT] | (<unsigned char> section[COUNT_AT + 1] << 8)


cdef inline Py_ssize_t place_of(const char* section, int number, Py_ssize_t count):
    """Index of a metric in a section, or -1."""
    cdef const char* numbers = section + NUMBERS_AT
    cdef const char* found = <const char*> memchr(numbers, number, count)
    return -1 if found == NULL else found - numbers


cdef int append_metric(bytearray section, int number, Accumulator* accumulator) except -1:
    """Invalidates every pointer into the section."""
    cdef Py_ssize_t size = len(section)
    PyByteArray_Resize(section, size + 1 + BYTES)
    cdef char* data = PyByteArray_AS_STRING(section)
    cdef Py_ssize_t count = metrics_in(data)
    cdef char* end_of_numbers = data + NUMBERS_AT + count
    memmove(end_of_numbers + 1, end_of_numbers, size - NUMBERS_AT - count)
    end_of_numbers[0] = <char> number
    memcpy(data + size + 1, accumulator, BYTES)
    data[COUNT_AT] = <char> ((count + 1) & 255)
    data[COUNT_AT + 1] = <char> ((count + 1) >> 8)
    return 0


cdef int append_known(bytearray samples, TelemetryRecord record, bytes identity, dict names) except -1:
    """As `append`, and of values without a number none is kept; how many those are."""
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(samples)
    cdef Py_ssize_t metric
    cdef int left_out = 0
    cdef char* to
    cdef PyObject* known
    if PyBytes_GET_SIZE(identity) != 8:
        raise ValueError(f"an identity of {len(identity)} bytes, expected 8")
    PyByteArray_Resize(samples, size + SAMPLE_HEADER + record.count * SAMPLE_VALUE)
    to = PyByteArray_AS_STRING(samples) + size
    memcpy(to, &record.timestamp_ms, 8)
    memcpy(to + 8, <const char*> identity, 8)
    to += SAMPLE_HEADER
    for metric in range(record.count):
        known = PyDict_GetItemWithError(names, <object> record.values[metric].name)
        if known == NULL:
            left_out += 1
            continue
        to[0] = <char> <int> <object> known
        memcpy(to + 1, &record.values[metric].value, 8)
        to += SAMPLE_VALUE
    PyByteArray_AS_STRING(samples)[size + SAMPLE_HEADER - 1] = <char> (record.count - left_out)
    if left_out:
        PyByteArray_Resize(samples, size + SAMPLE_HEADER + (record.count - left_out) * SAMPLE_VALUE)
    return left_out


cdef int add_names(dict names, TelemetryRecord record) except -1:
    """Give the names of a message numbers, as far as there are any left."""
    cdef Py_ssize_t metric
    for metric in range(record.count):
        name = <object> record.values[metric].name
        if len(names) < NAMES_MAX and name not in names:
            names[name] = len(names)
    return 0


def append(bytearray samples not None, TelemetryRecord record not None, bytes identity not None, dict names not None):
    add_names(names, record)
    return append_known(samples, record, identity, names)


cdef inline void add(Accumulator* a, double value, double time_ms):
    cdef double after = a.sum + value
    cdef double part = after - a.sum
    cdef double total = a.count + 1.0
    a.compensation = a.compensation + ((a.sum - (after - part)) + (value - part))
    a.squares = a.squares + (value - a.sum / a.count) * (value - after / total)
    if value < a.least:
        a.least = value
    elif value > a.greatest:
        a.greatest = value
    if time_ms >= a.last_ms:
        a.last_ms = time_ms
        a.last = value
    a.count = total
    a.sum = after


cpdef add_samples(bytearray section, samples):
    if section is None:
        raise TypeError("section: must not be None")
    cdef const unsigned char[::1] view = samples
    cdef Py_ssize_t size = view.shape[0]
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t count, place
    cdef const unsigned char* sample
    cdef char* data
    cdef int index, number
    cdef long long time_ms
    cdef double value
    cdef Accumulator a
    while at < size:
        if at + SAMPLE_HEADER > size:
            raise ValueError(f"samples of {size} bytes end in the middle of one")
        sample = &view[at]
        at += SAMPLE_HEADER + sample[SAMPLE_HEADER - 1] * SAMPLE_VALUE
        if at > size:
            raise ValueError(f"samples of {size} bytes end in the middle of one")
        memcpy(&time_ms, sample, 8)
        data = PyByteArray_AS_STRING(section)
        count = metrics_in(data)
        for index in range(sample[SAMPLE_HEADER - 1]):
            number = sample[SAMPLE_HEADER + index * SAMPLE_VALUE]
            memcpy(&value, sample + SAMPLE_HEADER + index * SAMPLE_VALUE + 1, 8)
            place = place_of(data, number, count)
            if place < 0:
                a.count, a.sum, a.compensation, a.least, a.greatest = 1.0, value, 0.0, value, value
                a.last, a.squares, a.last_ms = value, 0.0, <double> time_ms
                append_metric(section, number, &a)
                data = PyByteArray_AS_STRING(section)
                count += 1
                continue
            memcpy(&a, data + NUMBERS_AT + count + place * BYTES, BYTES)
            add(&a, value, <double> time_ms)
            memcpy(data + NUMBERS_AT + count + place * BYTES, &a, BYTES)


cdef inline double mean(const Accumulator* a):
    cdef double total = a.sum + a.compensation
    return (a.sum if isnan(total) else total) / a.count


cdef void merge(Accumulator* into, const Accumulator* other):
    cdef double delta = mean(other) - mean(into)
    cdef double after = into.sum + other.sum
    cdef double part = after - into.sum
    into.squares = into.squares + (other.squares + delta * delta * (into.count * other.count / (into.count + other.count)))
    into.count = into.count + other.count
    into.compensation = into.compensation + (other.compensation + ((into.sum - (after - part)) + (other.sum - part)))
    into.sum = after
    if other.least < into.least:
        into.least = other.least
    if other.greatest > into.greatest:
        into.greatest = other.greatest
    if other.last_ms >= into.last_ms:
        into.last_ms = other.last_ms
        into.last = other.last


def merge_section(bytearray into not None, bytearray other not None):
    cdef const char* theirs = PyByteArray_AS_STRING(other)
    cdef Py_ssize_t their_count = metrics_in(theirs)
    cdef Py_ssize_t their_place, place, count
    cdef char* data
    cdef int number
    cdef Accumulator a, b
    for their_place in range(their_count):
        number = <unsigned char> theirs[NUMBERS_AT + their_place]
        memcpy(&b, theirs + NUMBERS_AT + their_count + their_place * BYTES, BYTES)
        data = PyByteArray_AS_STRING(into)
        count = metrics_in(data)
        place = place_of(data, number, count)
        if place < 0:
            append_metric(into, number, &b)
            continue
        memcpy(&a, data + NUMBERS_AT + count + place * BYTES, BYTES)
        merge(&a, &b)
        memcpy(data + NUMBERS_AT + count + place * BYTES, &a, BYTES)


cpdef bint remember(bytearray recent, bytes identity, Py_ssize_t limit, bint surely_new=False) except -1:
    cdef Py_ssize_t size, kept = limit * 8, at
    cdef char* data
    cdef unsigned long long wanted, found
    if recent is None or identity is None:
        raise TypeError("recent and identity: neither may be None")
    size = len(recent)
    data = PyByteArray_AS_STRING(recent)
    if len(identity) != sizeof(wanted):
        raise ValueError(f"an identity of {len(identity)} bytes, expected {sizeof(wanted)}")
    memcpy(&wanted, <const char*> identity, sizeof(wanted))
    if not surely_new:
        for at in range(max(size - kept, 0), size - 7, 8):
            memcpy(&found, data + at, sizeof(found))
            if found == wanted:
                return False
    if size >= 2 * kept:
        size -= kept
        memmove(data, data + kept, size)
    PyByteArray_Resize(recent, size + 8)
    memcpy(PyByteArray_AS_STRING(recent) + size, &wanted, sizeof(wanted))
    return True
