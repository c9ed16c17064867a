// Asks a broker what the script says and writes the script again with its answers: how answers.txt was made.
//   java -cp "$KLIBS/*" Ask.java answers.txt 127.0.0.1 39092 > answers.new
// A line is a command with parts between " | "; "%20" stands for a space, "%" alone for an empty word. Lines that start with
// "= " are answers and are replaced; lines that start with "#" and empty lines stay.
import java.io.*;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.requests.*;

public class Ask {
    static DataInputStream in;
    static DataOutputStream out;
    static int correlation = 0;

    public static void main(String[] args) throws Exception {
        Socket socket = new Socket(args[1], Integer.parseInt(args[2]));
        in = new DataInputStream(socket.getInputStream());
        out = new DataOutputStream(socket.getOutputStream());
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            if (line.startsWith("= ")) continue;
            System.out.println(line);
            if (line.isBlank() || line.startsWith("#")) continue;
            List<String> answers = ask(line);
            Collections.sort(answers);
            answers.forEach(answer -> System.out.println("= " + answer));
        }
    }

    static AbstractResponse send(AbstractRequest request) throws Exception {
        RequestHeader header = new RequestHeader(request.apiKey(), request.version(), "ask", correlation++);
        ByteBuffer bytes = request.serializeWithHeader(header);
        out.writeInt(bytes.remaining());
        out.write(bytes.array(), bytes.arrayOffset() + bytes.position(), bytes.remaining());
        out.flush();
        byte[] answer = new byte[in.readInt()];
        in.readFully(answer);
        return AbstractResponse.parseResponse(ByteBuffer.wrap(answer), header);
    }

    static String word(String text) {
        return text == null || text.equals("%") ? "" : text.replace("%20", " ");
    }

    static String result(String what, short code, String message) {
        return what + " " + Errors.forCode(code).name() + " " + (message == null ? "-" : message);
    }

    static Map<String, String> options(String[] words, int from) {
        Map<String, String> map = new LinkedHashMap<>();
        for (int i = from; i < words.length; i++) {
            String[] pair = words[i].split("=", 2);
            map.put(pair[0], pair.length == 1 ? null : pair[1]);
        }
        return map;
    }

    static List<Integer> ids(String text) {
        if (text.isEmpty()) return new ArrayList<>();
        return Arrays.stream(text.split(",")).map(Integer::parseInt).collect(Collectors.toList());
    }

    static List<String> ask(String line) throws Exception {
        String[] commandAndRest = line.split(" ", 2);
        String[] command = commandAndRest[0].split("/");
        boolean dry = Arrays.asList(command).contains("dry");
        List<String[]> parts = Arrays.stream(commandAndRest[1].split(" \\| ")).map(part -> part.trim().split(" ")).toList();
        switch (command[0]) {
            case "create": return create(parts, dry);
            case "delete": return delete(parts);
            case "partitions": return partitions(parts, dry);
            case "alter": return alter(parts, dry);
            case "legacy": return legacy(parts, dry);
            case "elect": return elect(parts, Byte.parseByte(command[1]));
            case "reassign": return reassign(parts);
            case "reassignments": return reassignments(parts);
            case "features": return features(parts, dry);
            case "unregister": return unregister(parts);
            default: throw new IllegalArgumentException(line);
        }
    }

    static List<String> create(List<String[]> parts, boolean dry) throws Exception {
        CreateTopicsRequestData data = new CreateTopicsRequestData().setValidateOnly(dry).setTimeoutMs(30000);
        for (String[] words : parts) {
            var topic = new CreateTopicsRequestData.CreatableTopic().setName(word(words[0])).setNumPartitions(1).setReplicationFactor((short) 1);
            for (var option : options(words, 1).entrySet()) {
                String value = option.getValue();
                switch (option.getKey()) {
                    case "p": topic.setNumPartitions(Integer.parseInt(value)); break;
                    case "rf": topic.setReplicationFactor(Short.parseShort(value)); break;
                    case "assign":
                        for (String assignment : value.split(";")) {
                            String[] pair = assignment.split(":", 2);
                            topic.assignments().mustAdd(new CreateTopicsRequestData.CreatableReplicaAssignment()
                                .setPartitionIndex(Integer.parseInt(pair[0])).setBrokerIds(ids(pair[1])));
                        }
                        break;
                    default:
                        topic.configs().add(new CreateTopicsRequestData.CreatableTopicConfig().setName(word(option.getKey()))
                            .setValue(value == null ? null : word(value)));
                }
            }
            data.topics().mustAdd(topic);
        }
        var response = (CreateTopicsResponse) send(new CreateTopicsRequest(data, (short) 7));
        List<String> answers = new ArrayList<>();
        for (var topic : response.data().topics()) {
            String answer = result("'" + topic.name() + "'", topic.errorCode(), topic.errorMessage());
            if (topic.errorCode() == 0) {
                answer += " partitions=" + topic.numPartitions() + " replicas=" + topic.replicationFactor() + " configs=" + topic.configs().size();
                for (var config : topic.configs()) {
                    if (config.configSource() != 5) answer += " " + config.name() + "=" + config.value() + "/" + config.configSource();
                }
            }
            answers.add(answer);
        }
        return answers;
    }

    static List<String> delete(List<String[]> parts) throws Exception {
        DeleteTopicsRequestData data = new DeleteTopicsRequestData().setTimeoutMs(30000);
        for (String[] words : parts) {
            var state = new DeleteTopicsRequestData.DeleteTopicState();
            var options = options(words, 0);
            if (options.containsKey("name")) state.setName(word(options.get("name")));
            if (options.containsKey("id")) state.setTopicId(Uuid.fromString(options.get("id")));
            data.topics().add(state);
        }
        var response = (DeleteTopicsResponse) send(new DeleteTopicsRequest.Builder(data).build((short) 6));
        return response.data().responses().stream()
            .map(topic -> result("'" + topic.name() + "'", topic.errorCode(), topic.errorMessage())).collect(Collectors.toList());
    }

    static List<String> partitions(List<String[]> parts, boolean dry) throws Exception {
        CreatePartitionsRequestData data = new CreatePartitionsRequestData().setValidateOnly(dry).setTimeoutMs(30000);
        for (String[] words : parts) {
            var topic = new CreatePartitionsRequestData.CreatePartitionsTopic().setName(word(words[0])).setCount(Integer.parseInt(words[1])).setAssignments(null);
            var options = options(words, 2);
            if (options.containsKey("assign")) {
                topic.setAssignments(Arrays.stream(options.get("assign").split(";"))
                    .map(list -> new CreatePartitionsRequestData.CreatePartitionsAssignment().setBrokerIds(ids(list.equals("-") ? "" : list))).toList());
            }
            data.topics().mustAdd(topic);
        }
        var response = (CreatePartitionsResponse) send(new CreatePartitionsRequest.Builder(data).build((short) 3));
        return response.data().results().stream()
            .map(topic -> result("'" + topic.name() + "'", topic.errorCode(), topic.errorMessage())).collect(Collectors.toList());
    }

    static List<String> alter(List<String[]> parts, boolean dry) throws Exception {
        IncrementalAlterConfigsRequestData data = new IncrementalAlterConfigsRequestData().setValidateOnly(dry);
        for (String[] words : parts) {
            var resource = new IncrementalAlterConfigsRequestData.AlterConfigsResource()
                .setResourceType(Byte.parseByte(words[0])).setResourceName(word(words[1]));
            for (int i = 2; i < words.length; i++) {
                String[] opAndPair = words[i].split(":", 2);
                String[] pair = opAndPair[1].split("=", 2);
                resource.configs().mustAdd(new IncrementalAlterConfigsRequestData.AlterableConfig()
                    .setConfigOperation(Byte.parseByte(opAndPair[0])).setName(pair[0]).setValue(pair.length == 1 ? null : word(pair[1])));
            }
            data.resources().mustAdd(resource);
        }
        var response = (IncrementalAlterConfigsResponse) send(new IncrementalAlterConfigsRequest.Builder(data).build((short) 1));
        return response.data().responses().stream()
            .map(r -> result(r.resourceType() + " '" + r.resourceName() + "'", r.errorCode(), r.errorMessage())).collect(Collectors.toList());
    }

    static List<String> legacy(List<String[]> parts, boolean dry) throws Exception {
        AlterConfigsRequestData data = new AlterConfigsRequestData().setValidateOnly(dry);
        for (String[] words : parts) {
            var resource = new AlterConfigsRequestData.AlterConfigsResource().setResourceType(Byte.parseByte(words[0])).setResourceName(word(words[1]));
            for (var option : options(words, 2).entrySet()) {
                resource.configs().mustAdd(new AlterConfigsRequestData.AlterableConfig().setName(option.getKey())
                    .setValue(option.getValue() == null ? null : word(option.getValue())));
            }
            data.resources().mustAdd(resource);
        }
        var response = (AlterConfigsResponse) send(AlterConfigsRequest.parse(
            MessageUtil.toByteBufferAccessor(data, (short) 2), (short) 2));
        return response.data().responses().stream()
            .map(r -> result(r.resourceType() + " '" + r.resourceName() + "'", r.errorCode(), r.errorMessage())).collect(Collectors.toList());
    }

    static List<String> elect(List<String[]> parts, byte type) throws Exception {
        ElectLeadersRequestData data = new ElectLeadersRequestData().setElectionType(type).setTimeoutMs(30000);
        data.setTopicPartitions(new ElectLeadersRequestData.TopicPartitionsCollection());
        for (String[] words : parts) {
            data.topicPartitions().mustAdd(new ElectLeadersRequestData.TopicPartitions().setTopic(word(words[0])).setPartitions(ids(words[1])));
        }
        var response = (ElectLeadersResponse) send(ElectLeadersRequest.parse(MessageUtil.toByteBufferAccessor(data, (short) 2), (short) 2));
        List<String> answers = new ArrayList<>(List.of(result("all", response.data().errorCode(), null)));
        for (var topic : response.data().replicaElectionResults())
            for (var partition : topic.partitionResult())
                answers.add(result(topic.topic() + "-" + partition.partitionId(), partition.errorCode(), partition.errorMessage()));
        return answers;
    }

    static List<String> reassign(List<String[]> parts) throws Exception {
        AlterPartitionReassignmentsRequestData data = new AlterPartitionReassignmentsRequestData().setTimeoutMs(30000);
        for (String[] words : parts) {
            var partition = new AlterPartitionReassignmentsRequestData.ReassignablePartition().setPartitionIndex(Integer.parseInt(words[1]))
                .setReplicas(words[2].equals("cancel") ? null : ids(words[2].equals("-") ? "" : words[2]));
            if (words.length > 3) data.setAllowReplicationFactorChange(Boolean.parseBoolean(words[3]));
            data.topics().add(new AlterPartitionReassignmentsRequestData.ReassignableTopic().setName(word(words[0])).setPartitions(List.of(partition)));
        }
        var response = (AlterPartitionReassignmentsResponse) send(new AlterPartitionReassignmentsRequest.Builder(data).build((short) 1));
        List<String> answers = new ArrayList<>(List.of(result("all", response.data().errorCode(), response.data().errorMessage())));
        for (var topic : response.data().responses())
            for (var partition : topic.partitions())
                answers.add(result(topic.name() + "-" + partition.partitionIndex(), partition.errorCode(), partition.errorMessage()));
        return answers;
    }

    static List<String> reassignments(List<String[]> parts) throws Exception {
        ListPartitionReassignmentsRequestData data = new ListPartitionReassignmentsRequestData().setTimeoutMs(30000).setTopics(new ArrayList<>());
        for (String[] words : parts)
            data.topics().add(new ListPartitionReassignmentsRequestData.ListPartitionReassignmentsTopics().setName(word(words[0])).setPartitionIndexes(ids(words[1])));
        var response = (ListPartitionReassignmentsResponse) send(new ListPartitionReassignmentsRequest.Builder(data).build((short) 0));
        List<String> answers = new ArrayList<>(List.of(result("all", response.data().errorCode(), response.data().errorMessage())));
        response.data().topics().forEach(topic -> answers.add(topic.name() + " " + topic.partitions().size()));
        return answers;
    }

    static List<String> features(List<String[]> parts, boolean dry) throws Exception {
        UpdateFeaturesRequestData data = new UpdateFeaturesRequestData().setTimeoutMs(30000).setValidateOnly(dry);
        for (String[] words : parts)
            data.featureUpdates().mustAdd(new UpdateFeaturesRequestData.FeatureUpdateKey().setFeature(words[0])
                .setMaxVersionLevel(Short.parseShort(words[1])).setUpgradeType(Byte.parseByte(words[2])));
        var response = (UpdateFeaturesResponse) send(UpdateFeaturesRequest.parse(MessageUtil.toByteBufferAccessor(data, (short) 2), (short) 2));
        return new ArrayList<>(List.of(result("all", response.data().errorCode(), response.data().errorMessage())));
    }

    static List<String> unregister(List<String[]> parts) throws Exception {
        var data = new UnregisterBrokerRequestData().setBrokerId(Integer.parseInt(parts.get(0)[0]));
        var response = (UnregisterBrokerResponse) send(new UnregisterBrokerRequest.Builder(data).build((short) 0));
        return new ArrayList<>(List.of(result("all", response.data().errorCode(), response.data().errorMessage())));
    }
}
