package bench.streams;

import bench.common.Json;
import bench.common.Progress;
import bench.common.Statistics;
import bench.common.Telemetry;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;

/** The work in the DSL of Kafka Streams: one aggregation per device, one per device and minute of event time. */
public final class Work {
    private static final Duration MINUTE = Duration.ofMinutes(1);
    private static final Duration WINDOWS_KEPT = Duration.ofHours(1);
    private static final Duration TEN_YEARS = Duration.ofDays(3650);
    private static final Duration CLOSE_TIMEOUT = Duration.ofSeconds(30);

    private Work() {}

    public static void main(String[] arguments) {
        KafkaStreams streams = new KafkaStreams(topology().build(), settings());
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(CLOSE_TIMEOUT)));
        streams.start();
    }

    private static StreamsBuilder topology() {
        StreamsBuilder builder = new StreamsBuilder();
        Serde<Telemetry> telemetry = json(Telemetry.class);
        Serde<Statistics> statistics = "binary".equals(System.getenv("BENCH_STATE_FORMAT")) ? binary() : json(Statistics.class);
        KGroupedStream<String, Telemetry> devices = builder
                .stream(System.getenv("BENCH_TOPIC"), Consumed.with(Serdes.String(), telemetry).withTimestampExtractor(new EventTime()))
                .peek((key, event) -> Progress.add())
                .groupByKey(Grouped.with(Serdes.String(), telemetry));
        devices.aggregate(
                Statistics::new,
                (key, event, state) -> state.add(event),
                Materialized.<String, Statistics, KeyValueStore<Bytes, byte[]>>as("devices")
                        .withKeySerde(Serdes.String())
                        .withValueSerde(statistics));
        devices.windowedBy(TimeWindows.ofSizeAndGrace(MINUTE, MINUTE)).aggregate(
                Statistics::new,
                (key, event, state) -> state.add(event),
                Materialized.<String, Statistics, WindowStore<Bytes, byte[]>>as("minutes")
                        .withKeySerde(Serdes.String())
                        .withValueSerde(statistics)
                        .withRetention(WINDOWS_KEPT));
        return builder;
    }

    private static Properties settings() {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("BENCH_RUN"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BENCH_BROKER"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("BENCH_STATE"));
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        // The events are of the past: the broker would drop the changelog of the windows by their age.
        settings.put(StreamsConfig.WINDOW_STORE_CHANGE_LOG_ADDITIONAL_RETENTION_MS_CONFIG, TEN_YEARS.toMillis());
        setIfGiven(settings, StreamsConfig.NUM_STREAM_THREADS_CONFIG, "BENCH_THREADS");
        setIfGiven(settings, StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "BENCH_CACHE_BYTES");
        setIfGiven(settings, StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "BENCH_COMMIT_MS");
        setIfGiven(settings, StreamsConfig.PROCESSING_GUARANTEE_CONFIG, "BENCH_GUARANTEE");
        return settings;
    }

    private static void setIfGiven(Properties settings, String name, String variable) {
        String value = System.getenv(variable);
        if (value != null) {
            settings.put(name, value);
        }
    }

    private static <T> Serde<T> json(Class<T> type) {
        Json<T> json = new Json<>(type);
        return Serdes.serdeFrom(
                (topic, value) -> value == null ? null : json.write(value),
                (topic, bytes) -> bytes == null ? null : json.read(bytes));
    }

    private static Serde<Statistics> binary() {
        return Serdes.serdeFrom(
                (topic, value) -> value == null ? null : value.toBytes(),
                (topic, bytes) -> bytes == null ? null : Statistics.fromBytes(bytes));
    }

    /** Windows go by the time in the event. */
    public static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            return record.value() instanceof Telemetry event ? Telemetry.timeMillis(event) : partitionTime;
        }
    }
}
