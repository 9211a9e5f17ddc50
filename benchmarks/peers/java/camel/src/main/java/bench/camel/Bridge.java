package bench.camel;

import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.kafka.KafkaConstants;
import org.apache.camel.component.paho.PahoConstants;
import org.apache.camel.main.Main;

/** MQTT to Kafka as a Camel route. */
public final class Bridge {
    private Bridge() {}

    public static void main(String[] arguments) throws Exception {
        Main main = new Main();
        main.configure().addRoutesBuilder(new Route());
        main.run(arguments);
    }

    /** One message at a time, keyed by the serial number in its topic. */
    public static final class Route extends RouteBuilder {
        @Override
        public void configure() {
            String broker = "tcp://127.0.0.1:" + System.getenv("BENCH_MQTT_PORT");
            from("paho:" + System.getenv("BENCH_MQTT_TOPICS") + "?brokerUrl=" + broker + "&clientId=" + System.getenv("BENCH_RUN")
                            + "&qos=1&cleanSession=false")
                    .process(exchange -> {
                        String topic = exchange.getIn().getHeader(PahoConstants.MQTT_TOPIC, String.class);
                        exchange.getIn().setHeader(KafkaConstants.KEY, topic.split("/")[3]);
                    })
                    .to("kafka:" + System.getenv("BENCH_TOPIC") + "?brokers=" + System.getenv("BENCH_BROKER")
                            + "&lingerMs=20&producerBatchSize=262144&requestRequiredAcks=all");
        }
    }
}
