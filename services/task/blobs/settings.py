"""Settings of the blobs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from meshkit.settings import Seconds


class S3Settings(BaseModel):
    """A bucket of S3, or of a store that speaks its protocol.

    Credentials that aren't set are found as AWS's own tools find them: in `AWS_…`
    variables, by web identity, or from the machine.
    """

    bucket: str = Field("", description="name of the bucket, which must exist")
    prefix: str = Field("blobs", description="where in the bucket blobs are")
    endpoint: str = Field("", description="URL of the store; AWS's own, if empty")
    region: str = Field("us-east-1", description="region of the bucket")
    access_key_id: str = ""
    secret_access_key: SecretStr = SecretStr("")
    allow_http: bool = Field(False, description="speak without TLS, if the endpoint says http")
    virtual_hosted_style: bool = Field(False, description="the bucket is part of the host name")


class BlobSettings(BaseModel):
    """Where blobs are kept, how large they may be, and for how long."""

    store: Literal["postgres", "s3"] = Field(
        "postgres", description="where new blobs go; earlier ones stay where they are"
    )
    s3: S3Settings = S3Settings()
    max_bytes: int = Field(1 << 30, gt=0, description="larger blobs are refused")
    keep_unused: Seconds = Field(86_400.0, description="a blob that no task names is kept so long")
    upload_timeout: Seconds = Field(3600.0, description="an upload that takes longer is given up")
    janitor_interval: Seconds = Field(60.0, description="how often blobs to remove are looked for")

    @model_validator(mode="after")
    def _has_a_bucket(self) -> Self:
        if self.store == "s3" and not self.s3.bucket:
            raise ValueError("the store is s3, but no bucket is named: set s3.bucket too")
        return self
