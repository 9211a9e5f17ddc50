"""A bridge as one would write it first: aiomqtt's messages, one by one, into aiokafka's producer.

The MQTT client has acknowledged a message before Kafka has it: what is in between is lost when the process dies.
"""

import asyncio
import os
import signal

import aiokafka
import aiomqtt


async def bridge():
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=os.environ["BENCH_BROKER"], acks="all", linger_ms=20, max_batch_size=256 * 1024)
    await producer.start()
    try:
        client = aiomqtt.Client("127.0.0.1", int(os.environ["BENCH_MQTT_PORT"]), identifier=os.environ["BENCH_RUN"], clean_session=False)
        async with client:
            await client.subscribe(os.environ["BENCH_MQTT_TOPICS"], qos=1)
            async for message in client.messages:
                serial_number = message.topic.value.split("/")[3]
                await producer.send(os.environ["BENCH_TOPIC"], message.payload, serial_number.encode())
    finally:
        await producer.stop()


async def main():
    task = asyncio.create_task(bridge())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    if os.environ.get("BENCH_UVLOOP"):
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
