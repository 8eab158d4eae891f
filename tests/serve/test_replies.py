import json

from dreamprvr.serve.replies import Refusal, busy, refused


def test_a_refusal_is_one_line_of_json() -> None:
    response = refused(Refusal(400, "k is\n  a number", {"X-Reason": "k"}))
    assert response.status_code == 400
    assert response.headers["x-reason"] == "k"
    assert bytes(response.body).count(b"\n") == 0
    assert json.loads(bytes(response.body)) == {"error": "k is a number"}


def test_who_is_busy_says_when_to_come_back() -> None:
    refusal = busy("searches")
    assert (refusal.status, refusal.headers) == (503, {"Retry-After": "1"})
    assert refusal.line == "too many searches at once; try again in a second"
