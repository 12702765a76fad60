package io.libraft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

class ReadmeTest {
    @Test
    void theProgramInTheReadmeWorksAsItStandsThere() throws Exception {
        String readme = Files.readString(Programs.ROOT.resolve("bindings/java/README.md"));
        Matcher program =
                Pattern.compile("```java\n(import .*?)```", Pattern.DOTALL).matcher(readme);
        assertTrue(program.find());
        Path folder = OneNode.folder();
        Files.writeString(folder.resolve("Hello.java"), program.group(1));
        for (int count = 1; count <= 2; count++) {
            Programs.Ended ended =
                    Programs.run(folder, "-cp", Programs.binding().toString(), "Hello.java");
            assertEquals("the counter is " + count + "\n", ended.out(), ended.err());
            assertEquals(0, ended.code());
        }
    }
}
