cdef struct Metric:
    void* name  # an owned str
    double value

cdef class TelemetryRecord:
    cdef readonly bytes key
    cdef readonly str device_type
    cdef readonly str message_id
    cdef readonly long long device_id
    cdef readonly long long site_id
    cdef readonly long long timestamp_ms
    cdef Py_ssize_t count
    cdef Metric* values
