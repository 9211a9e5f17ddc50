"""What a worker is made of."""

from pathlib import Path

from ems_streams.app import SOURCE_TOPICS, worker_app
from ems_streams.kafka.catalogue import Catalogue
from ems_streams.settings import Settings


def test_the_topics_that_are_said_to_be_read_are_those_of_the_agents_and_are_in_the_catalogue(tmp_path: Path) -> None:
    app = worker_app(Settings.load(data_dir=tmp_path))

    assert app.engine.source_topics == SOURCE_TOPICS
    assert {topic.name for topic in Catalogue("app", 4)} >= SOURCE_TOPICS
