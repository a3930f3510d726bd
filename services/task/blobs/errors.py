"""What can go wrong with blobs."""

from __future__ import annotations

from meshkit.errors import DeadlineExceeded, DomainError, InvalidArgument, NotFound


class BlobNotFound(NotFound):
    """No such blob in the caller's tenant."""

    reason = "BLOB_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("There is no blob with this id; upload it first.", field="blob_id")


class BlobCorrupt(InvalidArgument):
    """What was uploaded is not what the blob was said to be."""

    reason = "BLOB_CORRUPT"


class BlobTooLarge(InvalidArgument):
    """The blob is larger than any may be."""

    reason = "REQUEST_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The blob is too large; at most {limit} bytes are accepted. Split it.",
            metadata={"limit_bytes": str(limit)},
        )


class UploadProtocol(InvalidArgument):
    """The messages of an upload came in the wrong order."""

    def __init__(self) -> None:
        super().__init__(
            "The description of the blob comes first in an upload, and only first; then its data.",
            field="message",
        )


class UploadTimeout(DeadlineExceeded):
    """The upload took longer than any may."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The upload was given up: it took longer than {seconds:g} seconds. Try again.",
            metadata={"limit_seconds": f"{seconds:g}"},
        )


class BlobDamaged(DomainError):
    """The data of a blob is not where it was stored; it is lost, or its store is not set up."""

    def __init__(self) -> None:
        super().__init__("The data of this blob is missing from its store; upload it anew.")
