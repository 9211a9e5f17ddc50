"""Dead letters over HTTP: pages, filters, one in full, dry runs, redrives in the background, and what is refused."""

import base64
import json
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from ems_streams.kafka.catalogue import DEVICE_TELEMETRY
from tests.support.dead_letters import Given, letter_of, put, telemetry_value, unique
from tests.support.processes import Deployment, eventually, get
from tests.support.records import consume

pytestmark = pytest.mark.integration

TOPIC = "device-telemetry-dlt"


class Gateway:
    """A gateway process, with no worker."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.process = deployment.gateway()
        eventually(lambda: get(f"{self.process.url}/livez")[0], 30, "the gateway answers")

    def get(self, path: str, **query: Any) -> tuple[int, Any]:
        return get(f"{self.process.url}/api/v1{path}?{urlencode(query, doseq=True)}", timeout_s=20)

    def post(self, path: str, body: Any, content_type: str = "application/json") -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.process.url}/api/v1{path}", data, {"Content-Type": content_type}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            kind = error.headers["Content-Type"]
            return error.code if kind.startswith("application/problem+json") else 0, json.load(error)

    def finished(self, redrive_id: str) -> dict[str, Any]:
        found: dict[str, Any] = eventually(lambda: self._if_finished(redrive_id), 30, "the redrive is finished")
        return found

    def _if_finished(self, redrive_id: str) -> dict[str, Any] | None:
        status, body = self.get(f"/redrives/{redrive_id}")
        assert status == 200, body
        return body if body["state"] != "running" else None


def some(serial: str) -> list[Given]:
    kinds = [("invalid_json", "ingress")] * 7 + [("invalid_field", "aggregates")] * 5
    return [
        letter_of(
            DEVICE_TELEMETRY, (key := f"{serial}-{number % 5}").encode(), telemetry_value(key, second=number), error_class=kind, stage=stage
        )
        for number, (kind, stage) in enumerate(kinds)
    ]


def test_letters_are_grouped_paged_filtered_and_shown(deployment: Deployment) -> None:
    serial = unique("HTTP")
    letters = some(serial)
    binary = letter_of(DEVICE_TELEMETRY, f"{serial}-B".encode(), b"\xff\xfe" + b"x" * 3000, error_class="invalid_json", stage="aggregates")
    put(deployment.stack.kafka_bootstrap, [*letters, binary])
    gateway = Gateway(deployment)
    _, overview = gateway.get("/dlt")
    (topic,) = [each for each in overview["topics"] if each["topic"] == TOPIC]
    assert (topic["open"], topic["complete"]) == (13, True)
    assert {(each["errorClass"], each["stage"]): each["count"] for each in topic["groups"]} == {
        ("invalid_json", "ingress"): 7, ("invalid_field", "aggregates"): 5, ("invalid_json", "aggregates"): 1,
    }  # fmt: skip

    found: list[dict[str, Any]] = []
    pages, cursor = 0, None
    while pages == 0 or cursor:
        _, page = gateway.get(f"/dlt/{TOPIC}", limit=4, **({"cursor": cursor} if cursor else {}))
        found += page["letters"]
        cursor, pages = page["nextCursor"], pages + 1
    assert [each["id"] for each in found] == list(dict.fromkeys(each["id"] for each in found)), "each once"
    assert len(found) == 13
    assert pages >= 4
    times = [datetime.fromisoformat(each["at"]) for each in found]
    assert times == sorted(times, reverse=True)
    _, page = gateway.get(f"/dlt/{TOPIC}", errorClass="invalid_json", stage="ingress", limit=200)
    assert len(page["letters"]) == 7
    assert gateway.get(f"/dlt/{TOPIC}", state="redriven")[1]["letters"] == []

    (raw,) = [each for each in found if each["key"].endswith("-B")]
    assert len(raw["preview"]) <= 200
    _, shown = gateway.get(f"/dlt/{TOPIC}/{raw['partition']}/{raw['offset']}")
    assert base64.b64decode(shown["valueBase64"]) == binary[2]
    assert (shown["valueText"], shown["sizeBytes"]) == (None, 3002)
    assert {each["name"]: each["text"] for each in shown["headers"]}["dlt-stage"] == "aggregates"


def test_a_redrive_is_tried_done_in_the_background_and_watched(deployment: Deployment) -> None:
    serial = unique("HTTP")
    letters = some(serial)
    put(deployment.stack.kafka_bootstrap, letters)
    gateway = Gateway(deployment)
    _, page = gateway.get(f"/dlt/{TOPIC}", limit=200)
    chosen = page["letters"][0]
    known = gateway.get("/redrives")[1]["redrives"]
    status, dry = gateway.post(f"/dlt/{TOPIC}/redrive", {"filter": {"errorClass": "invalid_json"}, "dryRun": True})
    assert (status, dry["outcomes"]["sent"], dry["complete"], len(dry["letters"])) == (200, 7, True, 7)
    edits = [{"id": chosen["id"], "set": {"telemetryData.powerKw": "high"}}]
    status, dry = gateway.post(f"/dlt/{TOPIC}/redrive", {"ids": [chosen["id"]], "edits": edits, "dryRun": True})
    assert (status, dry["letters"][0]["reason"]) == (200, "still_malformed")
    assert gateway.get("/redrives")[1]["redrives"] == known, "dry runs leave nothing"

    edits = [{"id": chosen["id"], "set": {"telemetryData.powerKw": 77.5}}]
    status, begun = gateway.post(f"/dlt/{TOPIC}/redrive", {"ids": [chosen["id"]], "edits": edits})
    assert (status, begun["state"]) == (202, "running")
    done = gateway.finished(begun["redriveId"])
    assert (done["state"], done["outcomes"]["sent"]) == ("finished", 1)
    status, begun = gateway.post(f"/dlt/{TOPIC}/redrive", {"filter": {}, "ratePerS": 20})
    busy, problem = gateway.post(f"/dlt/{TOPIC}/redrive", {"filter": {}})
    assert (status, busy, problem["title"]) == (202, 409, "Busy")
    done = gateway.finished(begun["redriveId"])
    assert (done["outcomes"]["sent"], done["outcomes"]["doneBefore"]) == (len(letters) - 1, 1)
    sent = [
        json.loads(each.value)
        for each in consume(deployment.stack.kafka_bootstrap, DEVICE_TELEMETRY)
        if each.key.startswith(serial.encode())
    ]
    assert len(sent) == len(letters)
    assert [each["telemetryData"]["powerKw"] for each in sent if each["telemetryData"]["powerKw"] != 1.5] == [77.5]
    assert gateway.get(f"/dlt/{TOPIC}", state="open")[1]["letters"] == []
    assert {each["redriveId"] for each in gateway.get("/redrives")[1]["redrives"]} >= {begun["redriveId"]}


def test_what_cannot_be_meant_is_a_problem_that_says_so(deployment: Deployment) -> None:
    gateway = Gateway(deployment)
    for path, status in [
        ("/dlt/device-telemetry", 404), ("/dlt/nothing-dlt", 404), (f"/dlt/{TOPIC}/0/99999999", 404), (f"/dlt/{TOPIC}/0/x", 404),
        (f"/dlt/{TOPIC}/99/0", 404), (f"/dlt/{TOPIC}?limit=0", 400), (f"/dlt/{TOPIC}?cursor=x", 400), (f"/dlt/{TOPIC}?state=odd", 400),
        (f"/dlt/{TOPIC}?since=yesterday", 400), ("/redrives/rd-none", 404),
    ]:  # fmt: skip
        found, problem = get(f"{gateway.process.url}/api/v1{path}", timeout_s=20)
        assert (found, problem["status"]) == (status, status), (path, problem)
        assert problem["detail"]
    redrive = f"/dlt/{TOPIC}/redrive"
    for body, word in [
        ({}, "ids or filter"), ({"ids": []}, "ids"), ({"ids": ["x"]}, "expected the id"), ({"filter": {"colour": "red"}}, "colour"),
        ({"filter": {}, "ratePerS": 0}, "ratePerS"), ({"filter": {}, "edits": [{"key": "x"}]}, "id of its letter"), (b"{", "json"),
        ({"filter": {"errorClass": ""}}, "errorClass"), ({"filter": {}, "edit": {"key": "x"}}, "one letter's"), ({"ids": ["other-dlt/0/0"]}, "another topic"),
        ({"ids": ["0/1"], "edits": [{"id": "0/2", "set": {"x": 1}}]}, "one of ids"),
        ({"ids": ["0/1", "0/2"], "edit": {"key": "x"}}, "one letter's"),
        ({"filter": {}, "edits": [{"id": "0/2", "key": "x"}, {"id": "0/2", "key": "y"}]}, "twice"),
        ({"filter": {}, "edit": {"set": {"a..b": 1}}}, "path"),
    ]:  # fmt: skip
        status, problem = gateway.post(redrive, body)
        assert status == 400, (body, problem)
        assert word.lower() in problem["detail"].lower(), (body, problem)
    assert gateway.post(redrive, {"ids": [f"{TOPIC}/0/99999999"]})[0] == 404
    assert gateway.post(redrive, {"filter": {}}, "text/plain")[0] == 415
    assert gateway.post("/redrives/rd-none/resume", {})[0] == 404
