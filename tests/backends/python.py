"""A back end that reads a call as WSGI and CGI programs do: the whole path is decoded before it is routed, `;` parameters are cut
off, dot segments are resolved, headers are variables in which `-` and `_` are one, and headers or `_method` change method and path.
It answers with what it took the call for. Started by the harness: python python.py SOCKET
"""

import posixpath
import re
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, quote, unquote, urlparse

ROUTES = [
    ("GET", r"/v1/accounts/me", "account.self"),
    ("GET", r"/v1/accounts/([^/]+)", "account.read"),
    ("DELETE", r"/v1/accounts/([^/]+)", "account.close"),
    ("GET", r"/v1/accounts/([^/]+)/refunds", "refund.list"),
    ("POST", r"/v1/accounts/([^/]+)/refunds", "refund.create"),
    ("GET", r"/files/secret/(.+)", "file.secret"),
    ("GET", r"/files/(.+)", "file.read"),
    ("GET", r"/admin", "admin.read"),
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def variables(self):
        return {"HTTP_" + name.upper().replace("-", "_"): value for name, value in self.headers.items()}

    def read_call(self, body):
        variables = self.variables()
        target = variables.get("HTTP_X_ORIGINAL_URL") or variables.get("HTTP_X_REWRITE_URL") or self.path
        url = urlparse(target)
        path = posixpath.normpath(unquote(url.path))
        if path.startswith("//"):
            path = path[1:]
        method = "GET" if self.command == "HEAD" else self.command
        if method == "POST":
            fields = parse_qs(url.query)
            # A body of no known type is taken for a form, as Rack does.
            if variables.get("HTTP_CONTENT_TYPE", "application/x-www-form-urlencoded").startswith("application/x-www-form"):
                fields.update(parse_qs(body.decode("latin-1")))
            method = variables.get("HTTP_X_HTTP_METHOD_OVERRIDE") or fields.get("_method", [method])[0]
        for verb, pattern, action in ROUTES:
            match = verb == method.upper() and re.fullmatch(pattern, path)
            if match:
                return action, match.group(1) if match.groups() else ""
        return "none", ""

    def serve(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        action, resource = self.read_call(body)
        self.send_response(200)
        self.send_header("x-served", action + " " + quote(resource, safe=""))
        self.send_header("content-length", "0")
        self.end_headers()

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 256


Server(sys.argv[1], Handler).serve_forever()
