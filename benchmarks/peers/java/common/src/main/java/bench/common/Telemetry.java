package bench.common;

import java.time.Instant;

/** An event as it is on the wire. Public fields and no constructor: Flink's and Jackson's fastest form of a record. */
public class Telemetry {
    public long deviceId;
    public String serialNumber;
    public long siteId;
    public String deviceType;
    public Metrics telemetryData;
    public String timestamp;
    public String eventType;

    /** The five metrics of the work. */
    public static class Metrics {
        public double powerKw;
        public double voltage;
        public double current;
        public double temperature;
        public double efficiency;
    }

    public static long timeMillis(Telemetry event) {
        return Instant.parse(event.timestamp).toEpochMilli();
    }
}
