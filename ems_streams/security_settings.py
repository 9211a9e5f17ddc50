"""Settings by which a process proves who it is, and knows with whom it speaks; `Settings` has all of them.

Secrets come from the environment or, better, from files (`EMS_KAFKA_PASSWORD_FILE=/run/secrets/kafka`).
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class KafkaSecuritySettings(BaseSettings):
    """How clients of Kafka connect."""

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How clients speak to Kafka; with SSL the certificate and the name of the broker are verified"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="How a client proves its user name to Kafka, with SASL"
    )
    kafka_username: str | None = Field(default=None, description="Kafka user, with SASL")
    kafka_password: SecretStr | None = Field(default=None, description="Kafka password, with SASL")
    kafka_ca_file: Path | None = Field(
        default=None, description="Authorities that Kafka's certificate may be of, PEM; default the system's"
    )
    kafka_cert_file: Path | None = Field(default=None, description="Certificate that a client shows to Kafka, PEM, for mutual TLS")
    kafka_key_file: Path | None = Field(default=None, description="Private key of that certificate, PEM")
    kafka_key_password: SecretStr | None = Field(default=None, description="Password of that private key, if it has one")


class MqttSecuritySettings(BaseSettings):
    """How clients of the MQTT broker connect; `mqtts://` in `EMS_MQTT_URL` is what makes it TLS."""

    mqtt_ca_file: Path | None = Field(
        default=None, description="Authorities that the MQTT broker's certificate may be of, PEM; default the system's"
    )
    mqtt_cert_file: Path | None = Field(default=None, description="Certificate that a client shows to the MQTT broker, PEM, for mutual TLS")
    mqtt_key_file: Path | None = Field(default=None, description="Private key of that certificate, PEM")
    mqtt_key_password: SecretStr | None = Field(default=None, description="Password of that private key, if it has one")


class GatewaySecuritySettings(BaseSettings):
    """Who may ask the gateway for what, and how it asks the workers."""

    gateway_cert_file: Path | None = Field(default=None, description="Certificate of the gateway, PEM: it then speaks HTTPS only")
    gateway_key_file: Path | None = Field(default=None, description="Private key of that certificate, PEM")
    gateway_tokens_file: Path | None = Field(
        default=None, description="YAML file of bearer tokens, by their hashes, with roles and sites; read again when it changes"
    )
    internal_token: SecretStr | None = Field(
        default=None, description="What the gateway and workers show to a worker's web; without it workers may listen on loopback only"
    )
