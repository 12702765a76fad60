package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class NodeTest {
    @Test
    void proposalsAreAppliedAndSurviveAReopen() throws Exception {
        Ledger first = new Ledger();
        OneNode one = new OneNode(first).ready();
        assertEquals("1", one.propose("a"));
        assertEquals("2", one.propose("b"));
        one.close();
        Ledger second = new Ledger();
        try (OneNode again = new OneNode(one.directory, second).ready()) {
            assertEquals("3", again.propose("c"));
            assertEquals(java.util.List.of("a", "b", "c"), second.entries);
        }
    }
}
