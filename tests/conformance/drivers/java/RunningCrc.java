import java.util.zip.CRC32;

/** A CRC-32 that can go on from one that was saved: the JDK's cannot be told where to begin. */
final class RunningCrc {
    private final CRC32 crc = new CRC32();

    /**
     * What was saved, as seen from where this one stands: a checksum is linear in its beginning.
     */
    private int base;

    RunningCrc(int saved) {
        base = saved;
    }

    void update(byte[] bytes) {
        crc.update(bytes);
        if (base != 0) {
            base = advance(base, bytes.length);
        }
    }

    long value() {
        return (crc.getValue() ^ base) & 0xffffffffL;
    }

    /** Zero bytes behind what was saved. */
    private static int advance(int value, int zeroes) {
        for (int bits = 8 * zeroes; bits > 0; bits--) {
            value = (value >>> 1) ^ (-(value & 1) & 0xedb88320);
        }
        return value;
    }
}
