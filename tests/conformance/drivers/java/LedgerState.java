import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.TreeMap;

/** The state of a ledger, and its bytes, which are the same in every language. */
final class LedgerState {
    private static final byte[] MAGIC = "LEDGER01".getBytes(StandardCharsets.US_ASCII);
    private static final long OFFSET_BASIS = 0xcbf29ce484222325L;
    private static final long PRIME = 0x100000001b3L;

    final TreeMap<byte[], byte[]> values = new TreeMap<>(Arrays::compareUnsigned);
    long applied;
    long count;
    long hash = OFFSET_BASIS;

    void apply(long index, byte[] payload) {
        for (int shift = 0; shift < 64; shift += 8) {
            hash = (hash ^ (index >>> shift & 0xff)) * PRIME;
        }
        for (byte b : payload) {
            hash = (hash ^ (b & 0xff)) * PRIME;
        }
        applied = index;
        count++;
        int keyEnd = payload.length < 2 ? Integer.MAX_VALUE : 2 + (payload[1] & 0xff);
        if (keyEnd > payload.length) {
            return;
        }
        byte[] key = Arrays.copyOfRange(payload, 2, keyEnd);
        if (payload[0] == 's') {
            values.put(key, Arrays.copyOfRange(payload, keyEnd, payload.length));
        } else if (payload[0] == 'd' && keyEnd == payload.length) {
            values.remove(key);
        }
    }

    LedgerState copy() {
        LedgerState copy = new LedgerState();
        copy.values.putAll(values);
        copy.applied = applied;
        copy.count = count;
        copy.hash = hash;
        return copy;
    }

    static ByteBuffer littleEndian(int length) {
        return ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    }

    void write(OutputStream out) throws IOException {
        out.write(MAGIC);
        ByteBuffer head = littleEndian(28).putLong(applied).putLong(count).putLong(hash);
        out.write(head.putInt(values.size()).array());
        for (var entry : values.entrySet()) {
            for (byte[] bytes : new byte[][] {entry.getKey(), entry.getValue()}) {
                out.write(littleEndian(4).putInt(bytes.length).array());
                out.write(bytes);
            }
        }
    }

    static LedgerState read(InputStream in) throws IOException {
        DataInputStream data = new DataInputStream(in);
        if (!Arrays.equals(data.readNBytes(MAGIC.length), MAGIC)) {
            throw new IOException("this is not a ledger");
        }
        ByteBuffer head = ByteBuffer.wrap(exactly(data, 28)).order(ByteOrder.LITTLE_ENDIAN);
        LedgerState state = new LedgerState();
        state.applied = head.getLong();
        state.count = head.getLong();
        state.hash = head.getLong();
        for (int keys = head.getInt(); keys > 0; keys--) {
            byte[] key = exactly(data, Integer.reverseBytes(data.readInt()));
            state.values.put(key, exactly(data, Integer.reverseBytes(data.readInt())));
        }
        if (data.read() != -1) {
            throw new IOException("there is something behind the ledger");
        }
        return state;
    }

    private static byte[] exactly(DataInputStream data, int length) throws IOException {
        byte[] bytes = length < 0 ? new byte[0] : data.readNBytes(length);
        if (bytes.length != length) {
            throw new EOFException("the ledger is cut off");
        }
        return bytes;
    }
}
