"""Every kind of thing that doctor can find, with what to do about it; docs/reference/doctor-findings.md is made from it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How much a finding matters: work does not go on, will not, or would better be another way."""

    CRITICAL = "CRITICAL"
    WARNING = "WARNING"
    INFO = "INFO"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding.

    Attributes:
        code: Stable name, for scripts.
        severity: The same for all of the kind.
        meaning: What it is.
        advice: What to do; names in braces are filled in.
        command: A command of ours that does it, as arguments; none when no single one does.
    """

    code: str
    severity: Severity
    meaning: str
    advice: str
    command: tuple[str, ...] = ()


_C, _W, _I = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_OURS = "ems-streams"

_ALL: Final = (
    # -- Settings --
    Kind("setting-invalid", _C, "a setting has a value that it cannot have", "set {setting} to what is expected, or take it out"),
    Kind("setting-misspelt", _W, "a variable is no setting, but nearly one", "call it {near}, or take it out"),
    Kind("setting-unknown", _I, "a variable begins with EMS_ and is no setting", "take it out when nothing of yours reads it"),
    Kind("settings-disagree", _W, "two settings do not go together", "set {setting} to what is expected"),
    Kind(
        "channels-file-wrong", _C, "the file of channels cannot be used", "mend it until the command finds nothing wrong",
        (_OURS, "channels", "check", "{file}"),
    ),
    # -- Reaching servers --
    Kind("dns-unknown", _C, "the name of a server has no address", "mend the name in {setting}, or teach it to the name service of this machine"),
    Kind("kafka-refused", _C, "nothing listens where Kafka should", "start Kafka, or set {setting} to where it listens"),
    Kind("kafka-silent", _C, "Kafka does not answer", "look whether the broker runs and a firewall lets this machine through to {address}; if not there, mend {setting}"),
    Kind("kafka-not-kafka", _C, "something else than Kafka answers at its address", "set {setting} to the broker's own port, that of the listener for EMS_KAFKA_SECURITY_PROTOCOL"),
    Kind("kafka-credentials", _C, "Kafka does not let us in", "mend what is named; each refusal is in docs/howto/security-kafka.md#refusals"),
    Kind(
        "kafka-advertised", _C, "a broker tells clients an address that cannot be reached from here",
        "set advertised.listeners of broker {broker} to an address that this machine reaches, or make {address} reachable",
    ),
    Kind("kafka-old", _C, "Kafka is older than what is needed", "use Kafka 2.3 or later; it is developed against 4.3"),
    Kind("kafka-brokers", _W, "there are fewer brokers than replicas are wanted", "start the other brokers, or set EMS_REPLICATION_FACTOR to {brokers} at most"),
    Kind("mqtt-unreachable", _C, "the MQTT broker does not answer", "start the broker, or set EMS_MQTT_URL to where it listens"),
    Kind("mqtt-login", _C, "the MQTT broker refuses the login", "set EMS_MQTT_USERNAME and EMS_MQTT_PASSWORD, or EMS_MQTT_PASSWORD_FILE, to what the broker knows"),
    Kind("mqtt-tls", _C, "there is no TLS connection with the MQTT broker that both sides trust", "do what the text of the finding says: EMS_MQTT_CA_FILE is whom this side trusts, EMS_MQTT_CERT_FILE what it shows"),
    Kind("mqtt-protocol", _C, "what listens at the MQTT address does not answer in MQTT 5", "set EMS_MQTT_URL to a broker and port that speak MQTT 5 (mqtts:// for TLS)"),
    Kind("mqtt-shared", _C, "the MQTT broker has no shared subscriptions", "use a broker with shared subscriptions, or turn them on"),
    Kind("mqtt-session", _W, "the MQTT broker keeps messages for a shorter time than asked for", "raise the broker's limit of session expiry, or set EMS_MQTT_SESSION_EXPIRY_S to {seconds}"),
    Kind("tls-untrusted", _C, "a certificate is not trusted", "renew the certificate of {address}, or trust who has signed it (EMS_MQTT_CA_FILE, or SSL_CERT_FILE for this machine)"),
    Kind("tls-expiring", _W, "a certificate runs out soon", "renew the certificate of {address}"),
    Kind("postgres-unreachable", _C, "PostgreSQL does not answer", "start PostgreSQL, or set EMS_DATABASE_URL to where it listens"),
    Kind("postgres-tls", _C, "there is no TLS connection with PostgreSQL that can be trusted", "set sslrootcert in EMS_DATABASE_URL to the authority of the server's certificate, and the host to a name that it is for"),
    Kind("postgres-login", _C, "PostgreSQL refuses the login", "mend user and password in EMS_DATABASE_URL, or let pg_hba.conf take this machine in"),
    Kind("postgres-database", _C, "the database does not exist", "create it (createdb {database}), or mend its name in EMS_DATABASE_URL"),
    Kind("postgres-old", _C, "PostgreSQL is older than what is needed", "use PostgreSQL 14 or later"),
    Kind("postgres-rights", _C, "the user may not write the tables", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO the user of EMS_DATABASE_URL"),
    Kind("postgres-full", _C, "PostgreSQL takes no more connections, of anybody or of this user", "raise max_connections, or the limit of the user, or end what holds them (pg_stat_activity)"),
    Kind("postgres-connections", _W, "PostgreSQL has hardly a connection left", "raise max_connections, or end what holds them (pg_stat_activity)"),
    # -- Schema --
    Kind("schema-missing", _C, "the database has none of our tables", "make them; the sink does it at its start, too", (_OURS, "db", "migrate")),
    Kind("schema-old", _C, "the schema is that of an earlier release", "bring it up to date; the sink does it at its start, too", (_OURS, "db", "migrate")),
    Kind("schema-newer", _C, "the schema is that of a later release", "run the release that has made it; there is no way back but a backup"),
    # -- Topics --
    Kind("topics-missing", _C, "topics of the catalogue do not exist", "create them", (_OURS, "topics", "apply")),
    Kind(
        "topic-partitions", _C, "topics have another number of partitions than is set",
        "set EMS_PARTITIONS={partitions} for every process; for more partitions see docs/howto/topics.md#more-partitions",
    ),
    Kind("topic-partitions-mixed", _C, "some topics have another number of partitions than the others", "no setting suits all of them: make the topics anew, see docs/howto/topics.md#more-partitions"),
    Kind(
        "topic-loses-records", _C, "Kafka removes records that have to be kept, by compaction or by age",
        "alter the topics at once; of a compacted one what is older than its retention goes then, as `topics plan` says",
        (_OURS, "topics", "apply", "--allow-record-loss"),
    ),
    Kind("topic-settings", _W, "topics are set up otherwise than the catalogue says", "alter them; no record is lost by it", (_OURS, "topics", "apply")),
    Kind(
        "topic-keeps-more", _I, "topics keep records for longer than the catalogue says",
        "leave it so, or give the disk space back: Kafka deletes what is older", (_OURS, "topics", "apply", "--allow-record-loss"),
    ),
    Kind("topic-replication", _W, "topics have fewer replicas than is set", "move replicas with kafka-reassign-partitions, or set EMS_REPLICATION_FACTOR to what there is"),
    Kind("topic-offline", _C, "partitions have no leader", "start the brokers that have their replicas"),
    Kind("topic-replicas-behind", _W, "replicas are not in sync", "look at the brokers that are away or slow"),
    Kind("topic-not-writable", _C, "partitions have fewer replicas in sync than they must have, so that Kafka takes no records for them", "start the brokers that have their replicas"),
    Kind(
        "topic-min-in-sync", _W, "topics want more replicas in sync than they have; older Kafka takes no records for them then",
        "set min.insync.replicas of the topic, or of the brokers, to {replicas} at most",
    ),
    Kind("topic-unknown", _I, "topics begin like ours and are not in the catalogue", "look whose they are; of replays: `ems-streams replay list`"),
    Kind("rights-missing", _C, "Kafka does not allow what the processes need", "allow the user of these settings to {operation} on the topics"),
    Kind("acls-lacking", _C, "the principal lacks rights of the process that it is", "run it as the admin", (_OURS, "acls", "apply")),
    Kind("acls-missing", _C, "principals of ours lack rights", "give them", (_OURS, "acls", "apply")),
    Kind("acls-superfluous", _I, "principals of ours have rights that they do not need", "take them away", (_OURS, "acls", "apply", "--prune")),
    Kind(
        "kafka-no-authorizer", _W, "users log in to Kafka, and all may do everything",
        "set authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer on every broker and controller",
    ),
    # -- Processes --
    Kind("ingress-silent", _C, "no ingress says that it is alive and in step with MQTT", "start an ingress, or see what its /readyz and its log say", (_OURS, "ingress")),
    Kind("workers-none", _C, "no worker runs", "start one", (_OURS, "worker")),
    Kind("sink-none", _W, "no sink runs, so that nothing comes into PostgreSQL", "start one, if there is to be history", (_OURS, "sink")),
    Kind("notifier-none", _W, "no notifier runs, although there are channels", "start one", (_OURS, "notifier")),
    Kind("partitions-unassigned", _C, "partitions belong to no member of their group", "wait for a rebalance to end; if it does not, restart the members one by one"),
    Kind("group-moving", _I, "a consumer group is dividing its partitions anew", "ask again in a few seconds; a group that never settles has a member that comes and goes"),
    Kind("group-behind", _W, "a group is behind", "give it time to catch up; if it does not, start another process, and see what /readyz and the log say"),
    Kind("group-lost", _C, "records were deleted before a group has read them", "nothing brings them back; run the process all the time, or keep the topic for longer"),
    Kind("channel-stuck", _W, "a channel does not deliver", "see what its receiver says", (_OURS, "channels", "test", "{channel}")),
    Kind("worker-url-stale", _W, "an address in EMS_WORKER_URLS does not answer", "take it out, or start that worker; the gateway asks these first"),
    Kind("worker-unreachable", _W, "a worker of the group does not answer over HTTP", "see whether it hangs or is cut off from here; EMS_WORKER_ADVERTISED_URL is what it tells others"),
    Kind("gateway-unreachable", _W, "the gateway does not answer", "start one, or set EMS_GATEWAY_HOST and EMS_GATEWAY_PORT to where it listens", (_OURS, "gateway")),
    Kind("process-not-live", _C, "a process says itself that it must be restarted", "restart it; its log says why"),
    Kind("process-not-ready", _W, "a process cannot do its work now", "see what it waits for, which is named"),
    Kind("version-differs", _W, "a process runs another release than this one", "restart it from this installation, or run doctor from its own"),
    # -- This machine --
    Kind("clock-differs", _W, "two clocks do not agree", "let the clocks of both machines follow a time server (chrony, ntpd)"),
    Kind("disk-low", _W, "little space is left on the disk of the state directories", "make room on {directory}, or move EMS_DATA_DIR"),
    Kind("disk-full", _C, "the disk of the state directories is all but full", "make room on {directory}, or move EMS_DATA_DIR"),
    Kind("data-dir-unusable", _C, "the directory for state cannot be written", "give this user {directory}, or set EMS_DATA_DIR to one that it may write"),
    Kind("state-stale", _I, "a state directory belongs to no worker that runs", "remove {directory} if that worker does not come back; all of it is in Kafka, too"),
    # -- Doctor itself --
    Kind("check-failed", _W, "a check failed itself", "look at the evidence; the others do not depend on it"),
    Kind("check-late", _W, "a check did not end in time", "do it again; a server may be slow, or cut off from here"),
)  # fmt: skip

KINDS: Final = {kind.code: kind for kind in _ALL}
