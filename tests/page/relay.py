"""Stands between the browser and the admin listener: notes what is asked, may change answers, and may be silent."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Relay:
    def __init__(self, admin):
        self.admin = urlsplit(admin)
        self.seen = []
        self.silent = False
        # What becomes of an answer's body: change(path, bytes) -> bytes.
        self.change = lambda path, body: body
        # What is refused with which message: refuse(path) -> text or None.
        self.refuse = lambda path: None
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                relay.seen.append((self.command, self.path, dict(self.headers)))
                if relay.silent:
                    self.close_connection = True
                    return
                message = relay.refuse(self.path)
                if message is not None:
                    text = json.dumps({"message": message}).encode()
                    self.send_response_only(409)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                    return
                status, headers, text = relay.pass_on(self.command, self.path, self.headers, body)
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "date"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pass_on(self, method, path, headers, body):
        connection = http.client.HTTPConnection(self.admin.hostname, self.admin.port, timeout=60)
        # The browser's own headers, with its Host: that is what the listener judges.
        kept = {name: value for name, value in headers.items() if name.lower() not in ("connection", "accept-encoding", "content-length")}
        connection.request(method, path, body, kept)
        answer = connection.getresponse()
        text = self.change(path, answer.read())
        connection.close()
        return answer.status, answer.getheaders(), text
