package rig;

import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

/** Finds the test classes that start a cluster: they, or a class they extend, name one of Kafka's ways to do so. */
final class ClusterClasses {
    private static final String[] MARKS = {
        "org/apache/kafka/common/test/api/ClusterTest", "org/apache/kafka/common/test/api/ClusterTemplate",
        "org/apache/kafka/common/test/ClusterInstance", "org/apache/kafka/common/test/KafkaClusterTestKit",
        "EmbeddedKafkaCluster", "EmbeddedConnectCluster"};

    static int list(String[] args, PrintStream to) throws Exception {
        for (int i = 1; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            for (String name : in(pair[1])) to.println(pair[0] + "\t" + name);
        }
        return 0;
    }

    private static TreeSet<String> in(String jar) throws Exception {
        Map<String, byte[]> classes = read(jar);
        TreeSet<String> found = new TreeSet<>();
        for (String name : classes.keySet()) {
            if (name.contains("$") || !(name.endsWith("Test") || name.endsWith("Tests") || name.endsWith("IT"))) continue;
            Class<?> type;
            try {
                type = Class.forName(name, false, ClusterClasses.class.getClassLoader());
            } catch (LinkageError e) {
                System.err.println("cannot load " + name + ": " + e);
                continue;
            }
            if (Modifier.isAbstract(type.getModifiers())) continue;
            for (Class<?> c = type; c != null && c != Object.class; c = c.getSuperclass())
                if (marked(classes.get(c.getName()))) found.add(name);
        }
        return found;
    }

    private static Map<String, byte[]> read(String jar) throws Exception {
        Map<String, byte[]> classes = new HashMap<>();
        try (JarFile file = new JarFile(jar)) {
            for (var entries = file.entries(); entries.hasMoreElements(); ) {
                JarEntry entry = entries.nextElement();
                String name = entry.getName();
                if (!name.endsWith(".class")) continue;
                try (InputStream in = file.getInputStream(entry)) {
                    classes.put(name.substring(0, name.length() - ".class".length()).replace('/', '.'), in.readAllBytes());
                }
            }
        }
        return classes;
    }

    private static boolean marked(byte[] bytes) {
        if (bytes == null) return false;
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        return Arrays.stream(MARKS).anyMatch(text::contains);
    }

    private ClusterClasses() { }
}
