"""The route table: which path and method is which call, and what may call it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mfa_service.errors import AccessDenied
from mfa_service.model import Owner, Principal
from mfa_service.web import paths
from mfa_service.web.answers import Answer
from mfa_service.web.bodies import Body, MediaType
from mfa_service.web.refusals import NoSuchRoute, UnsupportedMedia


@dataclass(slots=True)
class Call:
    """One request on its way: what each step of the dispatch has found out so far.

    Attributes:
        authorization: the values of its `Authorization` headers.
        arguments: the raw path segments that the pattern's placeholders stand for, in order.
        query: its query parameters.
        body: its body, where the route takes one.
        principal: who calls; None before that is known, and on public routes.
        client_id: whom the log line names.
        resource: what is at its path; None before that is known.
    """

    authorization: Sequence[str] = field(default=(), repr=False)
    arguments: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = field(default=None, repr=False)
    principal: Principal | None = None
    client_id: str | None = None
    resource: "Resource | None" = None

    @property
    def application_id(self) -> str:
        """The application that calls.

        Raises:
            AccessDenied: nobody has proved to be one, as on a public route.
        """
        if self.principal is None:
            raise AccessDenied(presented=False)
        return self.principal.application_id

    @property
    def content(self) -> Body:
        """The body of a call that takes one.

        Raises:
            UnsupportedMedia: the route takes none.
        """
        if self.body is None:
            raise UnsupportedMedia
        return self.body

    @property
    def owner(self) -> Owner:
        """The user that the path begins with, of the application that calls.

        Raises:
            InvalidInput: the path's segment is no user name.
        """
        return Owner(self.application_id, paths.user_name(self.arguments[0]))


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the service.

    Attributes:
        method: an HTTP method.
        pattern: the whole path; a segment in braces is a placeholder for one that is not empty.
        handler: what answers it.
        scope: the scope that the access token needs; None on public routes alone.
        public: whether it is called without an access token.
        query: the query parameters it takes; None where it does not look at the query.
        media: the media types its body may have; none where it takes no body.
        oauth: whether its errors are also those of RFC 6749 §5.2.

    Raises:
        ValueError: it neither needs a scope nor is declared public, or both.
    """

    method: str
    pattern: str
    handler: Handler
    scope: str | None = None
    public: bool = False
    query: frozenset[str] | None = frozenset()
    media: frozenset[MediaType] = frozenset()
    oauth: bool = False

    def __post_init__(self) -> None:
        if (self.scope is None) is not self.public:
            raise ValueError(f"{self.method} {self.pattern} must either need a scope or be public")


@dataclass(frozen=True, slots=True)
class Resource:
    """One path of the table with its methods."""

    pattern: str
    routes: Mapping[str, Route]
    allow: str
    oauth: bool


class RouteTable:
    """Finds what a raw path means, segment by segment; nothing of the path is decoded or normalised for it.

    Args:
        routes: every route there is.

    Raises:
        ValueError: two routes share a path and a method, or one path has two patterns.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        by_pattern: dict[str, dict[str, Route]] = {}
        for route in routes:
            methods = by_pattern.setdefault(route.pattern, {})
            if route.method in methods:
                raise ValueError(f"{route.method} {route.pattern} is there twice")
            methods[route.method] = route
        self._exact: dict[str, Resource] = {}
        self._by_start: dict[str, Resource] = {}  # of patterns whose one placeholder is their last segment
        self._patterns: dict[int, list[tuple[tuple[str | None, ...], Resource]]] = {}
        shapes: set[tuple[str | None, ...]] = set()
        for pattern, methods in by_pattern.items():
            resource = Resource(
                pattern=pattern,
                routes=methods,
                allow=", ".join(sorted(methods)),
                oauth=any(route.oauth for route in methods.values()),
            )
            shape = tuple(None if segment.startswith("{") else segment for segment in pattern.split("/"))
            if shape in shapes:
                raise ValueError(f"{pattern} is there twice")
            shapes.add(shape)
            if None not in shape:
                self._exact[pattern] = resource
            elif shape.index(None) == len(shape) - 1:
                self._by_start[pattern.rpartition("/")[0]] = resource
            else:
                self._patterns.setdefault(len(shape), []).append((shape, resource))

    def find(self, path: str) -> tuple[Resource, tuple[str, ...]]:
        """Return what is at a path, and the segments that stand for its placeholders.

        Args:
            path: the raw path of a request target, up to the first `?`.

        Raises:
            NoSuchRoute: nothing is there.
        """
        resource = self._exact.get(path)
        if resource is not None:
            return resource, ()
        if "#" in path:  # no part of a target in any of its forms (RFC 9112 §3.2)
            raise NoSuchRoute
        start, _, last = path.rpartition("/")
        resource = self._by_start.get(start)
        if resource is not None and last:
            return resource, (last,)
        segments = path.split("/")
        for shape, resource in self._patterns.get(len(segments), ()):
            arguments = []
            for wanted, segment in zip(shape, segments, strict=True):
                if wanted is None and segment:
                    arguments.append(segment)
                elif wanted != segment:
                    break
            else:
                return resource, tuple(arguments)
        raise NoSuchRoute
