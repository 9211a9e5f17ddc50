package bench.common;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicLong;

/** Counts events in the file that the measuring process has mapped as well; what is there is at most 256 behind. */
public final class Progress {
    private static final long STEP = 256;
    private static final AtomicLong COUNT = new AtomicLong();
    private static final MappedByteBuffer FILE = map();

    private Progress() {}

    public static void add() {
        long count = COUNT.incrementAndGet();
        if (count % STEP == 0) {
            FILE.putLong(0, count);
        }
    }

    private static MappedByteBuffer map() {
        Path path = Path.of(System.getenv("BENCH_PROGRESS"));
        try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer map = file.map(FileChannel.MapMode.READ_WRITE, 0, Long.BYTES);
            map.order(ByteOrder.LITTLE_ENDIAN);
            return map;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
