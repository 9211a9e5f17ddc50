from ems_streams.domain._telemetry cimport TelemetryRecord

cdef int append_known(bytearray samples, TelemetryRecord record, bytes identity, dict names) except -1
cdef int add_names(dict names, TelemetryRecord record) except -1
cpdef bint remember(bytearray recent, bytes identity, Py_ssize_t limit, bint surely_new=*) except -1
cpdef add_samples(bytearray section, samples)
