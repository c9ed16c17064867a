// What Apache Kafka's own assignors give. Driven by `cargo xtask assignors`.
//
//   FILE    a case per line, as crates/coordinator/tests/assignors/main.rs describes it; prints for each what the members get
//
// The orders that Kafka leaves to hash tables are fixed here: members and topics go by their ids.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.api.assignor.*;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

public class Assignors {
    public static void main(String[] args) throws Exception {
        StringBuilder out = new StringBuilder();
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            if (!line.isEmpty() && !line.startsWith("#")) {
                out.append(answer(line.split("\t", -1))).append('\n');
            }
        }
        System.out.print(out);
    }

    static String answer(String[] columns) {
        PartitionAssignor assignor = columns[1].equals("range") ? new RangeAssignor() : new UniformAssignor();
        SubscriptionType type =
            columns[2].equals("same") ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        Map<Uuid, Integer> topics = new HashMap<>();
        for (String topic : words(columns[3], " ")) {
            topics.put(id(topic.split(":")[0]), Integer.parseInt(topic.split(":")[1]));
        }
        Map<String, MemberSubscriptionAndAssignmentImpl> members = new TreeMap<>();
        Map<Uuid, Map<Integer, String>> owners = new HashMap<>();
        for (String member : words(columns[4], ";")) {
            String[] parts = member.split(" ");
            String[] name = parts[0].split("@");
            Set<Uuid> wanted = new HashSet<>();
            words(parts[1], ",").forEach(topic -> wanted.add(id(topic)));
            Map<Uuid, Set<Integer>> target = new TreeMap<>(Comparator.comparing(Uuid::getLeastSignificantBits));
            for (String held : words(parts[2], "/")) {
                Uuid topic = id(held.split(":")[0]);
                for (String partition : held.split(":")[1].split("\\.")) {
                    int number = Integer.parseInt(partition);
                    target.computeIfAbsent(topic, none -> new TreeSet<>()).add(number);
                    owners.computeIfAbsent(topic, none -> new HashMap<>()).put(number, name[0]);
                }
            }
            Optional<String> instance = name.length > 1 ? Optional.of(name[1]) : Optional.empty();
            members.put(name[0], new MemberSubscriptionAndAssignmentImpl(
                Optional.empty(), instance, wanted, new Assignment(target)));
        }
        SubscribedTopicDescriber describer = new SubscribedTopicDescriber() {
            public int numPartitions(Uuid topic) {
                return topics.getOrDefault(topic, -1);
            }

            public Set<String> racksForPartition(Uuid topic, int partition) {
                return Set.of();
            }
        };
        try {
            GroupAssignment assignment = assignor.assign(new GroupSpecImpl(members, type, owners), describer);
            StringJoiner all = new StringJoiner(";");
            members.keySet().forEach(member -> all.add(text(assignment.members().get(member))));
            return all.toString();
        } catch (PartitionAssignorException none) {
            return "error";
        }
    }

    static String text(MemberAssignment assignment) {
        if (assignment == null || assignment.partitions().isEmpty()) {
            return "-";
        }
        TreeMap<Integer, Set<Integer>> sorted = new TreeMap<>();
        assignment.partitions().forEach((topic, partitions) -> {
            sorted.put((int) topic.getLeastSignificantBits(), new TreeSet<>(partitions));
        });
        StringJoiner all = new StringJoiner("/");
        sorted.forEach((topic, partitions) -> {
            StringJoiner numbers = new StringJoiner(".");
            partitions.forEach(partition -> numbers.add(partition.toString()));
            all.add(topic + ":" + numbers);
        });
        return all.toString();
    }

    static List<String> words(String text, String separator) {
        return text.equals("-") ? List.of() : List.of(text.split(separator));
    }

    // From eight on they are negative, which Kafka sorts before the others. In a hash table of 16 they lie in order.
    static Uuid id(String number) {
        long low = Long.parseLong(number);
        return new Uuid(low < 8 ? 0 : Long.MIN_VALUE, low);
    }
}
