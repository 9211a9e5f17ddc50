# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""What windows are calculated with, compiled: the functions of `samples`, `summary` and `quarter_energy` of the same names.

What they do is said there; results are the same to the bit.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport ceil, fabs, isinf, isnan, log, pow, sqrt
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcmp, memcpy, memset

from ems_streams.domain import sketch as python_sketch

cdef enum:
    # As in `samples`.
    SAMPLE_HEADER = 17
    SAMPLE_VALUE = 9
    # As in `summary`: bytes of a name, eight doubles, bytes of a sketch.
    METRIC_HEADER = 69
    MEASURED = 0
    INTEGRATED = 1
    ESTIMATED = 2

cdef double SMALLEST = python_sketch.SMALLEST
cdef double GAMMA = python_sketch.GAMMA
cdef double LOG_GAMMA = python_sketch.LOG_GAMMA
cdef int OFFSET = python_sketch.OFFSET
cdef double HOUR_MS = 3_600_000.0

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

cdef struct Piece:
    long long time_ms
    unsigned long long order  # the identity's bytes, most significant first
    unsigned long long identity
    Py_ssize_t start
    Py_ssize_t size


# -- samples --

cdef inline unsigned long long swapped(unsigned long long number) noexcept nogil:
    cdef unsigned long long result = 0
    cdef int index
    for index in range(8):
        result = (result << 8) | ((number >> (8 * index)) & 255)
    return result


cdef int compare_pieces(const void* one, const void* other) noexcept nogil:
    cdef const Piece* a = <const Piece*> one
    cdef const Piece* b = <const Piece*> other
    if a.time_ms != b.time_ms:
        return -1 if a.time_ms < b.time_ms else 1
    if a.order != b.order:
        return -1 if a.order < b.order else 1
    if a.start != b.start:
        return -1 if a.start < b.start else 1
    return 0


cdef int compare_identities(const void* one, const void* other) noexcept nogil:
    cdef const Piece* a = (<const Piece**> one)[0]
    cdef const Piece* b = (<const Piece**> other)[0]
    if a.identity != b.identity:
        return -1 if a.identity < b.identity else 1
    # The first in order stays.
    return -1 if a < b else (1 if a > b else 0)


cdef Py_ssize_t size_at(const unsigned char* data, Py_ssize_t at, Py_ssize_t end) except -1:
    """Bytes of the sample that begins there."""
    cdef Py_ssize_t size
    if at + SAMPLE_HEADER <= end:
        size = SAMPLE_HEADER + data[at + SAMPLE_HEADER - 1] * SAMPLE_VALUE
        if at + size <= end:
            return size
    raise ValueError(f"samples of {end} bytes end in the middle of one")


def ordered_parts(bytes data not None):
    """Samples in order and how many were repeated."""
    cdef Py_ssize_t end = len(data)
    cdef const unsigned char* view = <const unsigned char*> PyBytes_AS_STRING(data)
    cdef Py_ssize_t at = 0, count = 0, index, kept = 0, size
    cdef Piece* pieces
    cdef Piece** by_identity
    cdef bytes result
    cdef char* to
    cdef bint sorted_already = True
    while at < end:
        at += size_at(view, at, end)
        count += 1
    if count < 2:
        return data, 0
    pieces = <Piece*> malloc(count * sizeof(Piece))
    by_identity = <Piece**> malloc(count * sizeof(Piece*))
    if pieces == NULL or by_identity == NULL:
        free(pieces)
        free(by_identity)
        raise MemoryError
    try:
        at = 0
        for index in range(count):
            size = SAMPLE_HEADER + view[at + SAMPLE_HEADER - 1] * SAMPLE_VALUE
            memcpy(&pieces[index].time_ms, view + at, 8)
            memcpy(&pieces[index].identity, view + at + 8, 8)
            pieces[index].order = swapped(pieces[index].identity)
            pieces[index].start = at
            pieces[index].size = size
            if index and compare_pieces(&pieces[index - 1], &pieces[index]) > 0:
                sorted_already = False
            at += size
        if not sorted_already:
            qsort(pieces, count, sizeof(Piece), compare_pieces)
        for index in range(count):
            by_identity[index] = &pieces[index]
        qsort(by_identity, count, sizeof(Piece*), compare_identities)
        size = pieces[0].size
        for index in range(1, count):
            if by_identity[index].identity == by_identity[index - 1].identity:
                by_identity[index].size = -by_identity[index].size
        size = 0
        for index in range(count):
            if pieces[index].size > 0:
                size += pieces[index].size
                kept += 1
        if kept == count and sorted_already:
            return data, 0
        result = PyBytes_FromStringAndSize(NULL, size)
        to = PyBytes_AS_STRING(result)
        for index in range(count):
            if pieces[index].size > 0:
                memcpy(to, view + pieces[index].start, pieces[index].size)
                to += pieces[index].size
        return result, count - kept
    finally:
        free(pieces)
        free(by_identity)


