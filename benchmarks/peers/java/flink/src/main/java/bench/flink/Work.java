package bench.flink;

import bench.common.Json;
import bench.common.Progress;
import bench.common.Statistics;
import bench.common.Telemetry;
import java.io.BufferedWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.KafkaSourceBuilder;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.CloseableIterator;
import org.apache.flink.util.Collector;

/**
 * The work in Flink's DataStream API: RocksDB, incremental checkpoints every ten seconds, a keyed state per device and a tumbling
 * event-time window. With BENCH_OUTPUT it reads to the end of the topic and writes what it has computed there.
 */
public final class Work {
    private Work() {}

    public static void main(String[] arguments) throws Exception {
        String output = System.getenv("BENCH_OUTPUT");
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(1, settings());
        WatermarkStrategy<Telemetry> eventTime = WatermarkStrategy
                .<Telemetry>forBoundedOutOfOrderness(Duration.ofSeconds(30))
                .withTimestampAssigner((event, arrival) -> Telemetry.timeMillis(event));
        KeyedStream<Telemetry, String> devices = environment
                .fromSource(source(output != null), eventTime, "telemetry")
                .keyBy(event -> event.serialNumber);
        DataStream<String> totals = devices.process(new Totals());
        DataStream<String> minutes = devices
                .window(TumblingEventTimeWindows.of(Duration.ofMinutes(1)))
                .aggregate(new Fold(), new Describe());
        if (output == null) {
            totals.sinkTo(new DiscardingSink<>());
            minutes.sinkTo(new DiscardingSink<>());
            environment.execute("work");
        } else {
            write(totals.union(minutes), Path.of(output));
        }
    }

    private static Configuration settings() {
        String directory = "file://" + System.getenv("BENCH_STATE");
        Configuration settings = new Configuration();
        settings.set(StateBackendOptions.STATE_BACKEND, "rocksdb");
        settings.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofSeconds(10));
        settings.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, true);
        settings.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, directory + "/checkpoints");
        settings.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(256));
        // A failure shall be seen, not hidden in the figures of a second attempt.
        settings.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
        settings.set(RestOptions.BIND_ADDRESS, "127.0.0.1");
        settings.set(RestOptions.BIND_PORT, System.getenv("BENCH_PORT"));
        return settings;
    }

    private static KafkaSource<Telemetry> source(boolean bounded) {
        KafkaSourceBuilder<Telemetry> builder = KafkaSource.<Telemetry>builder()
                .setBootstrapServers(System.getenv("BENCH_BROKER"))
                .setTopics(System.getenv("BENCH_TOPIC"))
                .setGroupId(System.getenv("BENCH_RUN"))
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new Parse());
        return (bounded ? builder.setBounded(OffsetsInitializer.latest()) : builder).build();
    }

    private static void write(DataStream<String> lines, Path path) throws Exception {
        try (CloseableIterator<String> results = lines.executeAndCollect("work"); BufferedWriter file = Files.newBufferedWriter(path)) {
            while (results.hasNext()) {
                file.write(results.next());
                file.newLine();
            }
        }
    }

    private static String line(String serialNumber, Long windowStart, Statistics statistics) {
        String window = windowStart == null ? "" : "\"windowStart\":\"" + Instant.ofEpochMilli(windowStart) + "\",";
        String metrics = new String(new Json<>(Statistics.class).write(statistics));
        return "{\"serialNumber\":\"" + serialNumber + "\"," + window + "\"metrics\":" + metrics + "}";
    }

    /** JSON bytes to events. */
    public static final class Parse extends AbstractDeserializationSchema<Telemetry> {
        private transient Json<Telemetry> json;

        @Override
        public void open(InitializationContext context) {
            json = new Json<>(Telemetry.class);
        }

        @Override
        public Telemetry deserialize(byte[] message) {
            return json.read(message);
        }
    }

    /** The state of a device; it is written out when the input ends. */
    public static final class Totals extends KeyedProcessFunction<String, Telemetry, String> {
        private transient ValueState<Statistics> state;

        @Override
        public void open(OpenContext context) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("devices", Statistics.class));
        }

        @Override
        public void processElement(Telemetry event, Context context, Collector<String> output) throws Exception {
            Statistics statistics = state.value();
            if (statistics == null) {
                statistics = new Statistics();
                context.timerService().registerEventTimeTimer(Long.MAX_VALUE);
            }
            state.update(statistics.add(event));
            Progress.add();
        }

        @Override
        public void onTimer(long time, OnTimerContext context, Collector<String> output) throws Exception {
            output.collect(line(context.getCurrentKey(), null, state.value()));
        }
    }

    /** Events of one device and minute. */
    public static final class Fold implements AggregateFunction<Telemetry, Statistics, Statistics> {
        @Override
        public Statistics createAccumulator() {
            return new Statistics();
        }

        @Override
        public Statistics add(Telemetry event, Statistics statistics) {
            return statistics.add(event);
        }

        @Override
        public Statistics getResult(Statistics statistics) {
            return statistics;
        }

        @Override
        public Statistics merge(Statistics left, Statistics right) {
            throw new UnsupportedOperationException("tumbling windows are never merged");
        }
    }

    /** A closed window as a line; while measuring nobody reads it, so none is made. */
    public static final class Describe extends ProcessWindowFunction<Statistics, String, String, TimeWindow> {
        private static final boolean WANTED = System.getenv("BENCH_OUTPUT") != null;

        @Override
        public void process(String serialNumber, Context context, Iterable<Statistics> results, Collector<String> output) {
            if (WANTED) {
                output.collect(line(serialNumber, context.window().getStart(), results.iterator().next()));
            }
        }
    }
}
