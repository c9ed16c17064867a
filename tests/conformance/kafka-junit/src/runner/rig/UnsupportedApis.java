package rig;

import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.LogEvent;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.appender.AbstractAppender;
import org.apache.logging.log4j.core.config.LoggerConfig;
import org.apache.logging.log4j.core.config.Property;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Hears which APIs a test wanted and the broker does not have at all. A Kafka client never sends such a request, so that only its own
 * log tells; it does so at debug level, with the exception that it hands to the caller. Of a test that writes its requests itself, the
 * broker's output tells. And who looks for a coordinator of transactions wants their APIs, though it has not come to ask for them.
 */
public final class UnsupportedApis extends AbstractAppender {
    private static final String LOGGER = "org.apache.kafka.clients.NetworkClient";
    /** Not the message about a range of versions: that may be a fault of the broker. */
    private static final Pattern LACKING = Pattern.compile("The node does not support ([A-Z_]+)");
    private static final String API_OF_TRANSACTIONS = "ADD_PARTITIONS_TO_TXN";
    private static final String NO_TRANSACTIONS = "AddPartitionsToTxn(24): UNSUPPORTED";
    private static final String TRANSACTIONS = "AddPartitionsToTxn(24): ";
    private static final Pattern COORDINATOR_OF_TRANSACTIONS = Pattern.compile("Sending FIND_COORDINATOR .*keyType=1[,)].*");

    private static volatile UnsupportedApis listening;

    private volatile String first;
    private volatile long heardAt;
    /** What the node said that was last asked for its APIs. */
    private volatile boolean noTransactions;

    private UnsupportedApis() { super("unsupported-apis", null, null, true, Property.EMPTY_ARRAY); }

    static UnsupportedApis listen() {
        UnsupportedApis heard = new UnsupportedApis();
        heard.start();
        LoggerContext context = (LoggerContext) LogManager.getContext(false);
        LoggerConfig logger = new LoggerConfig(LOGGER, Level.DEBUG, false);
        logger.addAppender(heard, Level.DEBUG, null);
        context.getConfiguration().addLogger(LOGGER, logger);
        context.updateLoggers();
        listening = heard;
        return heard;
    }

    /** The broker has refused this API as one that it does not know. */
    public static void refused(String api) {
        if (listening != null) listening.heard(api);
    }

    private synchronized void heard(String api) {
        if (first != null) return;
        heardAt = System.nanoTime();
        first = api;
    }

    @Override
    public void append(LogEvent event) {
        if (first != null) return;
        if (event.getThrown() instanceof UnsupportedVersionException lacking) {
            Matcher name = LACKING.matcher(String.valueOf(lacking.getMessage()));
            if (name.matches()) heard(name.group(1));
            return;
        }
        String message = event.getMessage().getFormattedMessage();
        if (message.contains(TRANSACTIONS)) noTransactions = message.contains(NO_TRANSACTIONS);
        else if (noTransactions && COORDINATOR_OF_TRANSACTIONS.matcher(message).find()) heard(API_OF_TRANSACTIONS);
    }

    void forget() { first = null; }

    /** The API that was missed first since {@link #forget}, or {@code null}. */
    String first() { return first; }

    /** How long ago that was; 0 when nothing was missed. */
    long heardForSeconds() { return first == null ? 0 : (System.nanoTime() - heardAt) / 1_000_000_000L; }
}