def split(data, *borders_ms):
    cdef const unsigned char[::1] view = data
    cdef Py_ssize_t end = view.shape[0], at = 0, start = 0, size
    cdef long long time_ms, border_ms
    cdef list parts = []
    for border in borders_ms:
        border_ms = border
        while at < end:
            size = size_at(&view[0], at, end)
            memcpy(&time_ms, &view[at], 8)
            if time_ms >= border_ms:
                break
            at += size
        parts.append(PyBytes_FromStringAndSize(<char*> &view[0] + start, at - start) if at > start else b"")
        start = at
    parts.append(PyBytes_FromStringAndSize(<char*> &view[0] + start, end - start) if end > start else b"")
    return parts


def minutes_of(bytes data not None):
    """Starts of the minutes that samples lie in, each once if they are in order."""
    cdef Py_ssize_t end = len(data), at = 0
    cdef const unsigned char* view = <const unsigned char*> PyBytes_AS_STRING(data)
    cdef long long time_ms, minute_ms, last_ms = -(1LL << 62)
    cdef Py_ssize_t size
    cdef list found = []
    while at < end:
        size = size_at(view, at, end)
        memcpy(&time_ms, view + at, 8)
        minute_ms = time_ms - time_ms % 60_000
        if minute_ms != last_ms:
            found.append(minute_ms)
            last_ms = minute_ms
        at += size
    return found


# -- statistics --

cdef inline void add(Accumulator* a, double value, double time_ms) noexcept nogil:
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


cdef inline double total_of(const Accumulator* a) noexcept nogil:
    cdef double total = a.sum + a.compensation
    return a.sum if isnan(total) else total


cdef inline double mean_of(const Accumulator* a) noexcept nogil:
    return total_of(a) / a.count


cdef void merge(Accumulator* into, const Accumulator* other) noexcept nogil:
    cdef double delta = mean_of(other) - mean_of(into)
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


cdef inline int bin_of(double value) noexcept nogil:
    if value > SMALLEST:
        return OFFSET + <int> ceil(log(value) / LOG_GAMMA)
    if value < -SMALLEST:
        return -(OFFSET + <int> ceil(log(-value) / LOG_GAMMA))
    return 0


cdef inline double value_of(int number) noexcept nogil:
    cdef double magnitude
    if number == 0:
        return 0.0
    magnitude = 2 * pow(GAMMA, (number if number > 0 else -number) - OFFSET - 1) / (1 / GAMMA + 1)
    return magnitude if number > 0 else -magnitude


cdef int compare_ints(const void* one, const void* other) noexcept nogil:
    cdef int a = (<const int*> one)[0]
    cdef int b = (<const int*> other)[0]
    return (a > b) - (a < b)


cdef inline unsigned char* write_number(unsigned char* to, unsigned long long number) noexcept nogil:
    while number > 127:
        to[0] = <unsigned char> (number & 127 | 128)
        to += 1
        number >>= 7
    to[0] = <unsigned char> number
    return to + 1


