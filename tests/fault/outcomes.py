"""The answers that are asked about by name: the status and the service's own code."""

OK = (200, "")
OPENED = (201, "")
REMOVED = (204, "")
WRONG = USED = (400, "10008")
GONE = (404, "10007")
SPENT = (429, "10026")
WAITS = (429, "10027")
UNAVAILABLE = (503, "10015")
