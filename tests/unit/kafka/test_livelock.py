"""What Faust would say of partitions that our engine reads and commits by itself."""

from faust.transport.consumer import Consumer as FaustConsumer

from ems_streams.kafka.transport import Consumer
from ems_streams.kafka.worker_app import WorkerApp
from ems_streams.settings import Settings


async def test_faust_says_nothing_about_partitions_that_it_does_not_commit(tmp_path, monkeypatch) -> None:
    app = WorkerApp(Settings(data_dir=tmp_path))
    consumer = Consumer(app.transport, callback=print, on_partitions_revoked=print, on_partitions_assigned=print)  # type: ignore[arg-type]  # none is called
    said: list[object] = []
    monkeypatch.setattr(Consumer, "assignment", lambda _: {("device-telemetry", 0)})
    monkeypatch.setattr(Consumer, "verify_event_path", lambda _self, _now, tp: said.append(tp))

    await FaustConsumer.verify_all_partitions_active(consumer)
    assert said, "Faust looks at each partition by this"
    said.clear()
    await consumer.verify_all_partitions_active()
    assert said == []
