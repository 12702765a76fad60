package io.libraft;

/** What became of a call that failed. */
public enum Outcome {
    /** It had no effect and never will. */
    REJECTED,
    /** A proposal may or may not take effect, now or later. */
    UNKNOWN;

    static Outcome of(int number) {
        return number == 1 ? REJECTED : UNKNOWN;
    }
}
