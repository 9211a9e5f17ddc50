"""ACLs on their way to Kafka's client and back."""

import pytest
from confluent_kafka.admin import ResourceType

from ems_streams.kafka.acls import CLUSTER_NAME, Acl, _acl, _binding

ACLS = (
    Acl("User:a", "TOPIC", "t", prefixed=False, operation="READ"),
    Acl("User:a", "TOPIC", "t-", prefixed=True, operation="ALTER_CONFIGS"),
    Acl("User:a", "GROUP", "g", prefixed=False, operation="READ", host="10.0.0.7"),
    Acl("User:a", "TRANSACTIONAL_ID", "x-", prefixed=True, operation="WRITE"),
    Acl("User:a", "CLUSTER", CLUSTER_NAME, prefixed=False, operation="DESCRIBE", allowed=False),
)


@pytest.mark.parametrize("acl", ACLS)
def test_an_acl_comes_back_as_it_went(acl: Acl) -> None:
    assert _acl(_binding(acl)) == acl


def test_the_cluster_is_what_this_client_calls_a_broker() -> None:
    assert _binding(ACLS[-1]).restype is ResourceType.BROKER
    assert ACLS[-1].view()["permission"] == "DENY"