cdef inline const unsigned char* read_number(const unsigned char* at, const unsigned char* end, unsigned long long* number) noexcept nogil:
    """Where the number ends; NULL when it does not."""
    cdef int shift = 0
    number[0] = 0
    while at < end and shift < 64:
        number[0] |= <unsigned long long> (at[0] & 127) << shift
        at += 1
        if not at[-1] & 128:
            return at
        shift += 7
    return NULL


cdef struct Bins:
    # A sketch being read: `left` is false behind its last bin.
    const unsigned char* at
    const unsigned char* end
    bint left
    bint begun
    long long number
    unsigned long long count


cdef int next_bin(Bins* bins) except -1:
    cdef unsigned long long number
    if bins.at == bins.end:
        bins.left = False
        return 0
    bins.at = read_number(bins.at, bins.end, &number)
    if bins.at != NULL:
        if bins.begun:
            bins.number += <long long> number
        else:
            bins.begun = True
            bins.number = <long long> (number >> 1) ^ -<long long> (number & 1)
        bins.at = read_number(bins.at, bins.end, &bins.count)
    if bins.at == NULL:
        raise ValueError("a sketch ends in the middle of a bin")
    bins.left = True
    return 0


cdef struct Writer:
    unsigned char* at
    long long before
    bint begun


cdef inline void write_bin(Writer* writer, long long number, unsigned long long count) noexcept nogil:
    if writer.begun:
        writer.at = write_number(writer.at, <unsigned long long> (number - writer.before))
    else:
        writer.begun = True
        writer.at = write_number(writer.at, <unsigned long long> ((number << 1) ^ (number >> 63)))
    writer.at = write_number(writer.at, count)
    writer.before = number


def summarize_metrics(samples, names):
    """Number of ordered samples, and their metrics in stored form."""
    cdef const unsigned char[::1] view = samples
    cdef Py_ssize_t end = view.shape[0], at = 0, index, size
    cdef const unsigned char* sample
    cdef Py_ssize_t events = 0, values = 0, capacity = 0, filled = 0
    cdef Py_ssize_t[257] starts
    cdef Py_ssize_t[256] fill
    cdef Accumulator[256] accumulators
    cdef int* bins
    cdef int number, metric
    cdef long long time_ms
    cdef double value
    cdef unsigned char* buffer
    cdef unsigned char* to
    cdef unsigned int sketch_bytes
    cdef Writer writer
    cdef Py_ssize_t same
    cdef bytes text
    if end == 0:
        return 0, b""
    memset(fill, 0, sizeof(fill))
    while at < end:
        size = size_at(&view[0], at, end)
        sample = &view[at]
        for index in range(sample[SAMPLE_HEADER - 1]):
            fill[sample[SAMPLE_HEADER + index * SAMPLE_VALUE]] += 1
            values += 1
        at += size
        events += 1
    order = sorted((name, number) for number, name in enumerate(names) if fill[<int> number])
    starts[0] = 0
    for number in range(256):
        starts[number + 1] = starts[number] + fill[number]
        if fill[number]:
            if number >= len(names):
                raise IndexError(f"metric {number} of {len(names)}")
            capacity += METRIC_HEADER + 255
        fill[number] = 0
    capacity += values * 12
    bins = <int*> malloc(max(values, 1) * sizeof(int))
    buffer = <unsigned char*> malloc(max(capacity, 1))
    if bins == NULL or buffer == NULL:
        free(bins)
        free(buffer)
        raise MemoryError
    try:
        at = 0
        while at < end:
            sample = &view[at]
            memcpy(&time_ms, sample, 8)
            for index in range(sample[SAMPLE_HEADER - 1]):
                number = sample[SAMPLE_HEADER + index * SAMPLE_VALUE]
                memcpy(&value, sample + SAMPLE_HEADER + index * SAMPLE_VALUE + 1, 8)
                if fill[number] == 0:
                    accumulators[number] = Accumulator(1.0, value, 0.0, value, value, value, 0.0, <double> time_ms)
                else:
                    add(&accumulators[number], value, <double> time_ms)
                bins[starts[number] + fill[number]] = bin_of(value)
                fill[number] += 1
            at += SAMPLE_HEADER + sample[SAMPLE_HEADER - 1] * SAMPLE_VALUE
        to = buffer
        for name, found in order:
            metric = found
            text = name.encode()
            to[0] = <unsigned char> len(text)
            memcpy(to + 1, &accumulators[metric], sizeof(Accumulator))
            memcpy(to + METRIC_HEADER, PyBytes_AS_STRING(text), len(text))
            qsort(bins + starts[metric], fill[metric], sizeof(int), compare_ints)
            writer = Writer(to + METRIC_HEADER + len(text), 0, False)
            index = starts[metric]
            while index < starts[metric] + fill[metric]:
                same = index
                while same < starts[metric] + fill[metric] and bins[same] == bins[index]:
                    same += 1
                write_bin(&writer, bins[index], same - index)
                index = same
            sketch_bytes = writer.at - to - METRIC_HEADER - len(text)
            memcpy(to + 65, &sketch_bytes, 4)
            to = writer.at
        return events, PyBytes_FromStringAndSize(<char*> buffer, to - buffer)
    finally:
        free(bins)
        free(buffer)


