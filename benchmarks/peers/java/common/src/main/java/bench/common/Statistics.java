package bench.common;

import java.nio.ByteBuffer;

/** The state of a device or of a window: count, sum, min, max and last of five metrics. */
public class Statistics {
    public static final int BYTES = 5 * Metric.BYTES;

    public Metric powerKw = new Metric();
    public Metric voltage = new Metric();
    public Metric current = new Metric();
    public Metric temperature = new Metric();
    public Metric efficiency = new Metric();

    public Statistics add(Telemetry event) {
        Telemetry.Metrics values = event.telemetryData;
        powerKw.add(values.powerKw);
        voltage.add(values.voltage);
        current.add(values.current);
        temperature.add(values.temperature);
        efficiency.add(values.efficiency);
        return this;
    }

    public byte[] toBytes() {
        ByteBuffer buffer = ByteBuffer.allocate(BYTES);
        powerKw.put(buffer);
        voltage.put(buffer);
        current.put(buffer);
        temperature.put(buffer);
        efficiency.put(buffer);
        return buffer.array();
    }

    public static Statistics fromBytes(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        Statistics statistics = new Statistics();
        statistics.powerKw.get(buffer);
        statistics.voltage.get(buffer);
        statistics.current.get(buffer);
        statistics.temperature.get(buffer);
        statistics.efficiency.get(buffer);
        return statistics;
    }

    /** Of one metric. */
    public static class Metric {
        static final int BYTES = 5 * Long.BYTES;

        public long count;
        public double sum;
        public double min = Double.POSITIVE_INFINITY;
        public double max = Double.NEGATIVE_INFINITY;
        public double last;

        void add(double value) {
            count++;
            sum += value;
            min = Math.min(min, value);
            max = Math.max(max, value);
            last = value;
        }

        void put(ByteBuffer buffer) {
            buffer.putLong(count).putDouble(sum).putDouble(min).putDouble(max).putDouble(last);
        }

        void get(ByteBuffer buffer) {
            count = buffer.getLong();
            sum = buffer.getDouble();
            min = buffer.getDouble();
            max = buffer.getDouble();
            last = buffer.getDouble();
        }
    }
}
