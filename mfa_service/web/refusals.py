"""What the HTTP layer refuses by itself, before or below the service's own rules."""


class Refusal(Exception):
    """Root of what the HTTP layer refuses by itself."""


class MalformedRequest(Refusal):
    """The request is not HTTP/1.1 as RFC 9112 and RFC 9110 write it; where it ends cannot be trusted."""


class TargetTooLong(Refusal):
    """The request target is longer than this server reads (RFC 9110 §15.5.15)."""


class HeadTooLarge(Refusal):
    """The request has more or longer header fields than this server reads (RFC 6585 §5)."""


class HeadTooSlow(Refusal):
    """The request's head was not complete in time (RFC 9110 §15.5.9)."""


class BodyTooSlow(Refusal):
    """The request's body was not complete in time (RFC 9110 §15.5.9)."""


class BodyTooLarge(Refusal):
    """The request's body is over the limit (RFC 9110 §15.5.14)."""


class UnsupportedMedia(Refusal):
    """The request's body is of no media type that the call takes, or encoded (RFC 9110 §15.5.16)."""


class NoSuchRoute(Refusal):
    """Nothing is at this path."""


class Overloaded(Refusal):
    """As many requests of this kind are under way as this worker, or the application's part of it, has places for."""


class MethodNotAllowed(Refusal):
    """The path exists and the method is not one of its own.

    Args:
        allow: the methods it has, as the `Allow` header lists them (RFC 9110 §10.2.1).
    """

    def __init__(self, allow: str) -> None:
        super().__init__(allow)
        self.allow = allow