cdef struct Metric:
    const unsigned char* name
    Py_ssize_t name_bytes
    const unsigned char* sketch
    Py_ssize_t sketch_bytes
    const unsigned char* start
    Py_ssize_t size


cdef int metric_at(const unsigned char* at, const unsigned char* end, Metric* metric) except -1:
    """Read where the parts of a stored metric are; 0 at the end."""
    cdef unsigned int sketch_bytes
    if at == end:
        metric.size = 0
        return 0
    if end - at >= METRIC_HEADER:
        memcpy(&sketch_bytes, at + 65, 4)
        metric.start = at
        metric.name = at + METRIC_HEADER
        metric.name_bytes = at[0]
        metric.sketch = metric.name + metric.name_bytes
        metric.sketch_bytes = sketch_bytes
        metric.size = METRIC_HEADER + metric.name_bytes + metric.sketch_bytes
        if metric.size <= end - at:
            return 1
    raise ValueError("metrics end in the middle of one")


cdef inline int compare_names(const Metric* a, const Metric* b) noexcept nogil:
    cdef int order = memcmp(a.name, b.name, min(a.name_bytes, b.name_bytes))
    if order:
        return order
    return (a.name_bytes > b.name_bytes) - (a.name_bytes < b.name_bytes)


def merge_metrics(bytes one not None, bytes other not None):
    cdef const unsigned char* a_at = <const unsigned char*> PyBytes_AS_STRING(one)
    cdef const unsigned char* a_end = a_at + len(one)
    cdef const unsigned char* b_at = <const unsigned char*> PyBytes_AS_STRING(other)
    cdef const unsigned char* b_end = b_at + len(other)
    cdef unsigned char* buffer
    cdef unsigned char* to
    cdef Metric a, b
    cdef Accumulator mine, theirs
    cdef Bins a_bins, b_bins
    cdef Writer writer
    cdef unsigned int sketch_bytes
    cdef int order
    if not one:
        return other
    if not other:
        return one
    # Counts, and distances between bins, never take more bytes together than they take apart, save one for a carry each.
    buffer = <unsigned char*> malloc(2 * (len(one) + len(other)) + 64)
    if buffer == NULL:
        raise MemoryError
    to = buffer
    try:
        metric_at(a_at, a_end, &a)
        metric_at(b_at, b_end, &b)
        while a.size or b.size:
            order = 1 if not a.size else (-1 if not b.size else compare_names(&a, &b))
            if order < 0:
                memcpy(to, a.start, a.size)
                to += a.size
            elif order > 0:
                memcpy(to, b.start, b.size)
                to += b.size
            else:
                memcpy(&mine, a.start + 1, sizeof(Accumulator))
                memcpy(&theirs, b.start + 1, sizeof(Accumulator))
                merge(&mine, &theirs)
                to[0] = <unsigned char> a.name_bytes
                memcpy(to + 1, &mine, sizeof(Accumulator))
                memcpy(to + METRIC_HEADER, a.name, a.name_bytes)
                writer = Writer(to + METRIC_HEADER + a.name_bytes, 0, False)
                a_bins = Bins(a.sketch, a.sketch + a.sketch_bytes, False, False, 0, 0)
                b_bins = Bins(b.sketch, b.sketch + b.sketch_bytes, False, False, 0, 0)
                next_bin(&a_bins)
                next_bin(&b_bins)
                while a_bins.left or b_bins.left:
                    if a_bins.left and b_bins.left and a_bins.number == b_bins.number:
                        write_bin(&writer, a_bins.number, a_bins.count + b_bins.count)
                        next_bin(&a_bins)
                        next_bin(&b_bins)
                    elif not b_bins.left or (a_bins.left and a_bins.number < b_bins.number):
                        write_bin(&writer, a_bins.number, a_bins.count)
                        next_bin(&a_bins)
                    else:
                        write_bin(&writer, b_bins.number, b_bins.count)
                        next_bin(&b_bins)
                sketch_bytes = writer.at - to - METRIC_HEADER - a.name_bytes
                memcpy(to + 65, &sketch_bytes, 4)
                to = writer.at
            if order <= 0:
                a_at += a.size
                metric_at(a_at, a_end, &a)
            if order >= 0:
                b_at += b.size
                metric_at(b_at, b_end, &b)
        return PyBytes_FromStringAndSize(<char*> buffer, to - buffer)
    finally:
        free(buffer)


cdef inline object finite(double value):
    return None if isnan(value) or isinf(value) else value


cdef double quantile(Bins* bins, unsigned long long* seen, double share, double total, const Accumulator* a) except? -1.0:
    cdef unsigned long long rank = <unsigned long long> (share * (total - 1))
    cdef double value
    while seen[0] + bins.count <= rank:
        seen[0] += bins.count
        next_bin(bins)
        if not bins.left:
            raise ValueError("a sketch has fewer values than its metric")
    value = value_of(<int> bins.number)
    if value < a.least:
        value = a.least
    if value > a.greatest:
        value = a.greatest
    return value


def metrics_view(bytes data not None):
    cdef const unsigned char* at = <const unsigned char*> PyBytes_AS_STRING(data)
    cdef const unsigned char* end = at + len(data)
    cdef Metric metric
    cdef Accumulator a
    cdef Bins bins
    cdef unsigned long long seen
    cdef dict view = {}
    cdef double p50, p95, p99, stddev
    while metric_at(at, end, &metric):
        memcpy(&a, metric.start + 1, sizeof(Accumulator))
        bins = Bins(metric.sketch, metric.sketch + metric.sketch_bytes, False, False, 0, 0)
        next_bin(&bins)
        seen = 0
        p50 = quantile(&bins, &seen, 0.5, a.count, &a)
        p95 = quantile(&bins, &seen, 0.95, a.count, &a)
        p99 = quantile(&bins, &seen, 0.99, a.count, &a)
        stddev = 0.0 if a.least == a.greatest else sqrt((0.0 if a.squares < 0.0 else a.squares) / a.count)
        view[metric.name[: metric.name_bytes].decode()] = {
            "count": <long long> a.count,
            "sum": finite(total_of(&a)),
            "min": a.least,
            "max": a.greatest,
            "mean": finite(mean_of(&a)),
            "last": a.last,
            "stddev": finite(stddev),
            "p50": p50,
            "p95": p95,
            "p99": p99,
        }
        at += metric.size
    return view


# -- energy --

cdef struct Point:
    long long at_ms
    double value

cdef struct Part:
    long long start_ms
    long long end_ms
    double start_kw
    double end_kw
    int quality


