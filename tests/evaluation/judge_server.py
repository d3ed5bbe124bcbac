"""A chat endpoint on this machine that speaks OpenAI's protocol, and has the faults that a test plans."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from imap.evaluation.judge.protocol import CRITERIA

GRADES = dict(zip(CRITERIA, (5, 4, 3, 2, 1), strict=True))


def completion(content=None, **message):
    """The body of a chat completion."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    )


GOOD = (200, completion(json.dumps(GRADES)), {})
REFUSAL = (200, completion(None, refusal="I cannot help with that."), {})
MALFORMED = (200, completion('{"spatial_localization": 5'), {})
BUSY = (429, json.dumps({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), {})
BROKEN = (500, "<html>oops</html>", {})
SLOW = "slow"  # no reply within the client's time


class Server(ThreadingHTTPServer):
    """Replies come from `faults`, by a part of the prompt, else from `plan`, in order, and are GOOD after it.

    `requests` are the bodies that came, with headers. `most` is the largest number of requests at a time.
    """

    daemon_threads = True

    def __init__(self, plan=(), delay=0.0, faults=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.delay, self.requests, self.lock = list(plan), delay, [], threading.Lock()
        self.faults, self.under_way, self.most = faults or {}, 0, 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def texts(self):
        """Prompts of the requests."""
        return [request["messages"][0]["content"][0]["text"] for request, _ in self.requests]

    def next_reply(self, body):
        """What the plan has for a request."""
        text = body["messages"][0]["content"][0]["text"]
        replies = next((replies for part, replies in self.faults.items() if part in text), self.plan)
        return replies.pop(0) if replies else GOOD

    def handle_error(self, request, client_address):
        """Clients that were killed, or have waited long enough, close their connections."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(
                (body, {"path": self.path, **{name.lower(): x for name, x in self.headers.items()}})
            )
            reply = self.server.next_reply(body)
            self.server.under_way += 1
            self.server.most = max(self.server.most, self.server.under_way)
        time.sleep(self.server.delay)
        if reply == SLOW:
            time.sleep(1)
            reply = BROKEN
        status, text, headers = reply
        with self.server.lock:
            self.server.under_way -= 1
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(text.encode())),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass
