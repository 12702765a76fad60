package io.libraft;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/**
 * A state machine for tests: the list of all payloads, as texts. Answers each entry with the length
 * of the list.
 */
class Ledger implements StateMachine {
    final List<String> entries = new ArrayList<>();
    final CountDownLatch destroyed = new CountDownLatch(1);

    @Override
    public byte[][] apply(Entries batch) throws Exception {
        byte[][] results = new byte[batch.size()][];
        for (int i = 0; i < results.length; i++) {
            results[i] = one(new String(batch.get(i).bytes(), StandardCharsets.UTF_8));
        }
        return results;
    }

    byte[] one(String entry) throws Exception {
        synchronized (entries) {
            entries.add(entry);
            return Integer.toString(entries.size()).getBytes(StandardCharsets.UTF_8);
        }
    }

    @Override
    public void saveSnapshot(OutputStream out) throws IOException {
        DataOutputStream data = new DataOutputStream(out);
        synchronized (entries) {
            data.writeInt(entries.size());
            for (String entry : entries) {
                data.writeUTF(entry);
            }
        }
    }

    @Override
    public void restoreSnapshot(InputStream in) throws IOException {
        DataInputStream data = new DataInputStream(in);
        synchronized (entries) {
            entries.clear();
            for (int count = data.readInt(); count > 0; count--) {
                entries.add(data.readUTF());
            }
        }
    }

    @Override
    public void destroy() {
        destroyed.countDown();
    }
}
