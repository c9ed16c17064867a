package rig.ext;

import org.apache.kafka.clients.ApiVersions;
import org.apache.kafka.clients.ClientRequest;
import org.apache.kafka.clients.ClientResponse;
import org.apache.kafka.clients.ClientUtils;
import org.apache.kafka.clients.ManualMetadataUpdater;
import org.apache.kafka.clients.MetadataRecoveryStrategy;
import org.apache.kafka.clients.NetworkClient;
import org.apache.kafka.clients.NetworkClientUtils;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.network.ChannelBuilder;
import org.apache.kafka.common.network.Selector;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.requests.AbstractRequest;
import org.apache.kafka.common.requests.AbstractResponse;
import org.apache.kafka.common.requests.ApiVersionsRequest;
import org.apache.kafka.common.requests.ApiVersionsResponse;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.utils.LogContext;
import org.apache.kafka.common.utils.Time;

import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** One request to exactly one node (an Admin client would choose the node itself). */
final class Wire {
    private static final int LARGEST_RESPONSE = 64 << 20;

    private final Map<String, Object> clientConfig;
    private final boolean plaintext;

    Wire(Map<String, Object> clientConfig) {
        this.clientConfig = clientConfig;
        this.plaintext = "PLAINTEXT".equals(clientConfig.get("security.protocol"));
    }

    @SuppressWarnings("unchecked")
    <R extends AbstractResponse> R send(String host, int port, AbstractRequest.Builder<?> request, int timeoutMs) throws IOException {
        return (R) (plaintext ? overSocket(host, port, request, timeoutMs) : overClient(host, port, request, timeoutMs));
    }

    /** A bare socket: a tenth of the time of a network client. */
    private static AbstractResponse overSocket(String host, int port, AbstractRequest.Builder<?> request, int timeoutMs) throws IOException {
        try (Socket socket = new Socket()) {
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(timeoutMs);
            socket.connect(new InetSocketAddress(host, port), timeoutMs);
            var versions = (ApiVersionsResponse) exchange(socket, new ApiVersionsRequest(new ApiVersionsRequestData(), (short) 0));
            var served = versions.apiVersion(request.apiKey().id);
            if (served == null) throw new IOException("the node does not support " + request.apiKey());
            return exchange(socket, request.build((short) Math.min(served.maxVersion(), request.latestAllowedVersion())));
        }
    }

    private static AbstractResponse exchange(Socket socket, AbstractRequest request) throws IOException {
        ApiKeys key = request.apiKey();
        RequestHeader header = new RequestHeader(key, request.version(), "rig", 1);
        ByteBuffer bytes = request.serializeWithHeader(header);
        ByteBuffer frame = ByteBuffer.allocate(4 + bytes.remaining()).putInt(bytes.remaining()).put(bytes);
        socket.getOutputStream().write(frame.array());
        DataInputStream in = new DataInputStream(socket.getInputStream());
        int size = in.readInt();
        if (size < 0 || size > LARGEST_RESPONSE) throw new IOException("a response of " + size + " bytes");
        return AbstractResponse.parseResponse(ByteBuffer.wrap(in.readNBytes(size)), header);
    }

    private AbstractResponse overClient(String host, int port, AbstractRequest.Builder<?> request, int timeoutMs) throws IOException {
        Map<String, Object> props = new HashMap<>(clientConfig);
        props.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, host + ":" + port);
        AdminClientConfig config = new AdminClientConfig(props);
        LogContext log = new LogContext("[rig] ");
        Time time = Time.SYSTEM;
        try (Metrics metrics = new Metrics();
             ChannelBuilder channels = ClientUtils.createChannelBuilder(config, time, log);
             Selector selector = new Selector(60_000, metrics, time, "rig", channels, log);
             NetworkClient client = new NetworkClient(selector, new ManualMetadataUpdater(List.of()), "rig", 1, 10, 10, 131072, 131072,
                 timeoutMs, 10_000, 30_000, time, true, new ApiVersions(), log, MetadataRecoveryStrategy.NONE)) {
            Node node = new Node(-1, host, port);
            if (!NetworkClientUtils.awaitReady(client, node, time, timeoutMs)) throw new IOException("not ready: " + host + ":" + port);
            ClientRequest sent = client.newClientRequest("-1", request, time.milliseconds(), true, timeoutMs, null);
            ClientResponse response = NetworkClientUtils.sendAndReceive(client, sent, time);
            if (response.versionMismatch() != null) throw response.versionMismatch();
            return response.responseBody();
        }
    }
}