cdef class Points:
    """Power values or readings of one quarter by time, one for each time: the greatest."""

    cdef Point* points
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity

    def __dealloc__(self):
        free(self.points)

    cdef int put(self, long long at_ms, double value) except -1:
        cdef Point* grown
        if self.count and self.points[self.count - 1].at_ms == at_ms:
            if value > self.points[self.count - 1].value:
                self.points[self.count - 1].value = value
            return 0
        if self.count == self.capacity:
            self.capacity = max(16, 2 * self.capacity)
            grown = <Point*> realloc(self.points, self.capacity * sizeof(Point))
            if grown == NULL:
                raise MemoryError
            self.points = grown
        self.points[self.count] = Point(at_ms, value)
        self.count += 1
        return 0


cdef class Series:
    """What a quarter, and the nearest samples around it, say about energy; `quarter_energy.Series`."""

    cdef Points power
    cdef Points register

    def __cinit__(self, samples, power, register, before, behind):
        cdef const unsigned char[::1] view = samples
        cdef Py_ssize_t end = view.shape[0], at = 0, index, size
        cdef int power_number = -1 if power is None else power
        cdef int register_number = -1 if register is None else register
        cdef const unsigned char* sample
        cdef long long time_ms
        cdef double value
        cdef int number
        self.power, self.register = Points(), Points()
        self._add_edges(before)
        while at < end:
            size = size_at(&view[0], at, end)
            sample = &view[at]
            memcpy(&time_ms, sample, 8)
            for index in range(sample[SAMPLE_HEADER - 1]):
                number = sample[SAMPLE_HEADER + index * SAMPLE_VALUE]
                if number == power_number or number == register_number:
                    memcpy(&value, sample + SAMPLE_HEADER + index * SAMPLE_VALUE + 1, 8)
                    if number == power_number:
                        self.power.put(time_ms, value)
                    elif value > 0:
                        self.register.put(time_ms, value)
            at += size
        self._add_edges(behind)

    cdef int _add_edges(self, edges) except -1:
        power, register = edges
        if power is not None:
            self.power.put(power[0], power[1])
        if register is not None:
            self.register.put(register[0], register[1])
        return 0

    def edges(self):
        """First and last power value, first and last reading, each as (time, value) or None."""
        return edge(self.power, 0), edge(self.power, -1), edge(self.register, 0), edge(self.register, -1)

    def energy(self, long long start_ms, long long end_ms, double max_gap_ms, double max_power_kw):
        """Energy between two times as (kWh or None, source, covered share)."""
        cdef Part* parts
        cdef Py_ssize_t measured, count, index, taken = 0, first
        cdef double kwh = 0.0
        cdef long long covered_ms = 0
        cdef int worst = MEASURED
        if end_ms <= start_ms:
            raise ValueError(f"a span from {start_ms} to {end_ms} ms: must end after its start")
        # A power part is cut by each register part at most once more.
        parts = <Part*> malloc((2 * self.register.count + self.power.count + 2) * sizeof(Part))
        if parts == NULL:
            raise MemoryError
        try:
            measured = self._register_parts(parts, start_ms, end_ms, max_gap_ms, max_power_kw)
            count = self._power_parts(parts, measured, start_ms, end_ms, max_gap_ms, max_power_kw)
            qsort(parts, count, sizeof(Part), compare_parts)
            if count == 0:
                return None, 3, 0.0
            for index in range(count):
                kwh += (parts[index].start_kw + parts[index].end_kw) / 2 * (parts[index].end_ms - parts[index].start_ms) / HOUR_MS
                covered_ms += parts[index].end_ms - parts[index].start_ms
                if parts[index].quality > worst:
                    worst = parts[index].quality
            return kwh, worst, <double> covered_ms / (end_ms - start_ms)
        finally:
            free(parts)

    cdef Py_ssize_t _register_parts(
        self, Part* parts, long long start_ms, long long end_ms, double max_gap_ms, double max_power_kw
    ) except -1:
        """Parts by the register that reach into the span, whole."""
        cdef Py_ssize_t index, count = 0
        cdef Point* a
        cdef Point* b
        cdef double kwh, kw
        cdef int quality
        for index in range(1, self.register.count):
            a, b = &self.register.points[index - 1], &self.register.points[index]
            if b.at_ms <= start_ms:
                continue
            if a.at_ms >= end_ms:
                break
            kwh = difference(a.value, b.value, &quality)
            kw = kwh / (b.at_ms - a.at_ms) * HOUR_MS
            if kw > max_power_kw:
                continue
            if b.at_ms - a.at_ms > max_gap_ms:
                quality = ESTIMATED
            parts[count] = Part(a.at_ms, b.at_ms, kw, kw, quality)
            count += 1
        return count

    cdef Py_ssize_t _power_parts(
        self, Part* parts, Py_ssize_t measured, long long start_ms, long long end_ms, double max_gap_ms, double max_power_kw
    ) except -1:
        """Clip the measured parts, and put behind them what power says where they say nothing."""
        cdef Py_ssize_t index, taken, first = 0, count = measured
        cdef Point* a
        cdef Point* b
        cdef Part part
        cdef long long at_ms
        for index in range(1, self.power.count):
            a, b = &self.power.points[index - 1], &self.power.points[index]
            if b.at_ms <= start_ms:
                continue
            if a.at_ms >= end_ms:
                break
            if b.at_ms - a.at_ms > max_gap_ms or max(fabs(a.value), fabs(b.value)) > max_power_kw:
                continue
            part = Part(a.at_ms, b.at_ms, a.value, b.value, INTEGRATED)
            at_ms = part.start_ms
            while first < measured and parts[first].end_ms <= part.start_ms:
                first += 1
            taken = first
            while taken < measured and parts[taken].start_ms < part.end_ms:
                count += keep(&part, at_ms, parts[taken].start_ms, start_ms, end_ms, parts + count)
                at_ms = max(at_ms, parts[taken].end_ms)
                taken += 1
            count += keep(&part, at_ms, part.end_ms, start_ms, end_ms, parts + count)
        for index in range(measured):
            clip(&parts[index], start_ms, end_ms)
        return count


