"""The answers that are asked about by name: the status, and the service's own code where it is an error."""

from tests.api.service import Response

PASS = (200, None)
OPENED = (201, None)
REMOVED = (204, None)
INVALID = (400, "10008")
NO_CODE = (400, "10009")
UNFIT = (400, "10005")
EXPIRED = (401, "10001")
NO_TOKEN = (401, "10002")
NO_SCOPE = (403, "10033")
NO_DEVICE = (404, "10003")
NONE_ACTIVE = (404, "10006")
GONE = (404, "10007")
NO_ROUTE = (404, "10034")
NO_METHOD = (405, "10034")
TOO_LARGE = (413, "10034")
OTHER_MEDIA = (415, "10034")
SPENT = (429, "10026")
WAITS = (429, "10027")
OUT_OF_REACH = (503, "10015")


def is_replay(response: Response) -> bool:
    """Whether an answer says that the code was right and used."""
    return response.outcome == INVALID and "already used" in response.json["message"]


def told(response: Response) -> tuple[int, dict[str, object]]:
    """What an answer tells beside which request it is the answer to, and when."""
    return response.status, {
        name: value for name, value in response.json.items() if name not in {"traceId", "timestamp"}
    }
