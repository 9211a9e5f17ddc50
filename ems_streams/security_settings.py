"""Settings by which a process proves who it is, and knows with whom it speaks; `Settings` has all of them.

Secrets come from the environment or, better, from files (`EMS_KAFKA_PASSWORD_FILE=/run/secrets/kafka`).
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings

from ems_streams.errors import SettingError
from ems_streams.pem_files import check_authorities, check_pair
from ems_streams.setting_types import HttpUrl, NotNegative, Seconds, parts

JwtAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Of two keys, all of them: with one of a single key, or of none, whoever knows the public key could sign."""
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\[\]:-]+$", max_length=260)]


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
    kafka_principal_prefix: str = Field(
        default="ems-",
        pattern=r"^[A-Za-z0-9_.=/@ -]{0,80}$",
        description="What the names of our principals at Kafka begin with, for `acls` and doctor: ems-worker, ems-ingress ...",
    )

    @property
    def kafka_over_tls(self) -> bool:
        """Whether connections to Kafka are encrypted, and its name verified."""
        return self.kafka_security_protocol in {"SSL", "SASL_SSL"}

    @property
    def kafka_with_login(self) -> bool:
        """Whether a user name and a password are shown to Kafka."""
        return self.kafka_security_protocol in {"SASL_PLAINTEXT", "SASL_SSL"}

    @model_validator(mode="after")
    def _check_kafka_security(self) -> Self:
        """Raise `SettingError` for what does not go together, and for files that cannot be what they are set for."""
        self._check_login()
        self._check_files()
        return self

    def _check_login(self) -> None:
        protocol = f"EMS_KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol}"
        if not self.kafka_with_login:
            given = next((name for name in ("kafka_username", "kafka_password") if getattr(self, name) is not None), None)
            if given is not None:
                expected = f"must be SASL_SSL, or SASL_PLAINTEXT, since EMS_{given.upper()} is set"
                raise SettingError("EMS_KAFKA_SECURITY_PROTOCOL", self.kafka_security_protocol, expected)
            return
        if not self.kafka_username:
            raise SettingError("EMS_KAFKA_USERNAME", self.kafka_username, f"must be the name of a Kafka user with {protocol}")
        if self.kafka_password is None or not self.kafka_password.get_secret_value():
            raise SettingError("EMS_KAFKA_PASSWORD", None, f"must be set, or EMS_KAFKA_PASSWORD_FILE, with {protocol}")

    def _check_files(self) -> None:
        files = {name: path for name in ("kafka_ca_file", "kafka_cert_file", "kafka_key_file") if (path := getattr(self, name)) is not None}
        if files and not self.kafka_over_tls:
            expected = f"must be SSL or SASL_SSL, since EMS_{next(iter(files)).upper()} is set"
            raise SettingError("EMS_KAFKA_SECURITY_PROTOCOL", self.kafka_security_protocol, expected)
        if self.kafka_ca_file is not None:
            check_authorities("EMS_KAFKA_CA_FILE", self.kafka_ca_file)
        cert, key, secret = self.kafka_cert_file, self.kafka_key_file, self.kafka_key_password
        if cert is not None and key is None:
            raise SettingError("EMS_KAFKA_KEY_FILE", None, f"must be the private key of EMS_KAFKA_CERT_FILE={str(cert)!r}")
        if cert is None and key is not None:
            raise SettingError("EMS_KAFKA_CERT_FILE", None, f"must be the certificate of EMS_KAFKA_KEY_FILE={str(key)!r}")
        if secret is not None and key is None:
            raise SettingError("EMS_KAFKA_KEY_PASSWORD", "***", "must be set together with EMS_KAFKA_KEY_FILE only")
        if cert is not None and key is not None:
            password = None if secret is None else secret.get_secret_value()
            check_pair(("EMS_KAFKA_CERT_FILE", cert), ("EMS_KAFKA_KEY_FILE", key), ("EMS_KAFKA_KEY_PASSWORD", password))


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
    gateway_behind_tls_proxy: bool = Field(
        default=False,
        description="A proxy before the gateway speaks HTTPS with the clients, and alone reaches it: the last X-Forwarded-For is the client",
    )
    gateway_jwks_url: HttpUrl | None = Field(default=None, description="Public keys that JWTs are signed with, as a JWK Set; or a file")
    gateway_jwks_file: Path | None = Field(default=None, description="The same from a file, read again when it changes")
    gateway_jwt_issuer: str | None = Field(default=None, description="What `iss` of a JWT must be; must be set with either of these keys")
    gateway_jwt_audience: str | None = Field(
        default=None, description="What `aud` of a JWT must be or contain; must be set with these keys"
    )
    gateway_jwt_algorithms: tuple[JwtAlgorithm, ...] = Field(
        default=("RS256", "PS256", "ES256", "EdDSA"), min_length=1, description="Signatures that are accepted, separated by commas"
    )
    gateway_jwt_leeway_s: float = Field(
        default=30.0, ge=0, le=300, description="How far clocks may differ when times of a JWT are looked at"
    )
    gateway_jwt_name_claim: str = Field(default="sub", min_length=1, description="Claim of a JWT with the name of who asks")
    gateway_jwt_role_claim: str = Field(
        default="ems_role", min_length=1, description="Claim with the role: viewer, operator or admin; `a.b` is b within a"
    )
    gateway_jwt_sites_claim: str = Field(
        default="ems_sites", min_length=1, description="Claim with the sites: all, or a list of site ids; `a.b` is b within a"
    )
    gateway_session_key: SecretStr | None = Field(
        default=None,
        description="Signs the sessions of browsers; the same for all gateways. Without it one is made at the start, which ends all sessions",
    )
    gateway_session_s: Seconds = Field(default=43_200.0, description="After so long a browser has to log in again")
    gateway_requests_per_s: NotNegative = Field(
        default=500.0,
        description="Requests that one token, or one address without one, may make on the average; twice as many at once; 0 for all",
    )
    gateway_writes_per_s: NotNegative = Field(default=200.0, description="The same for requests that change something, which count as both")
    gateway_failed_logins_per_min: NotNegative = Field(
        default=20.0, description="Wrong tokens that one address may show on the average; after as many at once it has to wait; 0 for all"
    )
    gateway_audit_file: Path | None = Field(
        default=None, description="Where the gateway appends who changed, or was denied, what: JSON lines; default its log"
    )
    gateway_cors_origins: tuple[Origin, ...] = Field(
        default=(), description="Pages of other origins that may ask with a token, such as https://noc.example.com, separated by commas"
    )
    gateway_url: HttpUrl | None = Field(
        default=None, description="Where commands find the gateway; default that of EMS_GATEWAY_HOST and EMS_GATEWAY_PORT"
    )
    gateway_token: SecretStr | None = Field(default=None, description="Token that commands show to the gateway")
    gateway_ca_file: Path | None = Field(
        default=None, description="Authorities that the gateway's certificate may be of, for commands, PEM; default the system's"
    )

    @property
    def gateway_is_open(self) -> bool:
        """Whether nothing says who may ask the gateway: then anybody may."""
        return self.gateway_tokens_file is None and self.gateway_jwks_url is None and self.gateway_jwks_file is None

    @field_validator("gateway_jwt_algorithms", "gateway_cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return parts(value)