cdef object edge(Points points, int index):
    cdef Point* point
    if points.count == 0:
        return None
    point = &points.points[0 if index == 0 else points.count - 1]
    return point.at_ms, point.value


cdef int compare_parts(const void* one, const void* other) noexcept nogil:
    cdef long long a = (<const Part*> one).start_ms
    cdef long long b = (<const Part*> other).start_ms
    return (a > b) - (a < b)


cdef inline double kw_at(const Part* part, long long at_ms) noexcept nogil:
    cdef double share = <double> (at_ms - part.start_ms) / <double> (part.end_ms - part.start_ms)
    return part.start_kw + (part.end_kw - part.start_kw) * share


cdef inline bint clip(Part* part, long long start_ms, long long end_ms) noexcept nogil:
    """Cut a part down to a span in place; false when nothing of it lies in there."""
    cdef double start_kw, end_kw
    start_ms, end_ms = max(part.start_ms, start_ms), min(part.end_ms, end_ms)
    if start_ms >= end_ms:
        return False
    start_kw, end_kw = kw_at(part, start_ms), kw_at(part, end_ms)
    part.start_ms, part.end_ms, part.start_kw, part.end_kw = start_ms, end_ms, start_kw, end_kw
    return True


cdef inline int keep(
    const Part* part, long long from_ms, long long to_ms, long long start_ms, long long end_ms, Part* into
) noexcept nogil:
    """Put what of a part lies between two times, and in the span, into a place; how many parts that is."""
    into[0] = part[0]
    return 1 if clip(into, from_ms, to_ms) and clip(into, start_ms, end_ms) else 0


cdef double difference(double before_kwh, double after_kwh, int* quality) except? -1.0:
    from ems_streams.domain.energy import _difference

    if after_kwh >= before_kwh:
        quality[0] = MEASURED
        return after_kwh - before_kwh
    kwh, worse = _difference(before_kwh, after_kwh)
    quality[0] = worse
    return kwh
