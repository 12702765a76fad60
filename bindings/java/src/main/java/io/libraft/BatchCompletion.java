package io.libraft;

/**
 * What became of the proposals of a batch, in the order of the batch. Some may have failed where
 * others were applied.
 */
public final class BatchCompletion {
    /** A {@link Completion} or a {@link LibraftException} for each. */
    private final Object[] results;

    private BatchCompletion(Object[] results) {
        this.results = results;
    }

    static BatchCompletion read(FlatReader reader, int count, MachineBridge machine) {
        reader.readInt(); // the length of all
        Object[] results = new Object[count];
        for (int i = 0; i < count; i++) {
            results[i] =
                    reader.readBoolean()
                            ? Completion.read(reader)
                            : LibraftException.read(reader, machine);
        }
        return new BatchCompletion(results);
    }

    /**
     * How many proposals the batch had.
     *
     * @return the number
     */
    public int size() {
        return results.length;
    }

    /**
     * What became of one proposal.
     *
     * @param position its place in the batch
     * @return its completion
     * @throws LibraftException if that proposal was not applied, or may not have been
     */
    public Completion get(int position) {
        if (results[position] instanceof Completion completion) {
            return completion;
        }
        throw (LibraftException) results[position];
    }

    /**
     * Why one proposal failed.
     *
     * @param position its place in the batch
     * @return the error, or null if the proposal was applied
     */
    public LibraftException failure(int position) {
        return results[position] instanceof LibraftException failure ? failure : null;
    }

    /**
     * The first proposal that failed.
     *
     * @return its error, or null if all were applied
     */
    public LibraftException firstFailure() {
        for (Object result : results) {
            if (result instanceof LibraftException failure) {
                return failure;
            }
        }
        return null;
    }
}
