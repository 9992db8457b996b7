"""The facade's settings, read from the environment. Every setting is ``OCORE_API_<NAME>``, documented here and in
docs/rest-api-settings.md."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _words(value: Any) -> Any:
    return tuple(filter(None, (v.strip() for v in value.split(",")))) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
#: A scheme, a host and perhaps a port: nothing that has a meaning in a Content-Security-Policy.
ORIGIN = r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"


class Settings(BaseSettings):
    """Read once at start. Lists are written with commas."""

    model_config = SettingsConfigDict(env_prefix="OCORE_API_", frozen=True)

    # --- the API server
    namespaces: Names = Field(
        default=(), description="Namespaces that are served, with commas; empty: all of the cluster."
    )
    kubeconfig: Path | None = Field(
        default=None, description="Outside a cluster: the kubeconfig file. Inside, the service account is used."
    )
    request_timeout: Seconds = Field(
        default=10,
        description="Seconds that the API server has to answer, for all that one request to the facade asks of it.",
    )

    # --- serving
    http_host: str = Field(default="0.0.0.0", description="Address to listen on.")  # noqa: S104 - a pod's own address
    http_port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8080, description="Port of the API and the page.")
    monitoring_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8081,
        description=(
            "Port of `/metrics`, and of `/healthz` and `/readyz` without a limit: for kubelets and Prometheus. Other"
            " clients need not reach it."
        ),
    )
    shutdown_seconds: Seconds = Field(
        default=10, description="Seconds after SIGTERM in which open requests may end. Streams end at once."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    trusted_proxies: Names = Field(
        default=(),
        description=(
            "Addresses or networks of reverse proxies, with commas. Only their `X-Forwarded-For` is used as the address"
            " of a client; without it, all clients behind a proxy share one limit of failed requests."
        ),
    )
    cors_origins: Names = Field(
        default=(),
        description=(
            "Origins of web pages that may call the API from a browser, with commas, for example"
            " `https://app.example.org`; empty: none."
        ),
    )
    docs: bool = Field(default=True, description="Serve `/docs` and `/openapi.json`.")

    # --- the page
    ui: bool = Field(default=False, description="Serve the page at `/ui`.")
    ui_folder: Path = Field(
        default=Path("/opt/ocore/ui"), description="Folder with the built page; the image has it there."
    )
    ui_client_id: str = Field(
        default="",
        description="Client id of the page at the OpenID Connect provider `jwt_issuer`; empty: no sign-in there.",
    )
    ui_scopes: Annotated[Names, Field(min_length=1)] = Field(
        default=("openid",), description="Scopes that the page requests from the provider, with commas."
    )
    ui_token: Literal["access", "id"] = Field(
        default="access",
        description="Which token of the provider has the audience and the claims, and is sent to the API.",
    )
    ui_provider_origins: Names = Field(
        default=(),
        description=(
            "Origins of the provider's endpoints, with commas, where they differ from that of `jwt_issuer`. The page"
            " connects to no others."
        ),
    )
    ui_pasted_token: bool = Field(default=True, description="Whether the page lets its user paste a token.")

    # --- tokens
    jwt_issuer: str = Field(min_length=1, description="The `iss` that tokens must have, exactly.")
    jwt_audience: Annotated[Names, Field(min_length=1)] = Field(
        description="The `aud` that tokens must have; with commas: any of these."
    )
    jwks_url: str | None = Field(default=None, description="URL of the issuer's JSON Web Key Set.")
    jwks_file: Path | None = Field(
        default=None, description="File with a JSON Web Key Set. It is read again when it changes."
    )
    jwt_secret_file: Path | None = Field(
        default=None,
        description="File with a shared secret for HS256, at least 32 bytes. It is read again when it changes.",
    )
    jwks_allow_http: bool = Field(
        default=False, description="Allow `http://` in `jwks_url`. Who can change the answer can issue tokens."
    )
    jwks_ca_file: Path | None = Field(
        default=None,
        description=(
            "Certificates of authorities that may sign the key server's certificate; none: those of the system."
        ),
    )
    jwks_max_age: Seconds = Field(default=300, description="Seconds after which the keys are fetched again.")
    jwks_stale_seconds: Seconds = Field(
        default=86400, description="Seconds for which fetched keys stay valid while the key server does not answer."
    )
    jwks_refetch_seconds: Seconds = Field(
        default=10, description="Least seconds between two fetches that tokens with an unknown `kid` cause."
    )
    jwt_leeway: Annotated[float, Field(ge=0, le=300)] = Field(
        default=30,
        description="Seconds by which the clocks of the issuer and the facade may differ (`exp`, `nbf`, `iat`).",
    )
    claim_projects: str = Field(
        default="projects", description="Claim with the ids of the projects that the caller may see."
    )
    claim_environments: str = Field(
        default="environments", description="Claim with the ids of the environments that the caller may see."
    )
    claim_scopes: str = Field(default="scope", description="Claim with the scopes.")
    scope_prefix: str = Field(
        default="", description="What our scopes begin with in the tokens, for example `ocore:` for `ocore:read`."
    )
    default_scopes: Names = Field(default=(), description="Scopes of a token without the claim of scopes, with commas.")

    # --- limits
    rate_per_second: Annotated[float, Field(gt=0)] = Field(
        default=100, description="Requests per second of one subject on this replica; beyond: 429."
    )
    rate_burst: Count = Field(default=200, description="Requests of one subject at once.")
    anonymous_rate_per_second: Annotated[float, Field(gt=0)] = Field(
        default=20,
        description="Requests per second without a valid token of one client address on this replica; beyond: 429.",
    )
    anonymous_rate_burst: Count = Field(
        default=100, description="Requests without a valid token of one address at once."
    )
    page_rate_per_second: Annotated[float, Field(gt=0)] = Field(
        default=200,
        description=(
            "Requests per second of one client address for files of the page, and as many for `/healthz` and `/readyz`,"
            " on this replica; beyond: 429. Behind a proxy that is not in `trusted_proxies` all users are one address."
        ),
    )
    page_rate_burst: Count = Field(default=1000, description="Such requests of one address at once.")
    max_streams: Count = Field(default=10_000, description="Open progress streams of this replica; beyond: 503.")
    max_streams_per_subject: Count = Field(
        default=100, description="Open progress streams of one subject; beyond: 429."
    )
    stream_stall_seconds: Seconds = Field(
        default=30,
        description="Seconds for which the client of a progress stream may read nothing. Then it is dropped.",
    )

    @field_validator("default_scopes")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(value) - {"read", "snapshot", "rollback", "admin"}
        if unknown:
            raise ValueError(f"unknown scopes: {', '.join(sorted(unknown))}. Use read, snapshot, rollback, admin")
        return value

    @field_validator("cors_origins", "ui_provider_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not re.fullmatch(ORIGIN, v) for v in value):
            raise ValueError("an origin is a scheme, a host and perhaps a port, for example https://app.example.org")
        return value

    @property
    def issuer_origin(self) -> str | None:
        """The origin of `jwt_issuer`, or None where that is no URL."""
        found = re.match(f"({ORIGIN})(?:/|$)", self.jwt_issuer)
        return found[1] if found else None

    @model_validator(mode="after")
    def _page(self) -> Self:
        if not self.ui:
            return self
        if not (self.ui_folder / "index.html").is_file():
            raise ValueError(
                f"OCORE_API_UI=true needs the built page, and {self.ui_folder}/index.html does not exist. Use an image"
                " that was built with it (docs/page.md), or set OCORE_API_UI_FOLDER to the folder that `make ui` prints"
            )
        if not self.ui_client_id and not self.ui_pasted_token:
            raise ValueError("OCORE_API_UI=true needs OCORE_API_UI_CLIENT_ID or OCORE_API_UI_PASTED_TOKEN=true")
        if self.ui_client_id and "openid" not in self.ui_scopes:
            raise ValueError("OCORE_API_UI_SCOPES lacks `openid`")
        origin = self.issuer_origin
        if self.ui_client_id and (origin is None or not (origin.startswith("https://") or self.jwks_allow_http)):
            raise ValueError(
                "OCORE_API_UI_CLIENT_ID needs a provider, and OCORE_API_JWT_ISSUER is no URL that begins with https://;"
                " for tests, set OCORE_API_JWKS_ALLOW_HTTP=true"
            )
        return self

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if sum(s is not None for s in (self.jwks_url, self.jwks_file, self.jwt_secret_file)) != 1:
            raise ValueError("set exactly one of OCORE_API_JWKS_URL, OCORE_API_JWKS_FILE, OCORE_API_JWT_SECRET_FILE")
        if self.jwks_url is not None and not self.jwks_url.startswith(
            ("https://", "http://") if self.jwks_allow_http else "https://"
        ):
            raise ValueError(
                "OCORE_API_JWKS_URL must begin with https://; for tests, set OCORE_API_JWKS_ALLOW_HTTP=true"
            )
        return self
